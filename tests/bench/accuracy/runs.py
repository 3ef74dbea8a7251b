"""Runs meetings in parallel, each in its own process."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.bench.accuracy.explain import explain
from tests.bench.accuracy.noise import NOISES, quiet
from tests.bench.accuracy.outcome import Invented, Outcome
from tests.bench.accuracy.scene import scene
from tests.bench.accuracy.score import score
from tests.bench.accuracy.store import Store
from tests.bench.accuracy.systems import NAMELESS, ORACLE, SYSTEMS
from tests.bench.texts import words

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from tests.bench.accuracy.rows import Recipe


@dataclass(frozen=True, slots=True)
class Job:
    """What to do with every meeting; `explained` is the name of a system or None."""

    systems: Sequence[str]
    model: Path
    folder: Path
    explained: str | None
    noise_s: float


def run_all(recipes: Sequence[Recipe], job: Job, jobs: int) -> Iterator[Outcome | Invented]:
    # One thread per process: several would get in each other's way.
    os.environ["OMP_NUM_THREADS"] = "1"
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        meetings = [pool.submit(_meeting, recipe, job) for recipe in recipes]
        noises = [pool.submit(_noise, kind, job) for kind in NOISES if job.noise_s]
        either: list[Future[Outcome] | Future[Invented]] = [*meetings, *noises]
        for running in either:
            yield running.result()


def _meeting(recipe: Recipe, job: Job) -> Outcome:
    store = Store(job.folder)
    meeting = scene(recipe, store)
    accounts = {name: SYSTEMS[name](meeting, store, job.model) for name in job.systems}
    scores = {
        name: score(meeting.said, account.lines, named=name not in NAMELESS)
        for name, account in accounts.items()
    }
    shown: list[str] = []
    if job.explained:
        shown = list(explain(meeting, accounts[job.explained], job.model))
    took_s = {name: account.took_s for name, account in accounts.items()}
    return Outcome(recipe, scores, took_s, shown)


def _noise(kind: str, job: Job) -> Invented:
    store, sound = Store(job.folder), quiet(kind, job.noise_s)
    found = {
        name: sum(len(words(line.text)) for line in SYSTEMS[name](sound, store, job.model).lines)
        for name in job.systems
        if name != ORACLE
    }
    return Invented(kind, job.noise_s, found)
