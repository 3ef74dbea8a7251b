"""What a process that died has left of its sessions."""

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


class Recovery:
    """Hands out the unfinished sessions one by one. Owned by the main thread."""

    def __init__(self, sessions: Sessions, utterances: Utterances) -> None:
        self._sessions = sessions
        self._utterances = utterances
        self._resume = False
        self._unfinished: list[Session] = []

    def look(self, *, resume: bool) -> None:
        """Find what is unfinished; with `resume`, the last one may go on recording."""
        self._resume = resume
        self._unfinished = self._sessions.unfinished()
        for session in self._unfinished:
            log.warning("session %s was cut off; taking it up again", session.id)

    def leave_out(self, session_id: str) -> None:
        """Do not hand this one out any more: it is seen to, or is being erased."""
        self._unfinished = [s for s in self._unfinished if s.id != session_id]

    @property
    def newest(self) -> Session | None:
        return self._unfinished[-1] if self._unfinished else None

    def next(self) -> Session | None:
        """The oldest that is not left out yet."""
        return self._unfinished[0] if self._unfinished else None

    def goes_on(self, session: Session) -> bool:
        """Whether `session` is to be recorded further: the last one, where nobody has stopped it.

        Not one that is known from its audio only: who sat where was lost with the database.
        """
        cut_off = bool(session.speakers) and self._sessions.is_recorded(session.id)
        return self._resume and cut_off and session is self._unfinished[-1]

    def close(self, session: Session) -> None:
        """End a session at its last sound, where its end is not known.

        Raises:
            StoreError: the disk refuses.
        """
        if session.ended_at is None:
            end = self._utterances.last_sample(session.id)
            session.ended_at = parse_iso(iso(at_sample(session.started_at, end)))
            self._sessions.stopping(session)

    def reopen(self, session: Session) -> float:
        """Give the monotonic time of sample 0, so that new sound falls behind what is there."""
        heard_s = self._utterances.last_sample(session.id) / SAMPLE_RATE
        passed_s = (datetime.now(UTC) - session.started_at) / timedelta(seconds=1)
        if passed_s <= heard_s:  # the clock was set back meanwhile
            passed_s = heard_s + 1
        zero = time.monotonic() - passed_s
        self._sessions.set_zero(session.id, zero)
        return zero
