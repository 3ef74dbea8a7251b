"""What is due when: every deadline of one thread in one place, which says how long it may sleep.

A task is its own key: setting it again moves it. Periodic tasks run at multiples of their period,
whenever they were set. So tasks of two and of four seconds fall due together, and the thread wakes
once for both.

There are a dozen of them at most: a dict and `min` serve as well as a heap, and anything may be
taken out of a dict.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    Task = Callable[[float], None]


@dataclass(slots=True)
class _Deadline:
    when: float
    period_s: float | None = None


class Deadlines:
    """Times are seconds on one clock that only goes forward; the caller looks at it."""

    def __init__(self) -> None:
        self._set: dict[Task, _Deadline] = {}

    def at(self, when: float, task: Task) -> None:
        """Call `task` once, as soon as it is `when`; a time that is past means at once."""
        self._set[task] = _Deadline(when)

    def every(self, period_s: float, task: Task) -> None:
        """Call `task` at once, and then at every multiple of the period.

        If the task already has this period, nothing changes.
        """
        known = self._set.get(task)
        if known is None or known.period_s != period_s:
            self._set[task] = _Deadline(-math.inf, period_s)

    def hasten(self, task: Task) -> None:
        """Call at once what is set for later; its period goes on as before."""
        if task in self._set:
            self._set[task].when = -math.inf

    def cancel(self, task: Task) -> None:
        """Do not call `task` any more; nothing where it is not set."""
        self._set.pop(task, None)

    def __contains__(self, task: Task) -> bool:
        """Whether `task` is still to be called."""
        return task in self._set

    def wait_s(self, now: float) -> float | None:
        """Seconds until something is due, 0 where something is; None where nothing is set."""
        if not self._set:
            return None
        return max(0.0, min(deadline.when for deadline in self._set.values()) - now)

    def run(self, now: float) -> None:
        """Call what is due, the longest due first, each once.

        What a task sets meanwhile waits for the next run, whatever its time. Where a task raises,
        that is the end of this run: it counts as called, and the others stay due.
        """
        due = [
            (deadline.when, task) for task, deadline in self._set.items() if deadline.when <= now
        ]
        for when, task in sorted(due, key=lambda entry: entry[0]):
            deadline = self._set.get(task)
            if deadline is None or deadline.when != when:  # an earlier task moved or cancelled it
                continue
            if deadline.period_s is None:
                del self._set[task]
            else:
                deadline.when = _next_multiple(deadline.period_s, now)
            task(now)


def _next_multiple(period_s: float, now: float) -> float:
    """The first multiple of a period after `now`: those that were missed are skipped."""
    when = (now // period_s + 1) * period_s
    return when if when > now else when + period_s  # 1.0 // 0.1 is 9
