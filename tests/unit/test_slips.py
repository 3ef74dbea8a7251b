"""How far the corrections of clocks have shifted what microphones hear."""

import numpy as np

from node.core.room.slips import REMEMBERED, Slips


def two() -> Slips:
    slips = Slips()
    for _ in "ab":
        slips.add()
    return slips


def shifts(slips: Slips, index: int, *at: int) -> list[int]:
    shifted: list[int] = slips.shift(index, np.array(at)).tolist()
    return shifted


def test_each_correction_shifts_all_that_follows() -> None:
    slips = two()
    slips.note(1, 1000, 2)
    slips.note(1, 2000, -5)
    assert shifts(slips, 1, 0, 999, 1000, 1999, 2000, 10**9) == [0, 0, 2, 2, -3, -3]
    assert shifts(slips, 0, 0, 10**9) == [0, 0]


def test_where_a_clock_ran_on_there_is_nothing_between() -> None:
    slips = two()
    slips.note(1, 1000, 2)
    between = [
        slips.any_between(1, *ends) for ends in ((0, 999), (0, 1000), (999, 1000), (1000, 9))
    ]
    assert between == [False, True, True, False]
    assert not slips.any_between(0, 0, 10**9)


def test_what_is_long_ago_is_remembered_as_one_sum() -> None:
    slips = two()
    for second in range(7200):
        slips.note(0, second * 16000, 1)
    end = 7199 * 16000
    assert shifts(slips, 0, end, end - REMEMBERED) == [7200, 7140]
    assert len(slips._ends[0]) <= REMEMBERED // 16000 + 1
