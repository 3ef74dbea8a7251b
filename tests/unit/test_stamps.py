from __future__ import annotations

import pytest

from node.core.stamps import GAP_S, LONGEST_PAUSE_S, Stamps

FRAME = 0.02


def placed(stamps: Stamps, begin: float, count: int, jitter: float = 0.0) -> float:
    """Place frames stamped from `begin` on; return the silence put between them."""
    signs = [1 if number % 2 else -1 for number in range(count)]
    return sum(
        stamps.place(begin + number * FRAME + sign * jitter, FRAME)
        for number, sign in enumerate(signs)
    )


def test_stamps_that_follow_one_another_need_no_silence() -> None:
    stamps = Stamps(0.0)
    assert placed(stamps, 0.0, 100) == 0
    assert stamps.reached_s == pytest.approx(2)


def test_a_track_that_joins_late_begins_late() -> None:
    assert Stamps(0.0).place(10.001, FRAME) == pytest.approx(10.001)


def test_where_the_first_stamp_says_nothing_the_track_begins_at_once() -> None:
    stamps = Stamps(None)
    assert placed(stamps, 95443.7, 50) == 0
    assert stamps.jumped_at == []
    assert stamps.place(95443.7 + 11, FRAME) == pytest.approx(10)


def test_a_gap_is_filled_once() -> None:
    stamps = Stamps(0.0)
    placed(stamps, 0.0, 50)
    assert placed(stamps, 21.0, 50) == pytest.approx(20)
    assert stamps.reached_s == pytest.approx(22)


def test_packets_that_come_early_and_late_are_no_gaps() -> None:
    stamps = Stamps(0.0)
    assert placed(stamps, 0.0, 500, jitter=0.045) == 0
    assert stamps.reached_s == pytest.approx(10)


def test_many_small_losses_are_filled_when_they_are_much() -> None:
    """One packet in ten is missing: the track is never late by more than a gap."""
    stamps = Stamps(0.0)
    for number in range(1000):
        if number % 10:
            stamps.place(number * FRAME, FRAME)
            assert abs(stamps.reached_s - (number + 1) * FRAME) <= GAP_S + 1e-9


def test_what_could_not_be_read_is_filled_up_to_the_stamp() -> None:
    stamps = Stamps(0.0)
    placed(stamps, 0.0, 50)
    assert stamps.place(1.06, FRAME, lost_s=0.02) == pytest.approx(0.06)
    assert stamps.place(1.08, FRAME, lost_s=0.02) == 0


def test_without_stamps_what_could_not_be_read_is_as_long_as_it_was() -> None:
    stamps = Stamps(0.0)
    assert stamps.place(None, FRAME) == 0
    assert stamps.place(None, FRAME, lost_s=0.5) == 0.5
    assert stamps.reached_s == pytest.approx(0.54)


@pytest.mark.parametrize("jump", [-100.0, LONGEST_PAUSE_S + 100, 1.7e9])
def test_stamps_of_another_clock_are_followed_from_where_they_begin(jump: float) -> None:
    stamps = Stamps(0.0)
    placed(stamps, 0.0, 50)
    assert placed(stamps, 1.0 + jump, 50) == pytest.approx(0, abs=1e-6)
    assert stamps.jumped_at == [pytest.approx(1)]
    assert stamps.place(7.0 + jump, FRAME) == pytest.approx(5)


def test_a_jump_behind_damage_leaves_as_much_room_as_was_lost() -> None:
    stamps = Stamps(0.0)
    placed(stamps, 0.0, 50)
    assert stamps.place(-50.0, FRAME, lost_s=0.3) == 0.3
    assert stamps.place(-50.0 + FRAME, FRAME) == 0
