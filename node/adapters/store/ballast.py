"""A file that only reserves space, and is removed when the disk is full so that it can be emptied.

Even a DELETE needs space in SQLite's write-ahead log. Without the ballast, waiting utterances can
be transcribed and messages sent, and both free the space they took.
"""

from __future__ import annotations

import logging
import os
import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)

BALLAST_BYTES = 4 * 1024 * 1024
"""Space for about a thousand small transactions between two checkpoints of the log."""

SPARE_BYTES = 4 * BALLAST_BYTES
"""The ballast is created again only if this much more is free."""


class Ballast:
    """The ballast file. Can be used from any thread."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def give_way(self) -> None:
        """Remove the ballast before anything is opened, which would fail on a full disk."""
        if self._path.exists() and shutil.disk_usage(self._path).free < BALLAST_BYTES:
            self.drop()

    def load(self) -> bool:
        """Create the ballast if there is space for it; return whether it exists.

        It is written even if it exists: a disk may have space and still refuse writes.
        """
        try:
            if self._path.exists() and self._path.stat().st_size == BALLAST_BYTES:
                with self._path.open("r+b") as file:
                    file.write(b"\0")
                return True
            if shutil.disk_usage(self._path.parent).free < BALLAST_BYTES + SPARE_BYTES:
                return False
            with self._path.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, BALLAST_BYTES)
        except OSError as error:
            log.debug("no ballast: %s", error)
            self.drop()
            return False
        return True

    def drop(self) -> None:
        """Free the space, because the disk is full."""
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:  # a read-only disk: no space can be freed
            log.debug("the ballast stays: %s", error)
