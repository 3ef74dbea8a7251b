"""The transcript files people read: written completely or not at all, and never overwritten."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from node.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime
    from pathlib import Path


class TranscriptFolder:
    """`<storage>/transcripts`."""

    def __init__(self, storage: Path) -> None:
        self._folder = storage / "transcripts"

    def reserve(self, moment: datetime, suffixes: Iterable[str]) -> dict[str, str]:
        """Return unused paths, one for each suffix, named after the local time `moment`.

        Raises:
            StoreError: the folder cannot be made.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            stem = self._free_stem(moment)
        except OSError as error:
            raise StoreError(f"storage.path: no transcript can be written: {error}") from error
        return {suffix: str(self._folder / f"{stem}.{suffix}") for suffix in suffixes}

    def write(self, paths: Mapping[str, str], texts: Mapping[str, str]) -> None:
        """Write the text of each suffix to its reserved path.

        Raises:
            StoreError: the disk is full or read-only.
        """
        try:
            for suffix, text in texts.items():
                self._write(paths[suffix].rpartition("/")[2], text)
        except OSError as error:
            raise StoreError(f"storage.path: no transcript can be written: {error}") from error

    def delete(self, names: Iterable[str]) -> None:
        """Remove files with these names, and what a crash left while they were written.

        Raises:
            StoreError: some of them cannot be removed; all others are.
        """
        refused: OSError | None = None
        for name in names:
            for file in (self._beside(name), self._folder / name):
                try:
                    file.unlink(missing_ok=True)
                except OSError as error:
                    refused = error
        if refused is not None:
            raise StoreError(f"storage.path: transcripts cannot be deleted: {refused}") from refused

    def _free_stem(self, moment: datetime) -> str:
        stem = f"full_transcription_{moment:%Y%m%d_%H%M%S}"
        taken = {path.stem for path in self._folder.iterdir()}
        names = (stem if n == 1 else f"{stem}_{n}" for n in range(1, len(taken) + 2))
        return next(name for name in names if name not in taken)

    def _beside(self, name: str) -> Path:
        return self._folder / f".{name}.part"

    def _write(self, name: str, text: str) -> None:
        """Write to another name, then rename: a crash leaves no incomplete transcript."""
        final, beside = self._folder / name, self._beside(name)
        with beside.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(final)
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
