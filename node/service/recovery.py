"""The sessions that a crashed process left unfinished."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from node.core.model import SAMPLE_RATE, at_sample, iso, parse_iso

if TYPE_CHECKING:
    from node.adapters.store import Sessions, Utterances
    from node.core.model import Session

log = logging.getLogger(__name__)


LONGEST_BREAK_S = 7 * 86_400.0
"""Break of a session, beyond which it is the clock that has been set: a Raspberry Pi without a
battery may start years late."""


class Recovery:
    """Hands out the unfinished sessions one by one; owned by the main thread."""

    def __init__(self, sessions: Sessions, utterances: Utterances) -> None:
        self._sessions = sessions
        self._utterances = utterances
        self._resume = False
        self._unfinished: list[Session] = []

    def look(self, *, resume: bool) -> None:
        """Find the unfinished sessions; with `resume`, the last one may go on recording."""
        self._resume = resume
        self._unfinished = self._sessions.unfinished()
        for session in self._unfinished:
            log.warning("session %s was interrupted; it will be resumed or finished", session.id)

    def leave_out(self, session_id: str) -> None:
        """Do not hand out this session any more: it is handled, or being erased."""
        self._unfinished = [s for s in self._unfinished if s.id != session_id]

    @property
    def newest(self) -> Session | None:
        return self._unfinished[-1] if self._unfinished else None

    def next(self) -> Session | None:
        """Return the oldest session that is left, or None."""
        return self._unfinished[0] if self._unfinished else None

    def goes_on(self, session: Session) -> bool:
        """Return whether `session` goes on recording: the last one, unless somebody stopped it.

        Not one known only from its audio: its speakers were lost with the database.
        """
        interrupted = bool(session.speakers) and self._sessions.is_recorded(session.id)
        return self._resume and interrupted and session is self._unfinished[-1]

    def close(self, session: Session) -> None:
        """End a session at its last sound, unless its end is known.

        Raises:
            StoreError: the disk refuses.
        """
        if session.ended_at is None:
            end = self._utterances.last_sample(session.id)
            session.ended_at = parse_iso(iso(at_sample(session.started_at, end)))
            self._sessions.stopping(session)

    def reopen(self, session: Session) -> float:
        """Return the monotonic time of sample 0, such that new sound comes after the old."""
        heard_s = self._utterances.last_sample(session.id) / SAMPLE_RATE
        passed_s = (datetime.now(UTC) - session.started_at) / timedelta(seconds=1)
        if not heard_s < passed_s < heard_s + LONGEST_BREAK_S:  # the clock was set meanwhile
            passed_s = heard_s + 1
        zero = time.monotonic() - passed_s
        self._sessions.set_zero(session.id, zero)
        return zero
