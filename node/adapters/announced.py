"""The list of topics on which retained messages wait that a later start may have to take back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from node.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


class AnnouncedTopics:
    """A JSON file, written whole or not at all."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def load(self) -> set[str]:
        """The topics noted last; none where nothing has been noted yet.

        Raises:
            StoreError: the file cannot be read.
        """
        try:
            topics = json.loads(self._file.read_text(encoding="utf-8"))["topics"]
            return {str(topic) for topic in topics}
        except FileNotFoundError:
            return set()
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StoreError(
                f"{self._file} cannot be read: {error}; delete it, and whatever of this node is"
                " left over in Home Assistant"
            ) from error

    def save(self, topics: Iterable[str]) -> None:
        """Note these and no others.

        Raises:
            StoreError: the disk refuses.
        """
        beside = self._file.with_suffix(".part")
        try:
            beside.write_text(json.dumps({"topics": sorted(topics)}, indent=1), encoding="utf-8")
            beside.replace(self._file)
        except OSError as error:
            raise StoreError(f"{self._file} cannot be written: {error}") from error
