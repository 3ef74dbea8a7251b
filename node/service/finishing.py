"""Sessions whose recording is over: the rest is transcribed, then their files are written."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from node.core.model import at_sample, iso, parse_iso
from node.errors import RequestError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from node.adapters.store import Sessions, Utterances
    from node.core.model import Session
    from node.service.archive import Archive
    from node.service.items import Flushed

    Answer = Callable[[dict[str, Any] | RequestError], None]

log = logging.getLogger(__name__)

MAX_ANSWERS = 64
"""Requests that may wait for the end of one session; more are answered `busy`."""


@dataclass(slots=True)
class _Ending:
    """A session to finish: `flushed` once its end is known, `noted` once the store knows it."""

    session: Session
    flushed: bool
    noted: bool
    answers: list[Answer] = field(default_factory=list)


class Finishing:
    """Owned by the main thread. Only the disk, which holds them all, bounds their number.

    Each finishes on its own, as soon as none of its speech waits for the engine.
    """

    def __init__(self, *, sessions: Sessions, utterances: Utterances, archive: Archive) -> None:
        self._sessions = sessions
        self._utterances = utterances
        self._archive = archive
        self._endings: dict[str, _Ending] = {}

    @property
    def ids(self) -> list[str]:
        """Ids in the order in which recording ended."""
        return list(self._endings)

    @property
    def newest(self) -> Session | None:
        return next((ending.session for ending in reversed(self._endings.values())), None)

    def find(self, session_id: str) -> Session | None:
        ending = self._endings.get(session_id)
        return ending.session if ending else None

    def add(self, session: Session, *, flushed: bool) -> None:
        """Add a session that has stopped; not `flushed`: its last utterance is still to come."""
        self._endings[session.id] = _Ending(session, flushed, noted=flushed)

    def wait_for(self, session_id: str, answer: Answer) -> None:
        """Answer a request once a session is written.

        Raises:
            RequestError: `busy`: too many requests wait for it.
        """
        answers = self._endings[session_id].answers
        if len(answers) >= MAX_ANSWERS:
            raise RequestError("busy", f"session {session_id} is still being written")
        answers.append(answer)

    def on_flushed(self, item: Flushed) -> None:
        """Note where a recording ended; a session whose start the disk refused is not here."""
        ending = self._endings.get(item.session_id)
        if ending is not None:
            # In whole milliseconds, as stored: a restart must not change a transcript.
            end = at_sample(ending.session.started_at, item.end)
            ending.session.ended_at = parse_iso(iso(end))
            ending.flushed = True

    def settle(self) -> bool:
        """Write the sessions that have nothing left to wait for; return whether there were any.

        Raises:
            StoreError: the disk refuses; the next call tries again.
        """
        refused: StoreError | None = None
        before = len(self._endings)
        for ending in list(self._endings.values()):
            try:
                if ending.flushed and self._is_through(ending):
                    self._finish(ending)
            except StoreError as error:  # the others may succeed
                refused = error
        if refused is not None and len(self._endings) == before:
            raise refused
        return len(self._endings) < before

    def _is_through(self, ending: _Ending) -> bool:
        if not ending.noted:
            self._sessions.stopping(ending.session)
            ending.noted = True
        return not self._utterances.waiting(ending.session.id)

    def _finish(self, ending: _Ending) -> None:
        body = self._archive.finish(ending.session, datetime.now(UTC))
        log.info("session %s ended: %s segments", body["session_id"], body["segments_total"])
        result = {
            "session_id": body["session_id"],
            "file_path": body["file_path"],
            "files": body["files"],
            "segments_total": body["segments_total"],
            "duration_s": body["duration_s"],
        }
        del self._endings[ending.session.id]
        for answer in ending.answers:
            answer(result)
