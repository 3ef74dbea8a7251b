from __future__ import annotations

from datetime import timedelta

import pytest

from node.adapters.system_clock import read_clock
from node.core.clocks import Agreement, ClockState, SessionClock, compare
from tests.unit.spoken import STARTED

GOOD = ClockState(True, 12.34)
BAD = ClockState(False, 16000.0)


def test_the_form_in_which_it_is_stored_and_published() -> None:
    assert SessionClock().payload() == {"start": None, "stop": None, "shift_ms": None}
    assert SessionClock(BAD, GOOD, 2.5).payload() == {
        "start": {"synchronised": False, "max_error_ms": 16000.0},
        "stop": {"synchronised": True, "max_error_ms": 12.3},
        "shift_ms": 2.5,
    }


@pytest.mark.parametrize("shown_s", [100.0, 103.2, -500.0])
def test_a_clock_that_was_set_shows_by_how_much(shown_s: float) -> None:
    """The session has counted 100 s; the clock shows something else."""
    now = STARTED + timedelta(seconds=shown_s)
    stopped = SessionClock(BAD).stopped(GOOD, STARTED, now, 100.0)
    assert (stopped.start, stopped.stop) == (BAD, GOOD)
    assert stopped.shift_ms == pytest.approx((shown_s - 100) * 1000)


def test_no_shift_is_known_of_a_session_that_was_not_counted_from_the_start() -> None:
    stopped = SessionClock(GOOD).stopped(None, STARTED, STARTED, None)
    assert stopped == SessionClock(GOOD, None, None)


def test_the_kernel_is_asked() -> None:
    """It counts the error up to 16 s, and then calls the clock unsynchronised (ntp.c of Linux)."""
    state = read_clock()
    assert state is not None
    assert 0 <= state.max_error_ms <= 16_000
    assert not (state.synchronised and state.max_error_ms == 16_000)


@pytest.mark.parametrize(
    ("clock", "late_ms", "error_ms"),
    [
        (SessionClock(), 0, None),
        (SessionClock(GOOD), 0, 12.34),
        (SessionClock(GOOD, GOOD, -3.0), 0, 12.34),
        (SessionClock(GOOD, GOOD, -3000.0), 0, 3000),  # set back: which was right?
        (SessionClock(GOOD, BAD, 3000.0), 0, 3000),
        (SessionClock(BAD), 0, None),
        (SessionClock(BAD, BAD, 3000.0), 0, None),
        (SessionClock(BAD, None, 3000.0), 0, None),
        (SessionClock(BAD, GOOD, 3000.0), 3000, 1012.34),
        (SessionClock(BAD, GOOD, -3000.0), -3000, 1012.34),
        (SessionClock(BAD, GOOD, None), 0, None),  # resumed: not counted from the start
        (SessionClock(None, GOOD, 3000.0), 0, None),
    ],
)
def test_where_the_start_is_and_how_certain(
    clock: SessionClock, late_ms: float, error_ms: float | None
) -> None:
    assert (clock.late_ms, clock.error_ms) == (late_ms, error_ms)


def test_clocks_agree_within_the_two_largest_errors() -> None:
    clocks = {
        "kitchen": SessionClock(ClockState(True, 2.2)),
        "office": SessionClock(ClockState(True, 3.0)),
        "hall": SessionClock(ClockState(True, 0.1)),
    }
    agreed = compare(clocks)
    assert agreed.within_ms == 7  # 2.2 + 3.0 + 1, in whole milliseconds
    assert agreed.remarks == (
        (
            "the clocks of kitchen, office and hall agree within 7 ms:"
            " lines closer to each other may be in the wrong order"
        ),
    )
    del clocks["hall"], clocks["office"]
    assert compare(clocks) == Agreement(None, ())
    far = {"a": SessionClock(ClockState(True, 1000)), "b": SessionClock(ClockState(True, 499))}
    assert "agree within 1.5 s:" in compare(far).remarks[0]


def test_a_clock_that_was_wrong_or_is_unknown_is_named() -> None:
    clocks = {
        "kitchen": SessionClock(GOOD),
        "office": SessionClock(BAD),
        "hall": SessionClock(),
    }
    assert compare(clocks) == Agreement(
        None,
        (
            "office: its clock was not synchronised, so its lines may stand too early or too late",
            "hall: nothing is known of its clock, so its lines may stand too early or too late",
        ),
    )


@pytest.mark.parametrize(("shift_ms", "said"), [(3210.0, "3.2 s forward"), (-12.1, "13 ms back")])
def test_a_clock_that_became_right_is_told(shift_ms: float, said: str) -> None:
    agreed = compare({"pi": SessionClock(BAD, GOOD, shift_ms), "office": SessionClock(GOOD)})
    assert agreed.within_ms == 1026
    (remark,) = agreed.remarks[1:]
    assert remark.startswith("pi: its clock was not synchronised at the start and was set ")
    assert f" {said} later; " in remark
