"""A recorded track on its way through `transcribe`: read in pieces, where its time has come."""

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
    from node.core.room.segmenter import Samples


class RecordedTrack:
    """One file on its way, where it lies on the timeline of all tracks.

    `begin` is its first sample there, `position` the one to be read next; `expected_end_s` goes by
    the length that the file says.
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
        """Samples up to a position behind `begin`, or to the end; None if that was reached before.

        No more than that, whatever the pieces of the file: a room gives up on tracks that lag.
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
        return self.position / SAMPLE_RATE

    def found(self, utterances: int, others: int) -> Found:
        """What was found in it, of which so many utterances, and so many of these of others."""
        length_s = (self.position - self.begin) / SAMPLE_RATE
        return Found(length_s, self.level_dbfs, utterances, others)


def read(reader: Reader, placed: Placed) -> Iterator[Samples]:
    """A track's sound piece by piece, as the common clock would have counted its samples.

    Raises:
        SoundFileError: as `Reader.pieces`.
    """
    pieces = reader.pieces()
    if placed.rate == 1:
        yield from pieces
        return
    import soxr  # noqa: PLC0415 -- loaded where it is needed

    common = SAMPLE_RATE * placed.rate
    stream = soxr.ResampleStream(SAMPLE_RATE, common, 1, dtype="int16", quality="HQ")
    for piece in pieces:
        yield stream.resample_chunk(piece)
    yield stream.resample_chunk(np.empty(0, np.int16), last=True)
