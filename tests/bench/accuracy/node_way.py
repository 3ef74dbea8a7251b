"""The node itself: the command `transcribe` on the tracks of a meeting, observed."""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import yaml

from config.demo.speech import write_wav
from node.cli import main as command
from node.commands import transcribe
from node.core.model import SAMPLE_RATE
from node.core.room.endpointing import Ended
from node.core.room.room import Room
from tests.bench.trained import DEMO

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    import numpy.typing as npt

    from node.core.room.endpointing import Endpointing, Samples
    from node.core.room.room import MicEvents, Mode
    from tests.bench.accuracy.corrected import Corrections

LANGUAGES = ("en", "fr")

THREADS = 1
"""Meetings run side by side instead."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a transcript; times in seconds."""

    speaker: int
    start: float
    end: float
    text: str


@dataclass(frozen=True, slots=True)
class Account:
    """A transcript, and what the node decided on the way.

    `set_aside` holds the utterances found to be another microphone's: microphone, start and end in
    seconds, and the microphone whose speech it was; `lags_s` the delays found; `took_s` the total
    processor time.
    """

    lines: list[Line]
    set_aside: list[tuple[int, float, float, int]] = field(default_factory=list)
    lags_s: list[float | None] = field(default_factory=list)
    took_s: float = 0.0


def transcript(
    tracks: npt.NDArray[np.int16],
    mode: Mode,
    model: Path = DEMO,
    languages: Sequence[str] = LANGUAGES,
    corrections: Sequence[Corrections] = (),
) -> Account:
    """Return what `transcribe` makes of tracks of shape (microphones, samples), in its order.

    `corrections` are those of each track's clock, if any were made.
    """
    engine = {"model": str(model), "languages": list(languages), "threads": THREADS}
    settings = {"transcription": engine, "crosstalk": {"mode": mode}}
    with tempfile.TemporaryDirectory() as name, _watched(corrections) as rooms:
        folder = Path(name)
        written = _transcribe(tracks, settings, folder)
        document = json.loads(written.read_text(encoding="utf-8"))
    lines = [
        Line(int(line["speaker"]), line["start_time"], line["end_time"], line["words"])
        for line in document["seglst"]
    ]
    room = rooms[0]
    return Account(lines, room.set_aside, list(room.lags_s().values()))


def _transcribe(tracks: npt.NDArray[np.int16], settings: dict[str, Any], folder: Path) -> Path:
    files = [folder / f"{mic}.wav" for mic in range(len(tracks))]  # the name is the speaker's
    for file, track in zip(files, tracks, strict=True):
        write_wav(file, track, SAMPLE_RATE)
    (folder / "node.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    # As in the service, which does not know beforehand when a track began.
    options: list[str | Path] = ["--offset", "0", "--config", folder / "node.yaml"]
    options += ["--format", "json", "--output", folder / "out"]
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        status = command([str(word) for word in ("transcribe", *files, *options)])
    if status:
        raise RuntimeError(f"transcribe gave {status}: {said.getvalue()}")
    return folder / "out"


class _WatchedRoom(Room):
    """The room, noting what it assigns to other microphones; it is told of `corrections`."""

    def __init__(
        self, endpointing: Endpointing, mode: Mode, corrections: Sequence[Corrections]
    ) -> None:
        super().__init__(endpointing, mode)
        self.set_aside: list[tuple[int, float, float, int]] = []
        self._corrections = corrections

    def feed(self, mic: str, samples: Samples, slipped: int = 0) -> MicEvents:
        if self._corrections:
            begin = self.position(mic)
            slips = self._corrections[_index(mic)]
            slipped = sum(by for end, by in slips if begin < end <= begin + len(samples))
        return self._noted(super().feed(mic, samples, slipped))

    def flush(self, mic: str) -> MicEvents:
        return self._noted(super().flush(mic))

    def _noted(self, events: MicEvents) -> MicEvents:
        for mic, event in events:
            if isinstance(event, Ended) and event.crosstalk_of is not None:
                start, end = (position / SAMPLE_RATE for position in event.speech)
                self.set_aside.append((_index(mic), start, end, _index(event.crosstalk_of)))
        return events


@contextlib.contextmanager
def _watched(corrections: Sequence[Corrections]) -> Iterator[list[_WatchedRoom]]:
    """Yield the rooms that the command creates."""
    rooms: list[_WatchedRoom] = []

    def make(endpointing: Endpointing, mode: Mode) -> Room:
        rooms.append(_WatchedRoom(endpointing, mode, corrections))
        return rooms[-1]

    with patch.object(transcribe, "Room", make):
        yield rooms


def _index(mic: str) -> int:
    return int(mic.removeprefix("track-")) - 1
