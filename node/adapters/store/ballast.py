"""A file that only takes up room: given away when the disk is full, so that it can be emptied.

Even a DELETE needs room in SQLite's write-ahead log. With the ballast gone, waiting utterances
can be transcribed and messages sent, and both free what they took.
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
"""Room for some thousand small transactions between two checkpoints of the log."""

SPARE_BYTES = 4 * BALLAST_BYTES
"""The ballast is taken on again only where so much is free beside it."""


class Ballast:
    """May be used from any thread."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def give_way(self) -> None:
        """Before anything is opened: a full disk would refuse even that."""
        if self._path.exists() and shutil.disk_usage(self._path).free < BALLAST_BYTES:
            self.drop()

    def load(self) -> bool:
        """Take the ballast on where there is room for it; says whether it is there.

        It is written to, also where it is there already: a disk may have room and still refuse.
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
        """The disk is full: give the room away."""
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:  # a read-only disk: there is no room to be had
            log.debug("the ballast stays: %s", error)
