"""A recorded track for `transcribe`, read in pieces as the timeline reaches them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from node.adapters.sound_files import Reader, SoundFileError
from node.commands.tracks import Found
from node.core.model import SAMPLE_RATE
from node.core.room.mic_path import SILENCE_DBFS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from node.commands.tracks import Track
    from node.core.room.alignment import Placed
    from node.core.room.endpointing import Samples


class RecordedTrack:
    """One file, placed on the timeline of all tracks.

    `begin` is its first sample there, `position` the one to be read next; `expected_end_s` goes by
    the length that the file states.
    """

    def __init__(self, track: Track, placed: Placed) -> None:
        self.mic = track.mic
        self.file = track.file
        self.speaker = track.speaker
        self._reader = Reader(track.file)
        self._pieces = read(self._reader, placed)
        self.begin = self.position = round(placed.start_s * SAMPLE_RATE)
        self.expected_end_s = placed.start_s + placed.rate * track.length_s
        self.failure: str | None = None
        self.level_dbfs = SILENCE_DBFS
        self._ahead: Samples = np.empty(0, np.int16)

    def read_to(self, position: int) -> Samples | None:
        """Return samples up to a position after `begin`, or to the end; None if it was reached.

        Never more, however large the file's pieces are: a room gives up on tracks that lag.
        """
        wanted, pieces = position - self.position, [self._ahead]
        read = len(self._ahead)
        while read < wanted and (piece := self._next_piece()) is not None:
            pieces.append(piece)
            read += len(piece)
        sound = np.concatenate(pieces)
        samples, self._ahead = sound[:wanted], sound[wanted:]
        self.position += len(samples)
        return samples if len(samples) else None

    def _next_piece(self) -> Samples | None:
        try:
            return next(self._pieces, None)
        except SoundFileError as error:  # only this one: the others may be fine
            self.failure = str(error)
            return None

    @property
    def remarks(self) -> list[str]:
        """Remarks about the file once it is read."""
        return [self.failure] if self.failure else self._reader.remarks

    @property
    def end_s(self) -> float:
        """Where on the timeline the sound read so far ends."""
        return self.position / SAMPLE_RATE

    def found(self, utterances: int, others: int) -> Found:
        """Return what was found in it; `others` counts the utterances that are another's."""
        length_s = (self.position - self.begin) / SAMPLE_RATE
        return Found(length_s, self.level_dbfs, utterances, others)


def read(reader: Reader, placed: Placed) -> Iterator[Samples]:
    """Yield a track's sound piece by piece, resampled to the common clock.

    Raises:
        SoundFileError: see `Reader.pieces`.
    """
    pieces = reader.pieces()
    if placed.rate == 1:
        yield from pieces
        return
    import soxr  # noqa: PLC0415 -- only tracks with another clock need it

    common = SAMPLE_RATE * placed.rate
    stream = soxr.ResampleStream(SAMPLE_RATE, common, 1, dtype="int16", quality="HQ")
    for piece in pieces:
        yield stream.resample_chunk(piece)
    yield stream.resample_chunk(np.empty(0, np.int16), last=True)
