"""How long finished sessions are kept: what counts as time, and which of them are due for deletion.

A wall clock cannot be trusted with this. On a machine without a battery-backed clock it starts
years late and is set right hours later, and a clock that jumps ahead would make everything old.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

DAY_S = 86_400.0

LONGEST_OFF_S = 7 * DAY_S
"""Most that the time between two runs counts for, whatever the wall clock says."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A finished session; `at_s` is what the age clock said then."""

    session_id: str
    at_s: float


class AgeClock:
    """Counts the seconds that have passed for a storage folder, over all runs of the node.

    While the node runs, time is counted by a clock that nobody can set. For the time between two
    runs there is only the wall clock: it is believed up to a week, and up to half of `keep_days`,
    once a run. So a wrong clock deletes sessions a week early at most, and a machine that is off
    for longer than a week keeps them longer.
    """

    def __init__(
        self, counted_s: float = 0.0, noted: datetime | None = None, keep_days: int | None = None
    ) -> None:
        self._counted_s = counted_s
        self._noted = noted
        self._gap_s = 0.0
        self._longest_s = min(LONGEST_OFF_S, (keep_days or 14) * DAY_S / 2)

    def now_s(self, running_s: float, wall: datetime) -> float:
        """The age of the folder; `running_s` is how long this run has lasted.

        A wall clock that is set right in the middle of a run can only make the gap before it
        longer.
        """
        if self._noted is not None:
            gap_s = (wall - self._noted).total_seconds() - running_s
            self._gap_s = max(self._gap_s, min(gap_s, self._longest_s))
        return self._counted_s + running_s + self._gap_s


def due(
    finished: Sequence[Finished], now_s: float, *, keep_days: int | None, keep_sessions: int | None
) -> list[str]:
    """Which sessions to delete, oldest first; `finished` is in the order in which they began."""
    too_many = len(finished) - keep_sessions if keep_sessions is not None else 0
    return [
        session.session_id
        for number, session in enumerate(finished)
        if number < too_many or (keep_days is not None and now_s - session.at_s > keep_days * DAY_S)
    ]
