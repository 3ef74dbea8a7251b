"""What transcribing a meeting costs, by this node and by others: `python -m tests.bench.speed`."""

from __future__ import annotations

import argparse
import math
import os
import platform
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench import models
from tests.bench.speed import report
from tests.bench.speed.live import live
from tests.bench.speed.measure import SYSTEMS, installed, measure
from tests.bench.speed.meeting import crowd, meet
from tests.bench.speed.setup import Setup

if TYPE_CHECKING:
    from tests.bench.speed.meeting import Meeting
    from tests.bench.speed.report import Results
    from tests.bench.speed.setup import Outcome

LENGTH_S, QUICK_LENGTH_S = 120.0, 60.0
WHOLE = ("ours", "floor", "faster-vad", "batched")
TIMES, QUICK_TIMES = 5, 3
"""Those who are given whole recordings get one so many times as long: what is done once, for each
recording or for all, would weigh too much in a short one."""

MAIN = (4, 50)
CROSS = ((1, 50), (2, 50), (8, 50), (4, 25), (4, 100))
"""Microphones, and percent of the time in which somebody speaks."""

MOST_MICS = 16
FULL = 0.95
"""Share of the time that the floor may take to be said to keep up."""


@dataclass(frozen=True, slots=True)
class Bench:
    folder: Path
    models: Path | None
    threads: int
    length_s: float
    times: int

    def run(self, system: str, size: str, scene: tuple[int, int]) -> Outcome:
        mics, percent = scene
        meeting = meet(mics, percent / 100, self.length_s)
        if system in WHOLE:
            meeting = meeting.repeated(self.times)
        return self._timed(f"{system}, {size}, {mics} mics, {percent} %", system, size, meeting)

    def load(self, size: str) -> report.Load:
        """The floor and the service where as many speak at once as the floor can follow."""
        alone = self._timed(f"floor, {size}, one at full speech", "floor", size, self._crowd(1))
        mics = min(MOST_MICS, max(1, math.floor(FULL * self.length_s / alone.busy_s)))
        meeting = self._crowd(mics)
        floor = self._timed(f"floor, {size}, {mics} at full speech", "floor", size, meeting)
        return report.Load(mics, floor, self.live(size, meeting, "crowd"))

    def live(self, size: str, meeting: Meeting, name: str) -> Outcome:
        _say(f"live, {size}, {name}: {meeting.length_s:.0f} s in real time")
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            return live(meeting, self._setup(size), Path(folder))

    def _crowd(self, mics: int) -> Meeting:
        return crowd(mics, self.length_s)

    def _timed(self, what: str, system: str, size: str, meeting: Meeting) -> Outcome:
        _say(what)
        outcome = measure(system, meeting, self._setup(size), self.folder)
        _say(f"  {outcome.cpu_s_an_hour:,.0f} CPU s an hour")
        return outcome

    def _setup(self, size: str) -> Setup:
        return Setup(size, models.cached(size, self.models), self.threads)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--quick", action="store_true", help="the main meeting only, shorter: about 4 minutes")
    add("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    add("--sizes", nargs="+", choices=models.SHAPES, default=["base", "tiny"])
    add("--threads", type=int, default=min(4, os.cpu_count() or 1))
    add("--length", type=float, help="seconds of a meeting; results are scaled to an hour")
    add("--folder", type=Path, help="where models with random weights are kept")
    given = parser.parse_args()
    systems = [name for name in given.systems if installed(name)]
    for name in set(given.systems) - set(systems):
        _say(f"{name} is left out: its package is not installed")
    length_s = given.length or (QUICK_LENGTH_S if given.quick else LENGTH_S)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        times = QUICK_TIMES if given.quick else TIMES
        bench = Bench(Path(folder), given.folder, given.threads, length_s, times)
        for size in given.sizes:
            _bench(bench, systems, size, wide=not given.quick and size == given.sizes[0])
    minutes = (time.monotonic() - began) / 60
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, {given.threads} threads; {minutes:.0f} min"
    )


def _bench(bench: Bench, systems: list[str], size: str, *, wide: bool) -> None:
    """The main meeting; the others, real time and full load only where `wide` says so."""
    main_scene: Results = {name: bench.run(name, size, MAIN) for name in systems}
    if wide:
        main_scene["live"] = bench.live(size, meet(4, 0.5, bench.length_s), "4 mics, 50 %")
    print(report.main_table(size, MAIN, main_scene), flush=True)
    if not wide:
        return
    scenes = {MAIN: main_scene}
    for scene in CROSS:
        scenes[scene] = {name: bench.run(name, size, scene) for name in systems}
    print(report.cross_table(size, scenes), flush=True)
    print(report.load_lines(bench.load(size)), flush=True)


def _say(text: str) -> None:
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")


if __name__ == "__main__":
    main()
