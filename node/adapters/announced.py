"""The list of topics with retained messages that a later start may have to clear."""

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
        """Return the topics saved last; none if nothing has been saved yet.

        Raises:
            StoreError: the file cannot be read.
            DamageError: it is damaged, and is kept under another name.
        """
        try:
            return _topics(self._file.read_bytes())
        except FileNotFoundError:
            return set()
        except OSError as error:
            raise StoreError(f"{self._file} cannot be read: {error}") from error
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise DamageError(
                f"{self._file} is damaged{self._set_aside()}; if Home Assistant still shows"
                " something this node no longer has, delete it there"
            ) from error

    def _set_aside(self) -> str:
        aside = self._file.with_name(f"{self._file.name}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%S}")
        try:
            self._file.replace(aside)
        except OSError:  # a read-only disk, on which nothing can be saved either
            return ""
        return f", and kept as {aside}"

    def save(self, topics: Iterable[str]) -> None:
        """Replace the list with these topics.

        Raises:
            StoreError: the disk fails.
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
    """Return the topics; raises ValueError, KeyError or TypeError if it is not a list of them."""
    topics = json.loads(content)["topics"]
    if not all(isinstance(topic, str) and topic and not NO_TOPIC & set(topic) for topic in topics):
        raise ValueError("these are not topics")
    return set(topics)


def _sync(folder: Path) -> None:
    """Sync the folder, so that the renamed file survives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
