"""How long the engine takes: measured once, then waited for by simulated workers."""

from __future__ import annotations

import json
import statistics
import time
import zlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from node.adapters.whisper import Clip
from node.core.model import SAMPLE_RATE
from tests.bench.listening import loaded

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from node.adapters.whisper import Engine
    from tests.bench.fleet.sounds import Said, Samples

PLAN, RUNS = "FLEET_PLAN", "FLEET_RUNS"
"""Environment of a simulated worker: the folder of what it must know, the file of its runs."""

BEAMS = (5, 1)
"""Searches that nodes ask for: the default, and the one of a node that cannot keep up."""

ROUNDS = 2
MEASURED = 24
"""Utterances that are measured, evenly over all lengths."""

NEIGHBOURS = 4


@dataclass(frozen=True, slots=True)
class Run:
    """One look at `seconds` of sound: how long it took, and the processor time of all threads."""

    seconds: float
    took_s: float
    cpu_s: float

    @property
    def abreast(self) -> float:
        """How many threads ran at once, on average."""
        return self.cpu_s / self.took_s


@dataclass(frozen=True, slots=True)
class Pace:
    """What was measured: the length of each utterance, and how long it took, both in seconds.

    `per_s` is what a second of sound adds, and `abreast` how many threads ran at once.
    """

    measured: list[tuple[float, float]]
    per_s: float
    abreast: float

    def takes_s(self, samples: Samples, earlier: int = 0) -> float:
        """Return how long an utterance takes behind so many samples of earlier speech.

        As long as one of those measured that are most like it in length, which of them is drawn;
        the same utterance always takes the same.
        """
        seconds = (len(samples) + earlier) / SAMPLE_RATE
        nearest = sorted(self.measured, key=lambda one: abs(one[0] - seconds))[:NEIGHBOURS]
        length_s, took_s = nearest[zlib.crc32(samples.tobytes()) % len(nearest)]
        return max(0.0, took_s + self.per_s * (seconds - length_s))


Paces = dict[int, Pace]
"""By beam size."""


def measure(model: Path, sounds: Sequence[Said], languages: Sequence[str], threads: int) -> Paces:
    """Time the real engine on some of the utterances, each alone.

    Other work on the machine makes everything last longer, but hardly needs more processor time.
    So a run is taken to last its processor time, divided by how many threads ran at once in the
    run that was disturbed least.

    Raises:
        ModelError: there is no model in the folder.
    """
    engine = loaded(model, languages, threads)
    by_length = sorted(sounds, key=lambda said: len(said.samples))
    places = np.linspace(0, len(by_length) - 1, min(MEASURED, len(by_length)))
    chosen = [by_length[round(place)] for place in places]
    return {
        beam: fitted([_quickest(engine, said, beam) for said in chosen], threads) for beam in BEAMS
    }


def _quickest(engine: Engine, said: Said, beam: int) -> Run:
    runs = []
    for _ in range(ROUNDS):
        began, before = time.perf_counter(), time.process_time()
        engine.transcribe(Clip(said.samples, said.language), beam_size=beam)
        took_s, cpu_s = time.perf_counter() - began, time.process_time() - before
        runs.append(Run(said.seconds, took_s, cpu_s))
    return min(runs, key=lambda run: run.took_s)


def fitted(runs: Sequence[Run], threads: int) -> Pace:
    """Return what these runs would take on a machine with nothing else to do."""
    abreast = min(float(threads), max(1.0, *(run.abreast for run in runs)))
    measured = [(run.seconds, run.cpu_s / abreast) for run in runs]
    seconds, took = np.array(measured).T
    per_s = np.polyfit(seconds, took, 1)[0]
    return Pace(measured, max(0.0, float(per_s)), abreast)


def write(paces: Paces, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({beam: asdict(pace) for beam, pace in paces.items()}), "utf-8")


def read(file: Path) -> Paces:
    found = json.loads(file.read_text("utf-8"))
    return {
        int(beam): Pace([(length_s, took_s) for length_s, took_s in pace.pop("measured")], **pace)
        for beam, pace in found.items()
    }


def rtf(pace: Pace, sounds: Iterable[Said]) -> float:
    """Return seconds of engine time for a second of these utterances, each alone."""
    every = [(pace.takes_s(said.samples), said.seconds) for said in sounds]
    return statistics.fmean(took for took, _ in every) / statistics.fmean(s for _, s in every)
