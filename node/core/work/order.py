"""The order in which texts are published, whoever is done first.

Utterances are handed out in turn. A text that comes before its turn waits for those ahead of it,
but for `HELD_S` at most: what is stuck must not hold up everybody else. Texts of one speaker never
overtake each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Hashable

HELD_S = 60.0
"""How long one utterance may hold up the others: a minute, as an engine may take for a short one
before it counts as hung."""

T = TypeVar("T")


@dataclass(slots=True)
class _Turn(Generic[T]):
    speaker: Hashable
    since: float
    done: T | None = None


class Order(Generic[T]):
    """Utterances by their ids, and what is done; the time comes in with each call."""

    def __init__(self) -> None:
        self._turns: dict[str, _Turn[T]] = {}

    def begin(self, key: str, speaker: Hashable, now: float) -> None:
        """Hand out an utterance; one that is handed out again keeps its place."""
        self._turns.setdefault(key, _Turn(speaker, now))

    def done(self, key: str, result: T) -> None:
        """Note what came of an utterance that has been handed out."""
        self._turns[key].done = result

    def drop(self, key: str) -> None:
        """Forget an utterance: its result is stored, or nobody wants it any more."""
        self._turns.pop(key, None)

    def ready(self, now: float) -> tuple[str, T] | None:
        """Return what is to be stored next; call `drop` once it is."""
        passed: set[Hashable] = set()
        for key, turn in self._turns.items():
            if turn.done is not None:
                if turn.speaker not in passed:
                    return key, turn.done
            elif now - turn.since < HELD_S:
                return None
            passed.add(turn.speaker)
        return None

    def is_behind(self, key: str, speaker: Hashable, now: float) -> bool:
        """Return whether an earlier utterance of its speaker is handed out and not stored yet.

        One that has been out for `HELD_S` does not count: it may crash every worker.
        """
        for other, turn in self._turns.items():
            if other == key:
                return False
            if turn.speaker == speaker and now - turn.since < HELD_S:
                return True
        return False

    def unfinished(self) -> list[str]:
        """Return the ids of what is handed out and not done."""
        return [key for key, turn in self._turns.items() if turn.done is None]

    @property
    def finished(self) -> set[str]:
        """Ids of what is done and waits for its turn."""
        return {key for key, turn in self._turns.items() if turn.done is not None}
