"""The list of topics on which retained messages wait that a later start may have to take back."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from node.core.mqtt.topics import NO_TOPIC
from node.errors import DamageError, StoreError

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
            DamageError: it made no sense, and is kept under another name.
        """
        try:
            return _topics(self._file.read_bytes())
        except FileNotFoundError:
            return set()
        except OSError as error:
            raise StoreError(f"{self._file} cannot be read: {error}") from error
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise DamageError(
                f"{self._file} is damaged{self._set_aside()}; should Home Assistant show what this"
                " node has no more, delete it there"
            ) from error

    def _set_aside(self) -> str:
        aside = self._file.with_name(f"{self._file.name}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%S}")
        try:
            self._file.replace(aside)
        except OSError:  # a read-only disk, which nothing can be noted on either
            return ""
        return f", and kept as {aside}"

    def save(self, topics: Iterable[str]) -> None:
        """Note these and no others.

        Raises:
            StoreError: the disk refuses.
        """
        beside = self._file.with_suffix(".part")
        try:
            with beside.open("w", encoding="utf-8") as file:
                json.dump({"topics": sorted(topics)}, file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self._file)
            _sync(self._file.parent)
        except OSError as error:
            raise StoreError(f"{self._file} cannot be written: {error}") from error


def _topics(content: bytes) -> set[str]:
    """Raises ValueError, KeyError or TypeError where it is no list of topics."""
    topics = json.loads(content)["topics"]
    if not all(isinstance(topic, str) and topic and not NO_TOPIC & set(topic) for topic in topics):
        raise ValueError("these are no topics")
    return set(topics)


def _sync(folder: Path) -> None:
    """After a power cut the file of the new name is the new one."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
