"""Which sessions are deleted, and that no wrong clock deletes them all at once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.core.retention import DAY_S, LONGEST_OFF_S, AgeClock, Finished, due

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
YEARS = timedelta(days=366 * 60)


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def test_without_a_rule_nothing_goes() -> None:
    sessions = [Finished("a", 0), Finished("b", 1)]
    assert due(sessions, 1e12, keep_days=None, keep_sessions=None) == []


def test_by_age() -> None:
    sessions = [Finished("a", 0), Finished("b", DAY_S), Finished("c", 3 * DAY_S)]
    assert due(sessions, 30 * DAY_S, keep_days=30, keep_sessions=None) == []
    assert due(sessions, 30 * DAY_S + 1, keep_days=30, keep_sessions=None) == ["a"]
    assert due(sessions, 32 * DAY_S, keep_days=30, keep_sessions=None) == ["a", "b"]


def test_by_count_the_newest_stay() -> None:
    """The newest are those started last, whatever the wall clock said then."""
    sessions = [Finished(name, 0) for name in "abcd"]
    assert due(sessions, 0, keep_days=None, keep_sessions=1) == ["a", "b", "c"]
    assert due(sessions, 0, keep_days=None, keep_sessions=4) == []
    assert due(sessions, 0, keep_days=None, keep_sessions=9) == []


def test_by_both_either_is_enough() -> None:
    sessions = [Finished("old", 0), Finished("new", 9 * DAY_S), Finished("newest", 9 * DAY_S)]
    assert due(sessions, 9 * DAY_S, keep_days=5, keep_sessions=2) == ["old"]
    assert due(sessions, 9 * DAY_S, keep_days=50, keep_sessions=1) == ["old", "new"]


def test_a_folder_of_its_first_run_begins_at_nought() -> None:
    assert AgeClock().now_s(5, NOON) == 5


def test_a_night_between_two_runs_counts() -> None:
    assert AgeClock(100, NOON, 30).now_s(0, after(DAY_S / 2)) == 100 + DAY_S / 2


def test_a_clock_that_is_set_late_in_the_run_counts_the_night_then() -> None:
    """A machine without a clock wakes up in the past, until the network sets it."""
    clock = AgeClock(100, NOON, 30)
    assert clock.now_s(60, after(-DAY_S)) == 160
    assert clock.now_s(120, after(DAY_S / 2 + 120)) == 220 + DAY_S / 2
    assert clock.now_s(180, after(-YEARS.total_seconds())) == 280 + DAY_S / 2


@pytest.mark.parametrize(
    ("keep_days", "most_s"), [(1, DAY_S / 2), (30, LONGEST_OFF_S), (None, LONGEST_OFF_S)]
)
def test_a_jump_of_years_counts_a_week_at_most(keep_days: int | None, most_s: float) -> None:
    assert AgeClock(0, NOON, keep_days).now_s(60, NOON + YEARS) == 60 + most_s


@given(
    keep_days=st.integers(1, 400),
    runs=st.lists(
        st.tuples(st.floats(0, 3e6), st.lists(st.floats(-2e9, 2e9), min_size=1, max_size=4)),
        min_size=1,
        max_size=6,
    ),
)
def test_the_age_never_runs_ahead(keep_days: int, runs: list[tuple[float, list[float]]]) -> None:
    """However the wall clock jumps, a run adds its duration and one bounded gap, never less."""
    age, noted, lasted, gaps = 0.0, NOON, 0.0, 0
    for length_s, jumps in runs:
        clock = AgeClock(age, noted, keep_days)
        before = age
        for number, jump_s in enumerate(jumps, 1):
            noted = after(jump_s)
            now = clock.now_s(length_s * number / len(jumps), noted)
            assert now >= before
            before = now
        age, lasted, gaps = before, lasted + length_s, gaps + 1
    longest_s = min(LONGEST_OFF_S, keep_days * DAY_S / 2)
    assert lasted - 1 <= age <= lasted + gaps * longest_s + 1
