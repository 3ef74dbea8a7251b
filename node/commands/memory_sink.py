"""Keeps the utterances of recorded tracks in memory, instead of spool, store and backlog."""

from __future__ import annotations

import math
from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from node.adapters.store import Utterance

if TYPE_CHECKING:
    from collections.abc import Iterator

    from node.core.room.endpointing import Ended, Samples

MAX_OVERLAPPED = 64
"""Utterances of a track that may overlap with one of another track: two a second for 28 s."""


@dataclass(slots=True)
class OpenRecorded:
    """An utterance and its sound so far; its number and end are set when it ends."""

    utterance: Utterance
    pieces: list[Samples] = field(default_factory=list)

    @property
    def start(self) -> int:
        return self.utterance.start


@dataclass(frozen=True, slots=True)
class RecordedUtterance:
    """A finished utterance and its sound; `overlapped`: somebody else speaks on another track.

    `raw` is the sound before others' speech was taken out, if some was.
    """

    utterance: Utterance
    samples: Samples
    overlapped: bool
    raw: Samples | None = None

    @property
    def speaker(self) -> str:
        return self.utterance.speaker

    @property
    def start(self) -> int:
        return self.utterance.start


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """An utterance first taken for its speaker's own, but in fact the speech of mic `other`."""

    utterance: Utterance
    other: str


class MemorySink:
    """Hands on each utterance as soon as it ends, numbered in that order, and forgets it."""

    def __init__(self) -> None:
        self._waiting: deque[RecordedUtterance | Withdrawal] = deque()
        self._spoken: defaultdict[str, dict[int, tuple[int, float]]] = defaultdict(dict)
        self._numbered = 0
        self.utterances: Counter[str] = Counter()
        self.others: Counter[str] = Counter()

    def take(self) -> Iterator[RecordedUtterance | Withdrawal]:
        """Yield what has ended or was withdrawn since the last call, in that order."""
        while self._waiting:
            yield self._waiting.popleft()

    def begin(
        self, session_id: str, mic: str, speaker: str, language: str | None, at: tuple[int, int]
    ) -> OpenRecorded:
        """See `UtteranceSink`, for this and the next methods; there is always room."""
        start = at[0]
        spoken = self._spoken[mic]
        spoken[start] = (start, math.inf)
        if len(spoken) > MAX_OVERLAPPED:
            del spoken[min(spoken)]
        return OpenRecorded(Utterance(session_id, 0, mic, speaker, language, start, start))

    def append(self, spoken: OpenRecorded, samples: Samples, _more: int) -> None:
        spoken.pieces.append(samples)

    def end(self, spoken: OpenRecorded, ended: Ended) -> None:
        mic = spoken.utterance.mic
        self.utterances[mic] += 1
        if ended.crosstalk_of is None:
            self._spoken[mic][spoken.start] = ended.speech
        else:
            self._is_anothers(spoken)
        self._numbered += 1
        spoken.utterance = replace(
            spoken.utterance,
            number=self._numbered,
            end=ended.end,
            speech=ended.speech,
            crosstalk_of=ended.crosstalk_of,
        )
        heard, spoken.pieces = spoken.pieces, []
        samples = ended.sound
        if samples is None:
            samples = np.concatenate(heard)[: ended.end - spoken.start]
        overlapped = self._speaks_beside(mic, *ended.speech)
        self._waiting.append(RecordedUtterance(spoken.utterance, samples, overlapped, ended.raw))

    def discard(self, spoken: OpenRecorded) -> None:
        self.utterances[spoken.utterance.mic] += 1
        self._is_anothers(spoken)
        spoken.pieces = []

    def withdraw(self, spoken: OpenRecorded, other: str, *, keep: bool) -> None:  # noqa: ARG002  # its text is there already
        self._is_anothers(spoken)
        self._waiting.append(Withdrawal(spoken.utterance, other))

    def _is_anothers(self, spoken: OpenRecorded) -> None:
        """Count it as another's speech, which is on the other's track too."""
        self.others[spoken.utterance.mic] += 1
        self._spoken[spoken.utterance.mic].pop(spoken.start, None)

    def _speaks_beside(self, mic: str, start: int, end: int) -> bool:
        """Return whether an utterance of another track, ended or not, overlaps these samples."""
        return any(
            began < end and ended > start
            for other, spoken in self._spoken.items()
            if other != mic
            for began, ended in spoken.values()
        )
