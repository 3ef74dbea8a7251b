"""What it costs to tell whose speech it is: `python -m tests.bench.accuracy.hearing`.

Processor time of the room, in milliseconds per second of meeting: voice detection and endpointing
(`crosstalk.mode: off`), what ownership adds, and what it adds to remove other voices from
utterances, with the number of those utterances and the time for each.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

from rich.console import Console
from rich.table import Table

from node.adapters.vad import Silero
from node.core.model import SAMPLE_RATE
from node.core.room.endpointing import Endpointing
from node.core.room.ownership import Ownership
from node.core.room.room import Room
from tests.bench.accuracy.rows import Recipe, parse_row
from tests.bench.accuracy.scene import scene
from tests.bench.accuracy.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    import numpy.typing as npt

    from node.core.room.doubletalk import Cleaned
    from node.core.room.room import Mode

ROWS = ("2@-10,10%", "4@-10,0%", "4@-10,10%", "4@-6,25%", "8@-10,10%,uneven")

PIECE = SAMPLE_RATE // 5
"""Samples at a time, as microphones deliver them."""


@dataclass(slots=True)
class Cost:
    """Seconds of processor time: of a meeting, of each utterance that was reviewed at its end, and
    of those that were cleaned.
    """

    whole_s: float = 0.0
    looked_at_s: list[float] = field(default_factory=list)
    cleaned_s: list[float] = field(default_factory=list)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--meetings", type=int, default=3)
    parser.add_argument("--cache", type=Path, default=Path("build/accuracy"))
    given = parser.parse_args()
    table = Table("meeting", "voice detection", "ownership", "cleaning", "cleaned", "ms each")
    for name in ROWS:
        recipes = [Recipe(parse_row(name), n + 1, 70.0, "report") for n in range(given.meetings)]
        table.add_row(
            name, *_row([scene(one, Store(given.cache)).recording.tracks for one in recipes])
        )
    Console(width=100).print(table)


def _row(meetings: list[npt.NDArray[np.int16]]) -> Iterator[str]:
    plain = sum(listen(tracks, "off").whole_s for tracks in meetings)
    costs = [listen(tracks, "drop") for tracks in meetings]
    whole = sum(cost.whole_s for cost in costs)
    cleaned = [spent for cost in costs for spent in cost.cleaned_s]
    utterances = sum(len(cost.looked_at_s) for cost in costs)
    seconds = sum(tracks.shape[1] for tracks in meetings) / SAMPLE_RATE
    for spent in (plain, whole - plain - sum(cleaned), sum(cleaned)):
        yield f"{1000 * spent / seconds:.1f} ms/s"
    yield f"{len(cleaned)} of {utterances}"
    yield f"{1000 * statistics.median(cleaned):.0f}" if cleaned else ""


def listen(tracks: npt.NDArray[np.int16], mode: Mode) -> Cost:
    """Return what a room costs that hears tracks of shape (microphones, samples)."""
    cost, clean = Cost(), Ownership.cleaned

    def timed(
        self: Ownership, mic: str, utterance: range, speech: tuple[int, int]
    ) -> Cleaned | None:
        begun = time.process_time()
        left = clean(self, mic, utterance, speech)
        spent = time.process_time() - begun
        cost.looked_at_s.append(spent)
        if left is not None:
            cost.cleaned_s.append(spent)
        return left

    with patch.object(Ownership, "cleaned", timed):
        begun = time.process_time()
        _hear(tracks, mode)
        cost.whole_s = time.process_time() - begun
    return cost


def _hear(tracks: npt.NDArray[np.int16], mode: Mode) -> None:
    silero, room = Silero(), Room(Endpointing(), mode)
    mics = [str(number) for number in range(len(tracks))]
    for mic in mics:
        room.add(mic, silero.detector())
    for begin in range(0, tracks.shape[1], PIECE):
        for mic, track in zip(mics, tracks, strict=True):
            room.feed(mic, track[begin : begin + PIECE])
    for mic in mics:
        room.flush(mic)


if __name__ == "__main__":
    main()
