"""What transcribing a meeting costs, with this node and others: `python -m tests.bench.speed`.

The meeting is made from recorded speech (`--speech FOLDER`) or espeak-ng's voices. The models have
their trained weights (base, demo) or random ones in the same network (random-base, other sizes).
"""

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

from node.errors import NodeError
from tests.bench import models, trained
from tests.bench.speech import recordings
from tests.bench.speed import report
from tests.bench.speed.live import live
from tests.bench.speed.measure import RANDOM_ONLY, SYSTEMS, installed, measure
from tests.bench.speed.meeting import crowd, meet
from tests.bench.speed.setup import Setup

if TYPE_CHECKING:
    from tests.bench.speech import Speakers
    from tests.bench.speed.meeting import Meeting
    from tests.bench.speed.report import Results
    from tests.bench.speed.setup import Outcome

LENGTH_S, QUICK_LENGTH_S = 120.0, 100.0
"""Longer than the node remembers what was said; otherwise a meeting that is played several times
would be transcribed in the context of its own words."""

WHOLE = ("ours", "floor", "faster-vad", "batched")
TIMES, QUICK_TIMES = 5, 2
"""How many times longer the recording is for systems that get whole recordings: in a short one,
work that is done once would count too much."""

RANDOM = "random-"
MODELS = (*trained.NAMES, f"{RANDOM}base", *(name for name in models.SHAPES if name != "base"))
"""Models without trained weights here have random ones."""

MAIN = (4, 50)
CROSS = ((1, 50), (2, 50), (8, 50), (4, 25), (4, 100))
"""Microphones, and percent of the time in which somebody speaks."""

MOST_MICS = 16
FULL = 0.95
"""Share of the time the floor may take and still count as keeping up."""


@dataclass(frozen=True, slots=True)
class Bench:
    folder: Path
    models: Path | None
    threads: int
    length_s: float
    times: int
    speech: Speakers | None

    def meet(self, mics: int, percent: int) -> Meeting:
        return meet(mics, percent / 100, self.length_s, speech=self.speech)

    def run(self, system: str, model: str, scene: tuple[int, int]) -> Outcome:
        mics, percent = scene
        meeting = self.meet(mics, percent)
        if system in WHOLE:
            meeting = meeting.repeated(self.times)
        return self._timed(f"{system}, {model}, {mics} mics, {percent} %", system, model, meeting)

    def load(self, model: str) -> report.Load:
        """Measure floor and service with as many people speaking as the floor can follow."""
        alone = self._timed(f"floor, {model}, one at full speech", "floor", model, self._crowd(1))
        mics = min(MOST_MICS, max(1, math.floor(FULL * alone.length_s / alone.busy_s)))
        meeting = self._crowd(mics)
        floor = self._timed(f"floor, {model}, {mics} at full speech", "floor", model, meeting)
        return report.Load(mics, floor, self.live(model, meeting, "crowd"))

    def live(self, model: str, meeting: Meeting, name: str) -> Outcome:
        _say(f"live, {model}, {name}: {meeting.length_s:.0f} s in real time")
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            return live(meeting, self._setup(model), Path(folder))

    def _crowd(self, mics: int) -> Meeting:
        return crowd(mics, self.length_s, speech=self.speech)

    def _timed(self, what: str, system: str, model: str, meeting: Meeting) -> Outcome:
        _say(what)
        outcome = measure(system, meeting, self._setup(model), self.folder)
        _say(f"  {outcome.cpu_s_an_hour:,.0f} CPU s an hour")
        return outcome

    def _setup(self, model: str) -> Setup:
        size = model.removeprefix(RANDOM)
        if model in trained.NAMES:
            return Setup(size, trained.folder(model), self.threads, trained=True)
        return Setup(size, models.cached(size, self.models), self.threads)


def main() -> None:
    given = _arguments()
    began = time.monotonic()
    try:
        _run(given)
    except NodeError as error:
        raise SystemExit(str(error)) from error
    minutes = (time.monotonic() - began) / 60
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, {given.threads} threads; {minutes:.0f} min"
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests.bench.speed", description=__doc__)
    add = parser.add_argument
    add("--quick", action="store_true", help="only the main meeting, shorter: about 4 minutes")
    add("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    add("--model", nargs="+", choices=MODELS, default=["base", "tiny"], help="default: %(default)s")
    add("--speech", type=Path, metavar="FOLDER", help="recordings to use")
    add("--threads", type=int, default=min(4, os.cpu_count() or 1))
    add("--length", type=float, help="length of a meeting in seconds; results are for an hour")
    add("--folder", type=Path, help="folder for models with random weights")
    return parser.parse_args()


def _run(given: argparse.Namespace) -> None:
    systems = [name for name in given.systems if installed(name)]
    for name in set(given.systems) - set(systems):
        _say(f"{name} is left out: its package is not installed")
    length_s = given.length or (QUICK_LENGTH_S if given.quick else LENGTH_S)
    times = QUICK_TIMES if given.quick else TIMES
    speech = recordings(given.speech) if given.speech else None
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), given.folder, given.threads, length_s, times, speech)
        for model in given.model:
            wide = not given.quick and model == given.model[0]
            _bench(bench, _able(systems, model), model, wide=wide)


def _able(systems: list[str], model: str) -> list[str]:
    """Return the systems that can run a model."""
    if model not in trained.NAMES or RANDOM_ONLY not in systems:
        return systems
    _say(f"{RANDOM_ONLY} is left out with {model}: no trained weights in its own format here")
    return [name for name in systems if name != RANDOM_ONLY]


def _bench(bench: Bench, systems: list[str], model: str, *, wide: bool) -> None:
    """Run the main meeting; if `wide`, also the others, real time and full load."""
    main_scene: Results = {name: bench.run(name, model, MAIN) for name in systems}
    if wide:
        main_scene["live"] = bench.live(model, bench.meet(*MAIN), "4 mics, 50 %")
    print(report.main_table(_title(model), MAIN, main_scene), flush=True)
    if not wide:
        return
    scenes = {MAIN: main_scene}
    for scene in CROSS:
        scenes[scene] = {name: bench.run(name, model, scene) for name in systems}
    print(report.cross_table(_title(model), scenes), flush=True)
    print(report.load_lines(bench.load(model)), flush=True)


def _title(model: str) -> str:
    if model in trained.NAMES:
        return f"`{model}`"
    return f"`{model.removeprefix(RANDOM)}` with random weights"


def _say(text: str) -> None:
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")


if __name__ == "__main__":
    main()
