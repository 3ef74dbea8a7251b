"""What the benchmark of many nodes and workers counts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bench.fleet import figures
from tests.bench.fleet.figures import Service
from tests.bench.fleet.pace import NEIGHBOURS, Run, fitted, read, write
from tests.bench.fleet.sounds import Said, talk

if TYPE_CHECKING:
    from pathlib import Path

    from tests.bench.fleet.sounds import Samples

RANDOM = Service(mean_s=2.0, variation=1.0)
"""Service times of an M/M queue."""


def test_percentiles_are_values_that_occurred() -> None:
    values = list(range(1, 101))
    assert [figures.percentile(values, share) for share in (0.5, 0.95, 0.99)] == [50, 95, 99]
    assert figures.percentile([7.0], 0.99) == 7


def test_fairness_is_one_among_equals_and_a_share_if_one_gets_all() -> None:
    assert figures.jain([3, 3, 3]) == 1
    assert figures.jain([5, 0, 0, 0]) == 0.25
    assert figures.slowest([1, 2, 3, 8]) == 3.2


def test_the_probability_of_waiting_is_erlangs() -> None:
    assert figures.erlang_c(1, 0.7) == pytest.approx(0.7)
    assert figures.erlang_c(2, 1.0) == pytest.approx(1 / 3)
    assert figures.erlang_c(10, 7.0) == pytest.approx(0.2217, abs=1e-4)


def test_one_worker_waits_as_in_an_m_m_1_queue_however_its_queue_is_named() -> None:
    exact = 2.0 / (1 - 0.8) * math.log(0.8 / 0.05)
    assert figures.wait_alone_s(RANDOM, 0.8, 0.95) == pytest.approx(exact)
    assert figures.wait_shared_s(RANDOM, 1, 0.8, 0.95) == pytest.approx(exact)
    assert figures.wait_alone_s(RANDOM, 0.05, 0.95) == 0


@given(load=st.floats(0.1, 500), wait_s=st.floats(0.1, 5))
def test_the_least_workers_are_enough_and_one_fewer_is_not(load: float, wait_s: float) -> None:
    workers = figures.least_workers(RANDOM, load, 0.95, wait_s)
    assert figures.wait_shared_s(RANDOM, workers, load, 0.95) <= wait_s
    fewer = workers - 1
    assert fewer <= load or figures.wait_shared_s(RANDOM, fewer, load, 0.95) > wait_s


def test_steady_service_halves_the_wait() -> None:
    steady = Service.of([2.0, 2.0])
    assert steady.burst == 0.5
    assert Service.of([1.0, 3.0]).variation == 0.5


def sound(seconds: float) -> Samples:
    return np.zeros(round(seconds * 16000), np.int16)


def test_a_run_lasts_its_processor_time_divided_by_the_threads_of_a_quiet_run() -> None:
    quiet, disturbed = Run(2.0, 0.4, 0.8), Run(4.0, 5.0, 1.2)
    pace = fitted([quiet, disturbed], threads=2)
    assert pace.abreast == 2
    assert [length_s for length_s, _ in pace.measured] == [2, 4]
    assert [took_s for _, took_s in pace.measured] == pytest.approx([0.4, 0.6])
    assert pace.takes_s(sound(3)) == pytest.approx(0.5)
    assert pace.takes_s(sound(3), 16000) == pytest.approx(0.6)


def test_two_threads_that_never_ran_at_once_are_taken_for_one() -> None:
    assert fitted([Run(2.0, 2.0, 0.8), Run(4.0, 5.0, 1.2)], threads=2).abreast == 1


def test_an_utterance_takes_as_long_as_one_of_about_its_length() -> None:
    runs = [Run(float(n), 1.0, 3.0 if n == 2 else 0.1 * n) for n in range(1, 20)]
    pace = fitted(runs, threads=1)
    times = {pace.takes_s(np.full(32000, level, np.int16)) for level in range(50)}
    assert len(times) == NEIGHBOURS
    assert max(times) == 3.0
    assert pace.takes_s(sound(15)) < 2
    assert pace.takes_s(sound(0.01)) >= 0


def test_a_pace_is_kept_in_a_file(tmp_path: Path) -> None:
    paces = {5: fitted([Run(2.0, 0.4, 0.8), Run(4.0, 5.0, 1.2)], threads=2)}
    write(paces, tmp_path / "folder" / "paces.json")
    assert read(tmp_path / "folder" / "paces.json") == paces


def test_rooms_speak_one_at_a_time_for_their_share() -> None:
    people = [[Said(np.zeros(n * 8000, np.int16), "", "en")] for n in range(2, 10)]
    turns = talk(people, rooms=20, share=0.3, seconds=600, seed=1)
    assert turns == sorted(turns, key=lambda turn: turn.end_s)
    spoken = sum(turn.said.seconds for turn in turns)
    assert spoken / 20 / 600 == pytest.approx(0.3, abs=0.04)
    for room in range(20):
        own = [turn for turn in turns if turn.room == room]
        starts = [turn.end_s - turn.said.seconds for turn in own]
        assert all(b >= a.end_s for a, b in zip(own, starts[1:], strict=False))
    assert talk(people, 20, 0.3, 600, 1) == turns
    assert talk(people, 20, 0.3, 600, 2) != turns
