from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from node.core.deadlines import Deadlines

if TYPE_CHECKING:
    from collections.abc import Callable


class Diary:
    """Tasks that note when they were called."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, float]] = []
        self.deadlines = Deadlines()
        self._tasks: dict[str, Callable[[float], None]] = {}

    def task(self, name: str) -> Callable[[float], None]:
        return self._tasks.setdefault(name, lambda now: self.calls.append((name, now)))

    def run(self, now: float) -> list[str]:
        """Return the tasks called at `now`, in order."""
        before = len(self.calls)
        self.deadlines.run(now)
        return [name for name, _ in self.calls[before:]]


@pytest.fixture
def diary() -> Diary:
    return Diary()


def test_a_task_is_called_once_when_its_time_has_come(diary: Diary) -> None:
    diary.deadlines.at(5, diary.task("a"))
    assert diary.deadlines.wait_s(3) == 2
    assert diary.run(4.9) == []
    assert diary.run(5) == ["a"]
    assert diary.run(9) == []
    assert diary.deadlines.wait_s(9) is None


def test_the_longest_due_is_called_first(diary: Diary) -> None:
    for name, when in (("c", 3), ("a", 1), ("b", 2)):
        diary.deadlines.at(when, diary.task(name))
    assert diary.deadlines.wait_s(7) == 0
    assert diary.run(7) == ["a", "b", "c"]


def test_setting_a_task_again_moves_it(diary: Diary) -> None:
    task = diary.task("a")
    diary.deadlines.at(5, task)
    diary.deadlines.at(8, task)
    assert diary.run(5) == []
    assert task in diary.deadlines
    diary.deadlines.cancel(task)
    assert task not in diary.deadlines
    diary.deadlines.cancel(task)
    assert diary.run(8) == []


def test_methods_are_known_by_what_they_belong_to() -> None:
    class Owner:
        called = 0

        def task(self, _now: float) -> None:
            self.called += 1

    one, other, deadlines = Owner(), Owner(), Deadlines()
    deadlines.at(1, one.task)
    deadlines.at(2, one.task)
    deadlines.at(3, other.task)
    deadlines.run(3)
    assert (one.called, other.called) == (1, 1)


def test_what_is_regular_comes_at_once_and_then_with_all_others(diary: Diary) -> None:
    diary.deadlines.every(2, diary.task("two"))
    diary.deadlines.every(4, diary.task("four"))
    assert diary.run(101.5) == ["two", "four"]
    assert diary.deadlines.wait_s(101.5) == 0.5
    assert diary.run(102) == ["two"]
    assert diary.run(104.25) == ["two", "four"]
    assert diary.deadlines.wait_s(104.25) == 1.75


def test_what_was_slept_through_is_not_made_up_for(diary: Diary) -> None:
    diary.deadlines.every(2, diary.task("a"))
    assert diary.run(0) == ["a"]
    assert diary.run(3601) == ["a"]
    assert diary.run(3601.9) == []
    assert diary.run(3602) == ["a"]


def test_a_period_said_again_goes_on_and_another_begins_at_once(diary: Diary) -> None:
    diary.deadlines.every(2, diary.task("a"))
    diary.run(1)
    diary.deadlines.every(2, diary.task("a"))
    assert diary.run(1.5) == []
    diary.deadlines.every(0.5, diary.task("a"))
    assert diary.run(1.6) == ["a"]
    assert diary.run(2) == ["a"]


def test_what_is_hastened_keeps_its_period(diary: Diary) -> None:
    diary.deadlines.hasten(diary.task("a"))
    assert diary.run(0) == []
    diary.deadlines.every(60, diary.task("a"))
    diary.run(1)
    diary.deadlines.hasten(diary.task("a"))
    assert diary.run(7) == ["a"]
    assert diary.deadlines.wait_s(7) == 53


def test_a_period_that_is_no_binary_fraction_does_not_stand_still(diary: Diary) -> None:
    diary.deadlines.every(0.1, diary.task("a"))
    assert diary.run(1.0) == ["a"]  # 1.0 // 0.1 is 9.0
    assert diary.run(1.0) == []
    assert diary.deadlines.wait_s(1.0) == pytest.approx(0.1)


def test_a_task_may_set_itself_again_and_take_others_out() -> None:
    deadlines = Deadlines()
    calls: list[Any] = []

    def again(now: float) -> None:
        calls.append(("again", now))
        deadlines.at(now, again)
        deadlines.cancel(other)

    def other(now: float) -> None:
        calls.append(("other", now))

    deadlines.at(1, again)
    deadlines.at(2, other)
    deadlines.run(2)
    assert calls == [("again", 2)]
    assert deadlines.wait_s(2) == 0
    deadlines.run(2)
    assert calls == [("again", 2)] * 2


def test_a_task_may_put_another_off() -> None:
    deadlines = Deadlines()
    calls: list[Any] = []
    deadlines.at(1, lambda _now: deadlines.at(9, calls.append))
    deadlines.at(2, calls.append)
    deadlines.run(2)
    assert calls == []
    deadlines.run(9)
    assert calls == [9]


def test_a_task_that_fails_leaves_the_others_due() -> None:
    deadlines = Deadlines()
    calls: list[Any] = []

    def fail(_now: float) -> None:
        raise OSError("the disk refuses")

    deadlines.every(2, fail)
    deadlines.at(1, calls.append)
    with pytest.raises(OSError, match="refuses"):
        deadlines.run(1)
    assert (calls, deadlines.wait_s(1)) == ([], 0)
    deadlines.run(1)
    assert calls == [1]
    assert deadlines.wait_s(1) == 1


NAMES = st.sampled_from("abcde")
WHENS = st.integers(0, 60).map(lambda quarters: quarters / 4)
PERIODS = st.sampled_from([0.1, 0.5, 2.0, 3.0, 4.0])


class Invariants(RuleBasedStateMachine):
    """However deadlines are set, moved and cancelled, none is early, late, lost or called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.diary = Diary()
        self.now = 0.0
        self.once: dict[str, float] = {}
        self.periods: dict[str, float] = {}

    def forget(self, name: str) -> None:
        self.once.pop(name, None)
        self.periods.pop(name, None)

    @rule(name=NAMES, when=WHENS)
    def at(self, name: str, when: float) -> None:
        self.diary.deadlines.at(when, self.diary.task(name))
        self.forget(name)
        self.once[name] = when

    @rule(name=NAMES, period_s=PERIODS)
    def every(self, name: str, period_s: float) -> None:
        self.diary.deadlines.every(period_s, self.diary.task(name))
        self.forget(name)
        self.periods[name] = period_s

    @rule(name=NAMES)
    def cancel(self, name: str) -> None:
        self.diary.deadlines.cancel(self.diary.task(name))
        self.forget(name)

    @rule(passed=WHENS)
    def run(self, passed: float) -> None:
        """Sleep for as long as it says, or a little longer."""
        before = self.diary.deadlines.wait_s(self.now)
        self.now += passed
        called = self.diary.run(self.now)
        assert len(set(called)) == len(called)
        due = {name for name, when in self.once.items() if when <= self.now}
        assert due <= set(called) <= due | set(self.periods)
        assert (before is not None and passed >= before) == bool(called)
        for name in due:
            del self.once[name]
        for name in set(called) & set(self.periods):
            self.diary.deadlines.every(self.periods[name], self.diary.task(name))
        assert self.diary.run(self.now) == []

    @invariant()
    def the_wait_ends_with_the_first_deadline(self) -> None:
        wait_s = self.diary.deadlines.wait_s(self.now)
        known = {*self.once, *self.periods}
        assert (wait_s is None) == (not known)
        bounds = [max(0.0, when - self.now) for when in self.once.values()]
        bounds += [period_s + 1e-9 for period_s in self.periods.values()]
        assert wait_s is None or 0 <= wait_s <= min(bounds)
        assert all((self.diary.task(name) in self.diary.deadlines) == (name in known)
                   for name in "abcde")  # fmt: skip


TestInvariants = Invariants.TestCase
TestInvariants.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
