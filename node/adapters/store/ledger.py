"""Keeps track of what is in a folder without reading it: how much, and which file is first."""

from __future__ import annotations

import heapq
import os
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


FEW = 100
"""Names of files that are gone, below which they are not worth sorting out."""


class Ledger:
    """The files that this process adds to and removes from a folder. Thread-safe.

    Adding, removing and finding the first file stay quick with any number of them. Changes by other
    processes are noticed at the next `look`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._sizes: dict[str, int] = {}
        self._order: list[str] = []
        self._total = 0

    @property
    def total(self) -> int:
        """Return the total size in bytes."""
        return self._total

    def look(self) -> None:
        """Count the files in the folder.

        Raises:
            OSError: the folder cannot be read.
        """
        sizes = {}
        with os.scandir(self._folder) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):  # transcribed and removed just now
                    sizes[entry.name] = entry.stat().st_size
        with self._lock:
            self._sizes = sizes
            self._order = sorted(sizes)
            self._total = sum(sizes.values())

    def put(self, name: str, size: int) -> None:
        """Note a new file, or a file's new size."""
        with self._lock:
            if name not in self._sizes:
                heapq.heappush(self._order, name)
            self._total += size - self._sizes.get(name, 0)
            self._sizes[name] = size

    def drop(self, name: str) -> None:
        """Note that a file is gone or never existed."""
        with self._lock:
            self._total -= self._sizes.pop(name, 0)
            if len(self._order) > 2 * len(self._sizes) + FEW:  # most of them are gone
                self._order = sorted(self._sizes)

    def first(self) -> str | None:
        """Return the first name in alphabetical order; None if there is no file."""
        with self._lock:
            while self._order and self._order[0] not in self._sizes:
                heapq.heappop(self._order)  # dropped meanwhile
            return self._order[0] if self._order else None
