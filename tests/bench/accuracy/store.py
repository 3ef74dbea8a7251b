"""A cache in a folder: meetings, and what other programs made of them.

The key is a digest of everything a result depends on, including the code that makes it. A file is
written under another name and renamed, so that several processes can share the folder.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[3]


def digest(*parts: object) -> str:
    """Return a short digest of what these print as; arrays and bytes count with all content."""
    made = hashlib.sha256()
    for part in parts:
        raw = part.tobytes() if isinstance(part, np.ndarray) else part
        made.update(raw if isinstance(raw, bytes) else repr(raw).encode())
        made.update(b"\0")
    return made.hexdigest()[:20]


def files_digest(*patterns: str) -> str:
    """Return a digest of the repository's files that match these patterns."""
    files = sorted(file for pattern in patterns for file in ROOT.glob(pattern))
    return digest(*(file.read_bytes() for file in files))


class Store:
    """A folder of arrays and of JSON values."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def arrays(self, name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        file = self._folder / f"{name}.npz"
        if file.exists():
            with np.load(file) as kept:
                return {key: kept[key] for key in kept.files}
        made = make()
        aside = self._aside(file)
        with aside.open("wb") as stream:
            np.savez(stream, **made)
        aside.rename(file)
        return made

    def value(self, name: str, make: Callable[[], Any]) -> Any:
        file = self._folder / f"{name}.json"
        if file.exists():
            return json.loads(file.read_text(encoding="utf-8"))
        made = make()
        aside = self._aside(file)
        aside.write_text(json.dumps(made, ensure_ascii=False), encoding="utf-8")
        aside.rename(file)
        return made

    def _aside(self, file: Path) -> Path:
        self._folder.mkdir(parents=True, exist_ok=True)
        return file.with_name(f"{file.name}.{os.getpid()}")
