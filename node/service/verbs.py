"""What each verb of the interface does."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from node.core.model import Assignment, Session
from node.core.mqtt.messages import (
    AssignMics,
    DeleteSession,
    GetTranscript,
    ListSessions,
    OneSession,
    Request,
    SaveTranscript,
    StartSession,
)
from node.errors import RequestError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from node.adapters.store import Sessions
    from node.core.mqtt.payloads import HealthPayload
    from node.core.roster import Roster
    from node.service.archive import Archive
    from node.service.conductor import Answer, Conductor
    from node.service.mic_scanner import MicScanner


class Verbs:
    """Owned by the main thread. Every method answers, or raises `RequestError`."""

    def __init__(
        self,
        *,
        roster: Roster,
        scanner: MicScanner,
        sessions: Sessions,
        archive: Archive,
        conductor: Conductor,
        health: Callable[[], HealthPayload],
        erase: Callable[[str], None],
    ) -> None:
        self._roster = roster
        self._scanner = scanner
        self._sessions = sessions
        self._archive = archive
        self._conductor = conductor
        self._health = health
        self._erase = erase

    def carry_out(self, verb: str, request: Request, answer: Answer) -> None:
        """Do what a valid request asks; the answer may come later.

        Raises:
            RequestError: it is refused; nothing has been changed.
            StoreError: the disk refuses.
        """
        match request:
            case StartSession():
                self._conductor.start(request, answer)
            case AssignMics():
                answer(self._assign(request))
            case DeleteSession():
                answer(self._delete(request))
            case ListSessions():
                listed, total = self._sessions.page(request.limit, request.offset)
                answer({"sessions": listed, "total": total})
            case GetTranscript():
                session = self._find(request.session_id)
                answer(self._archive.page(session, request.format, request.offset, request.limit))
            case SaveTranscript():
                answer(self._save(request))
            case OneSession():
                self._conductor.stop(request.session_id, answer)
            case _ if verb == "mics/detect":
                self._scanner.look(lambda: answer(self._mics()))
            case _:
                answer(dict(self._health()))

    def set_speaker(self, mic: str, speaker: str) -> None:
        """The plain-text shortcut of `mics/assign`."""
        assignment = self._roster.assignment(self._known(mic))
        self._change({mic: Assignment(speaker or None, assignment.language, assignment.enabled)})

    def set_enabled(self, mic: str, *, enabled: bool) -> None:
        assignment = self._roster.assignment(self._known(mic))
        wanted = {mic: Assignment(assignment.speaker, assignment.language, enabled)}
        try:
            self._take_up(wanted)  # before the disk, which may refuse: a mute must not wait for it
            self._remember(wanted)
        except StoreError as error:
            done = "on" if enabled else "off"
            raise StoreError(f"{mic} is {done}, but may not be after a restart: {error}") from error

    def _known(self, mic: str) -> str:
        if mic not in self._roster:
            raise RequestError("unknown_mic", f"there is no mic {mic}")
        return mic

    def _assign(self, request: AssignMics) -> dict[str, Any]:
        self._change(self._roster.check(request.assignments))
        return self._mics()

    def _change(self, wanted: dict[str, Assignment]) -> None:
        self._remember(wanted)
        self._take_up(wanted)

    def _remember(self, wanted: dict[str, Assignment]) -> None:
        self._sessions.remember_mics([(self._roster.info(mic), a) for mic, a in wanted.items()])

    def _take_up(self, wanted: dict[str, Assignment]) -> None:
        self._roster.assign(wanted)
        self._conductor.assign(wanted)

    def _mics(self) -> dict[str, Any]:
        return {"mics": self._roster.payloads()}

    def _save(self, request: SaveTranscript) -> dict[str, Any]:
        session = self._find(request.session_id)
        files = self._archive.save(session, datetime.now(UTC), request.formats)
        return {"file_path": files.get("txt", next(iter(files.values()))), "files": files}

    def _delete(self, request: DeleteSession) -> dict[str, Any]:
        if request.session_id in self._conductor.finishing:
            raise RequestError(
                "session_active", f"session {request.session_id} is still being written"
            )
        if self._conductor.active(request.session_id) is not None:
            raise RequestError(
                "session_active", f"session {request.session_id} is being recorded; stop it first"
            )
        session = self._find(request.session_id)
        self._conductor.leave_out(session.id)
        self._erase(session.id)
        return {"session_id": session.id}

    def _find(self, session_id: str | None) -> Session:
        """The session asked for, or the running or last one."""
        if session_id is None:
            session = self._conductor.session or self._sessions.last_done()
            if session is None:
                raise RequestError("no_session", "there has been no session yet")
            return session
        found = self._conductor.active(session_id) or self._sessions.get(session_id)
        if found is None:
            raise RequestError("unknown_session", f"session_id: there is no {session_id}")
        return found
