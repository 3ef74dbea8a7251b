from __future__ import annotations

from itertools import pairwise
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.core.overload import CALM_S, DELAY_S, Load, LoadName, Overload

DELAYS = st.floats(0, 100)
STEPS = st.lists(st.tuples(st.floats(0.01, 8), DELAYS), max_size=40)


def feed(overload: Overload, now: float, delay_s: float) -> str | None:
    return overload.look(now, backlog_s=0, lag_s=delay_s, rtf=None)


def rung(overload: Overload) -> Load:
    return overload.load


@pytest.mark.parametrize("load", DELAY_S)
def test_each_rung_is_climbed_at_its_delay(load: Load) -> None:
    overload = Overload()
    feed(overload, 0, DELAY_S[load] - 0.01)
    assert rung(overload) == load - 1
    feed(overload, 1, DELAY_S[load])
    assert rung(overload) is load


def test_work_that_waits_counts_as_the_delay_it_will_cause() -> None:
    overload = Overload()
    overload.look(0, backlog_s=50, lag_s=1, rtf=None)
    assert rung(overload) is Load.NORMAL
    overload.look(1, backlog_s=50, lag_s=1, rtf=0.2)
    assert rung(overload) is Load.BEAM_1


def test_a_rung_is_left_after_a_calm_at_half_its_height() -> None:
    overload = Overload()
    feed(overload, 0, 10)
    feed(overload, 1, 5.1)
    feed(overload, 1 + 10 * CALM_S, 5.1)
    assert rung(overload) is Load.BEAM_1
    feed(overload, 100, 5)
    feed(overload, 99.9 + CALM_S, 5)
    assert rung(overload) is Load.BEAM_1
    feed(overload, 100 + CALM_S, 5)
    assert rung(overload) is Load.TOGETHER


def test_a_calm_that_is_interrupted_begins_anew() -> None:
    overload = Overload()
    for now, delay_s in ((0, 4), (1, 0), (5, 3), (6, 0), (10.9, 0)):
        feed(overload, now, delay_s)
    assert rung(overload) is Load.TOGETHER
    feed(overload, 11, 0)
    assert rung(overload) is Load.NO_PARTIALS


def test_an_episode_is_said_once_at_either_end() -> None:
    overload = Overload()
    delays = [5, 40, 40, 12, 40, 0, 0, 40] + 8 * [0] + [40]
    news = [feed(overload, 10.0 * n, delay_s) for n, delay_s in enumerate(delays)]
    assert [n for n in news if n] == ["overloaded", "recovered", "overloaded"]
    assert (news[1], news[-1]) == ("overloaded", "overloaded")


@given(STEPS, DELAYS)
def test_a_load_that_stays_never_goes_up_and_down(
    before: list[tuple[float, float]], delay_s: float
) -> None:
    overload, now = Overload(), 0.0
    for step, earlier in before:
        feed(overload, now := now + step, earlier)
    loads = []
    for _ in range(40):
        feed(overload, now := now + 1, delay_s)
        loads.append(overload.load)
    assert all(later <= earlier for earlier, later in pairwise(loads))
    assert loads[-1] == loads[-2]


@given(st.lists(st.tuples(st.floats(0.01, 8), DELAYS, DELAYS), max_size=40))
def test_more_load_never_means_a_lower_rung(steps: list[tuple[float, float, float]]) -> None:
    light, heavy, now = Overload(), Overload(), 0.0
    for step, one, other in steps:
        now += step
        feed(light, now, min(one, other))
        feed(heavy, now, max(one, other))
        assert light.load <= heavy.load


@given(STEPS)
def test_it_returns_to_normal_and_says_what_it_has_to(steps: list[tuple[float, float]]) -> None:
    overload, now, news = Overload(), 0.0, []
    for step, delay_s in steps:
        news.append(feed(overload, now := now + step, delay_s))
    news += [feed(overload, now := now + CALM_S, 0) for _ in range(2 * len(Load))]
    said = [n for n in news if n]
    assert rung(overload) is Load.NORMAL
    assert said == ["overloaded", "recovered"] * (len(said) // 2)
    assert bool(said) == any(delay_s >= DELAY_S[Load.OVERLOADED] for _, delay_s in steps)


def test_each_rung_has_its_name() -> None:
    assert tuple(load.label for load in Load) == get_args(LoadName)
