"""What lies in a folder, known without looking: how much it is, and what comes first."""

from __future__ import annotations

import heapq
import os
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class Ledger:
    """The files that this process puts into a folder and takes from it. Thread-safe.

    Each step costs the same however many files there are; what others do there shows at the next
    `look`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._sizes: dict[str, int] = {}
        self._order: list[str] = []
        self._total = 0

    @property
    def total(self) -> int:
        """Bytes in all."""
        return self._total

    def look(self) -> None:
        """Count what is there.

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
        """A file is there, or is of another size now."""
        with self._lock:
            if name not in self._sizes:
                heapq.heappush(self._order, name)
            self._total += size - self._sizes.get(name, 0)
            self._sizes[name] = size

    def drop(self, name: str) -> None:
        """A file is gone, or has never been there."""
        with self._lock:
            self._total -= self._sizes.pop(name, 0)

    def first(self) -> str | None:
        """The first name in alphabetical order; None where there is no file."""
        with self._lock:
            while self._order and self._order[0] not in self._sizes:
                heapq.heappop(self._order)  # dropped meanwhile
            return self._order[0] if self._order else None
