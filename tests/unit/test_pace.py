from __future__ import annotations

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from node.core.pace import OLD_S, REMEMBERED_PASSES, Pace

SECONDS = st.floats(0.1, 28)
PASSES = st.lists(st.tuples(SECONDS, st.floats(0.001, 5)), min_size=1, max_size=20)


def test_nothing_is_expected_of_what_was_never_seen() -> None:
    assert Pace().expect(1) == inf
    assert Pace().is_old(0)


def test_what_was_seen_long_ago_is_forgotten() -> None:
    pace = Pace()
    pace.saw(0, 3, 4)
    assert not pace.is_old(OLD_S)
    assert pace.is_old(OLD_S + 1)
    pace.saw(OLD_S + 1, 3, 0.1)
    assert pace.expect(3) == 0.1


def test_the_slowest_of_what_was_seen_lately_counts() -> None:
    pace = Pace()
    pace.saw(0, 3, 4)
    pace.saw(OLD_S, 3, 1)
    assert pace.expect(3) == 4


@given(PASSES)
def test_no_less_is_expected_than_the_latest_passes_took(passes: list[tuple[float, float]]) -> None:
    pace = Pace()
    for seconds, took_s in passes:
        pace.saw(1, seconds, took_s)
    for seconds, took_s in passes[-REMEMBERED_PASSES:]:
        assert pace.expect(seconds) >= took_s * (1 - 1e-9)


@given(PASSES, SECONDS, SECONDS)
def test_more_sound_takes_longer(
    passes: list[tuple[float, float]], one: float, other: float
) -> None:
    pace = Pace()
    for seconds, took_s in passes:
        pace.saw(1, seconds, took_s)
    assert pace.expect(min(one, other)) <= pace.expect(max(one, other))
