"""Meetings side by side, each in a process of its own."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.bench.accuracy.explain import explain
from tests.bench.accuracy.scene import scene
from tests.bench.accuracy.score import Score, score
from tests.bench.accuracy.store import Store
from tests.bench.accuracy.systems import SYSTEMS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tests.bench.accuracy.rows import Recipe


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the systems made of one meeting, and what went wrong in the node's own transcript."""

    recipe: Recipe
    scores: dict[str, Score]
    explanations: dict[str, list[str]]


def run_all(
    recipes: Sequence[Recipe], systems: Sequence[str], folder: Path, jobs: int
) -> Iterator[Outcome]:
    # One thread a process: two of them would stand in each other's way.
    os.environ["OMP_NUM_THREADS"] = "1"
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        running = [pool.submit(run, recipe, systems, folder) for recipe in recipes]
        for outcome in running:
            yield outcome.result()


def run(recipe: Recipe, systems: Sequence[str], folder: Path) -> Outcome:
    store = Store(folder)
    meeting = scene(recipe, store)
    accounts = {name: SYSTEMS[name](meeting, store) for name in systems}
    return Outcome(
        recipe,
        {name: score(meeting.said, account.lines) for name, account in accounts.items()},
        {name: list(explain(meeting, account)) for name, account in accounts.items()},
    )
