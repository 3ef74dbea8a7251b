"""A recorded track on its way through `transcribe`: read in pieces, collected into utterances."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from node.adapters.sound_files import Reader, SoundFileError
from node.commands import placing
from node.commands.tracks import Found
from node.core.model import SAMPLE_RATE
from node.core.room.channel import SILENCE_DBFS
from node.core.room.segmenter import Audio, Ended, Started, Withdrawn

if TYPE_CHECKING:
    from node.commands.tracks import Track
    from node.core.room.alignment import Placed
    from node.core.room.segmenter import Event, Samples

REMEMBERED = 64
"""Utterances of a track that may begin or end during one of another's: two a second for 28 s."""


@dataclass(frozen=True, slots=True)
class RecordedUtterance:
    """An utterance of a track; `start` counts samples from the beginning of the timeline."""

    mic: str
    speaker: str
    start: int
    samples: Samples
    ended: Ended
    overlapped: bool = False


class Recorded:
    """One file on its way, where it lies on the timeline of all tracks.

    `begin` is its first sample there; `expected_end_s` goes by the length that the file says.
    """

    def __init__(self, track: Track, placed: Placed) -> None:
        self.mic = track.mic
        self.file = track.file
        self.speaker = track.speaker
        self._reader = Reader(track.file)
        self._pieces = placing.read(self._reader, placed)
        self.begin = self._read_to = round(placed.start_s * SAMPLE_RATE)
        self.expected_end_s = placed.start_s + placed.rate * track.length_s
        self.failure: str | None = None
        self.level_dbfs = SILENCE_DBFS
        self._utterances = self._others = 0
        self._ahead: Samples = np.empty(0, np.int16)
        self._start = 0
        self._spoken: dict[int, tuple[int, float]] = {}
        self._heard: list[Samples] = []

    def read_to(self, position: int) -> Samples | None:
        """Samples up to a position behind `begin`, or to the end; None if that was reached before.

        No more than that, whatever the pieces of the file: a room gives up on tracks that lag.
        """
        wanted, pieces = position - self._read_to, [self._ahead]
        read = len(self._ahead)
        while read < wanted and (piece := self._next_piece()) is not None:
            pieces.append(piece)
            read += len(piece)
        sound = np.concatenate(pieces)
        samples, self._ahead = sound[:wanted], sound[wanted:]
        self._read_to += len(samples)
        return samples if len(samples) else None

    def _next_piece(self) -> Samples | None:
        try:
            return next(self._pieces, None)
        except SoundFileError as error:  # looked like a recording: others may be one
            self.failure = str(error)
            return None

    @property
    def remarks(self) -> list[str]:
        """What there is to say of the file once it is read."""
        return [self.failure] if self.failure else self._reader.remarks

    @property
    def end_s(self) -> float:
        """Where on the timeline what has been read ends."""
        return self._read_to / SAMPLE_RATE

    @property
    def found(self) -> Found:
        length_s = (self._read_to - self.begin) / SAMPLE_RATE
        return Found(length_s, self.level_dbfs, self._utterances, self._others)

    def collect(self, event: Event) -> RecordedUtterance | None:
        """Take an event of this track; gives the utterance that ends with it."""
        match event:
            case Started(start):
                self._start, self._heard = start, []
                self._spoken[start] = (start, math.inf)
                if len(self._spoken) > REMEMBERED:
                    del self._spoken[min(self._spoken)]
            case Audio(samples):
                self._heard.append(samples)
            case Ended():
                self._utterances += 1
                if event.crosstalk_of is None:
                    self._spoken[self._start] = event.speech
                else:
                    self._count_others(self._start)
                heard = np.concatenate(self._heard)[: event.end - self._start]
                samples = heard if event.sound is None else event.sound
                return RecordedUtterance(self.mic, self.speaker, self._start, samples, event)
            case Withdrawn(start):
                self._count_others(start)
        return None

    def _count_others(self, start: int) -> None:
        """An utterance was another's speech, which counts on the other's track."""
        self._others += 1
        self._spoken.pop(start, None)

    def speaks_during(self, start: int, end: int) -> bool:
        """Whether an utterance of this track, ended or not, overlaps with these samples."""
        return any(began < end and ended > start for began, ended in self._spoken.values())
