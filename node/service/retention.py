"""Removes old sessions, as `storage.keep_days` and `storage.keep_sessions` say."""

from __future__ import annotations

import logging
import time
from collections import deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from node.core.retention import AgeClock, due

if TYPE_CHECKING:
    from collections.abc import Callable

    from node.adapters.store import Traces
    from node.config import StorageConfig
    from node.core.deadlines import Deadlines
    from node.service.conductor import Conductor
    from node.service.publishing.publisher import Publisher

log = logging.getLogger(__name__)

LOOK_EVERY_S = 3600.0

MOST_AT_ONCE = 5
PAUSE_S = 2.0
"""How many sessions to remove before a pause, as each costs some writes to an SD card. Nothing is
removed while a session is being recorded."""


def running_s() -> float:
    """Return seconds on a clock that cannot be set and also counts while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Retention:
    """Owned by the main thread."""

    def __init__(
        self,
        *,
        deadlines: Deadlines,
        traces: Traces,
        storage: StorageConfig,
        conductor: Conductor,
        erase: Callable[[str], None],
        publisher: Publisher,
    ) -> None:
        self._deadlines = deadlines
        self._traces = traces
        self._conductor = conductor
        self._keep_days = storage.keep_days
        self._keep_sessions = storage.keep_sessions
        self._erase = erase
        self._publisher = publisher
        self._age: AgeClock | None = None
        self._began_s = 0.0
        self._must_look = False
        self._due: deque[str] = deque()
        self._erased = 0

    def start(self) -> None:
        """Look now, and then once an hour."""
        self._deadlines.every(LOOK_EVERY_S, self._want_look)

    def _want_look(self, now: float) -> None:
        self._must_look = True
        self._deadlines.at(now, self._go_on)

    def _go_on(self, now: float) -> None:
        """Remove some of the sessions that are due.

        Raises:
            StoreError: the disk refuses; the next try is in `PAUSE_S`.
        """
        self._deadlines.at(now + PAUSE_S, self._go_on)
        if self._conductor.session is not None:
            return
        if self._must_look:
            self._must_look = False
            self._look()
        for _ in range(min(MOST_AT_ONCE, len(self._due))):
            self._erase(self._due.popleft())
            self._erased += 1
        if not self._due:
            self._deadlines.cancel(self._go_on)
            self._say()

    def _look(self) -> None:
        if self._age is None:
            self._age = self._open()
        wall = datetime.now(UTC)
        age_s = self._age.now_s(running_s() - self._began_s, wall)
        self._traces.note_age(age_s, wall)
        self._due = deque(
            due(
                self._traces.finished_sessions(),
                age_s,
                keep_days=self._keep_days,
                keep_sessions=self._keep_sessions,
            )
        )

    def _open(self) -> AgeClock:
        self._began_s = running_s()
        noted = self._traces.age()
        counted_s, wall = noted or (0.0, None)
        return AgeClock(counted_s, wall, self._keep_days)

    def _say(self) -> None:
        if not self._erased:
            return
        kept = {"keep_days": self._keep_days, "keep_sessions": self._keep_sessions}
        rules = [f"storage.{key} is {value}" for key, value in kept.items() if value is not None]
        removed, self._erased = self._erased, 0
        sessions = "1 session was" if removed == 1 else f"{removed} sessions were"
        message = f"{sessions} removed completely: {', '.join(rules)}"
        self._publisher.event("sessions_removed", message, good=True)
