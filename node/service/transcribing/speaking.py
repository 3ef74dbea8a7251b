"""Who is speaking just now: told by the listener, asked by the transcriber."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from node.core.model import SAMPLE_RATE

if TYPE_CHECKING:
    from node.adapters.store import Utterance


@dataclass(frozen=True, slots=True)
class OpenUtterance:
    """An utterance that is being spoken; its sound so far lies in the spool.

    Its speech begins at sample `speech`; `heard` samples have come. Before `ready_from`, on the
    monotonic clock, endpointing cannot end it: as much silence has still to be heard.
    """

    utterance: Utterance
    speech: int
    heard: int
    ready_from: float


class Speaking:
    """Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[str, OpenUtterance] = {}

    def heard(self, utterance: Utterance, speech: int, heard: int, more: int) -> None:
        """Another piece of an utterance is in the spool; at least `more` samples follow."""
        turn = OpenUtterance(utterance, speech, heard, time.monotonic() + more / SAMPLE_RATE)
        with self._lock:
            self._open[utterance.id] = turn

    def ended(self, utterance: Utterance) -> None:
        with self._lock:
            self._open.pop(utterance.id, None)

    def goes_on(self, utterance: Utterance) -> bool:
        """Whether it is still being spoken."""
        with self._lock:
            return utterance.id in self._open

    def utterances(self) -> list[OpenUtterance]:
        """Those of all mics, in the order in which they began."""
        with self._lock:
            return list(self._open.values())
