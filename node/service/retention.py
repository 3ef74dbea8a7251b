"""Old sessions go by themselves: `storage.keep_days`, `storage.keep_sessions`."""

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
    from node.service.publishing.publisher import Publisher

log = logging.getLogger(__name__)

LOOK_EVERY_S = 3600.0

MOST_AT_ONCE = 5
"""Sessions removed between two looks at the inbox: each costs some writes to an SD card."""


def running_s() -> float:
    """Seconds on a clock that nobody can set and that also counts while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Retention:
    """Owned by the main thread."""

    def __init__(
        self,
        *,
        traces: Traces,
        storage: StorageConfig,
        erase: Callable[[str], None],
        publisher: Publisher,
    ) -> None:
        self._traces = traces
        self._keep_days = storage.keep_days
        self._keep_sessions = storage.keep_sessions
        self._erase = erase
        self._publisher = publisher
        self._age: AgeClock | None = None
        self._began_s = 0.0
        self._look_at = 0.0
        self._due: deque[str] = deque()
        self._erased = 0

    def tick(self, now: float) -> None:
        """Look once an hour, and remove what is due; only called while nothing is recorded.

        Raises:
            StoreError: the disk refuses; what is left is found again at the next look.
        """
        if now >= self._look_at:
            self._look_at = now + LOOK_EVERY_S
            self._look()
        for _ in range(min(MOST_AT_ONCE, len(self._due))):
            self._erase(self._due.popleft())
            self._erased += 1
        if self._erased and not self._due:
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
        kept = {"keep_days": self._keep_days, "keep_sessions": self._keep_sessions}
        rules = [f"storage.{key} is {value}" for key, value in kept.items() if value is not None]
        removed, self._erased = self._erased, 0
        sessions = "1 session was" if removed == 1 else f"{removed} sessions were"
        message = f"{sessions} removed with every trace: {', '.join(rules)}"
        self._publisher.event("sessions_removed", message, good=True)
