"""The session's life: start, record, stop, drain, write; and what a crash has left to finish."""

from __future__ import annotations

import logging
import secrets
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from node.core.model import Session, at_sample, iso, new_session_id, parse_iso
from node.core.roster import Live
from node.core.session import Machine, Move, State
from node.errors import RequestError, StoreError
from node.service.minutes import Seat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from node.adapters.store import Sessions, Utterances
    from node.core.messages import StartSession
    from node.core.model import Assignment, Segment
    from node.core.payloads import FinalPayload
    from node.core.roster import Roster
    from node.service.admission import Admission
    from node.service.archive import Archive
    from node.service.items import Flushed, MicsOpened, MicsRefused
    from node.service.listener import Listener
    from node.service.recovery import Recovery

    Answer = Callable[[dict[str, Any] | RequestError], None]

log = logging.getLogger(__name__)


def nobody(_result: dict[str, Any] | RequestError) -> None:
    """Takes the answer where no request asked: the time limit, a shortcut, the end of the node."""


class Conductor:
    """Owned by the main thread, which tells it what happens; it never waits."""

    def __init__(
        self,
        *,
        roster: Roster,
        sessions: Sessions,
        utterances: Utterances,
        archive: Archive,
        listener: Listener,
        recovery: Recovery,
        admission: Admission,
        default_language: str,
    ) -> None:
        self._roster = roster
        self._sessions = sessions
        self._utterances = utterances
        self._archive = archive
        self._listener = listener
        self.default_language = default_language
        self._admission = admission
        self._machine = Machine()
        self._recovery = recovery
        self._starting: Answer = nobody
        self._wanted: dict[str, Assignment] = {}
        self._stopping: list[Answer] = []
        self._zero = 0.0
        self._stop_at: float | None = None
        self._flushed = self._end_noted = False
        self.session: Session | None = None
        self.segments_total = 0
        self.message: str | None = None
        self.model_problem: str | None = None

    @property
    def state(self) -> State:
        return self._machine.state

    def backlog_s(self) -> float:
        """Seconds of speech of the running session that wait for the engine."""
        return self._utterances.backlog_s(self.session.id) if self.session else 0.0

    # What requests ask for.

    def start(self, request: StartSession, answer: Answer) -> None:
        """Begin a session; answered when every mic of it delivers, or none is open.

        Raises:
            RequestError: it cannot begin; nothing has been changed.
        """
        self._machine.check_start(self.session.id if self.session else None)
        if self.model_problem is not None:
            raise RequestError("model_unavailable", self.model_problem)
        wanted, chosen = self._admission.check(request)
        self._begin(request, wanted, chosen, answer)

    def _begin(
        self,
        request: StartSession,
        wanted: dict[str, Assignment],
        chosen: dict[str, Assignment],
        answer: Answer,
    ) -> None:
        now = datetime.now(UTC)
        self._zero = time.monotonic()
        self.session = Session(
            id=new_session_id(now, secrets.token_hex(2)),
            started_at=now.replace(microsecond=now.microsecond // 1000 * 1000),
            title=request.title or None,
            language=request.language,
            speakers={mic: a.speaker or "" for mic, a in chosen.items()},
            max_duration_s=request.max_duration_s,
        )
        self._starting, self._wanted = answer, wanted
        self.segments_total, self.message = 0, None
        self._machine.move(Move.START)
        seats = {mic: self._seat(mic, a) for mic, a in chosen.items()}
        self._listener.begin(self.session.id, self._zero, seats)

    def _seat(self, mic: str, assignment: Assignment) -> Seat:
        assert self.session is not None
        spoken = assignment.language or self.session.language or self.default_language
        language = None if spoken == "auto" else spoken
        return Seat(assignment.speaker or self._roster.label(mic), language, assignment.enabled)

    def stop(self, session_id: str | None, answer: Answer) -> None:
        """End the recording; answered when all of it is transcribed and written.

        Raises:
            RequestError: `not_recording`.
        """
        self._machine.check_stop(self.session.id if self.session else None, session_id)
        self._stopping.append(answer)
        if self.state is State.RECORDING:
            self._machine.move(Move.STOP)
            self._stop_at, self._flushed, self._end_noted = None, False, False
            self._listener.end()

    def seat(self, mics: Iterable[str]) -> None:
        """Mics have another speaker or are muted: the running session follows at once.

        Raises:
            StoreError: the disk refuses to note it; the listener follows all the same.
        """
        if self.session is None or self.state is not State.RECORDING:
            return
        for mic in mics:
            assignment = self._roster.assignment(mic)
            if mic in self.session.speakers or assignment.speaker:
                self._listener.seat(mic, self._seat(mic, assignment))
                self.session.speakers[mic] = self._roster.label(mic)
        self._sessions.set_speakers(self.session)

    # What happens.

    def on_model_ready(self) -> None:
        self.model_problem = self.message = None
        if self.state is State.ERROR:
            self._machine.move(Move.MODEL_READY)
        self._continue()

    def on_model_unavailable(self, reason: str) -> None:
        self.model_problem = self.message = reason
        if self.state is State.IDLE:
            self._machine.move(Move.MODEL_LOST)

    def on_opened(self, item: MicsOpened) -> None:
        """Every mic delivers: the session exists from now on, and so does its sound so far."""
        assert self.session is not None
        answer, self._starting = self._starting, nobody
        try:
            mics = [(self._roster.info(mic), a) for mic, a in self._wanted.items()]
            self._sessions.begin(self.session, self._zero, mics)
        except StoreError as error:
            self._listener.end()
            self.session = None
            self._machine.move(Move.REFUSED)
            answer(RequestError("disk_full", str(error)))
            return
        self._roster.assign(self._wanted)
        self._listener.go()
        self._machine.move(Move.OPENED)
        for mic, rate in item.sample_rates.items():
            self._roster.set_live(mic, Live(recording=True, sample_rate=rate))
        self._set_limit(self.session)
        log.info("session %s began with %d mics", self.session.id, len(item.sample_rates))
        answer(
            {
                "session_id": self.session.id,
                "started_at": iso(self.session.started_at),
                "speakers": self.session.speakers,
            }
        )

    def on_refused(self, item: MicsRefused) -> None:
        self.session = None
        self._machine.move(Move.REFUSED)
        reasons = "; ".join(f"{mic}: {reason}" for mic, reason in item.reasons.items())
        answer, self._starting = self._starting, nobody
        answer(RequestError("mic_unavailable", reasons))

    def on_flushed(self, item: Flushed) -> None:
        if self.session is None or item.session_id != self.session.id:
            return  # its start was refused by the disk
        # In whole milliseconds, as the store keeps it: a restart must not change a transcript.
        self.session.ended_at = parse_iso(iso(at_sample(self.session.started_at, item.end)))
        self._flushed = True
        for mic in self._roster:
            self._roster.set_live(mic, None)

    def on_segment(self, segment: Segment) -> None:
        running = self.session is not None and segment.session_id == self.session.id
        if running and segment.crosstalk_of is None:
            self.segments_total += 1

    def tick(self, now: float) -> FinalPayload | None:
        """What time brings: the time limit; the end of the drain, with the final transcript.

        Raises:
            StoreError: the final transcript cannot be written; it is tried again at the next tick.
        """
        if self._stop_at is not None and now >= self._stop_at:
            log.info("session %s has reached max_duration_s", self.session and self.session.id)
            self.stop(None, nobody)
        if self.state is not State.STOPPING or not self._flushed:
            return None
        assert self.session is not None
        if not self._end_noted:
            self._sessions.stopping(self.session)
            self._end_noted = True
        if self._utterances.waiting(self.session.id):
            return None
        return self._finish(self.session)

    def _finish(self, session: Session) -> FinalPayload:
        assert session.ended_at is not None
        body = self._archive.finish(session, datetime.now(UTC))
        log.info("session %s ended: %s segments", session.id, body["segments_total"])
        result = {
            "session_id": session.id,
            "file_path": body["file_path"],
            "files": body["files"],
            "segments_total": body["segments_total"],
            "duration_s": body["duration_s"],
        }
        answers, self._stopping = self._stopping, []
        self.session = None
        self._machine.move(Move.DRAINED)
        if self.model_problem is not None:
            self._machine.move(Move.MODEL_LOST)
        for answer in answers:
            answer(result)
        self._continue()
        return body

    # What a crash has left.

    def leave_out(self, session_id: str) -> None:
        """A session that waits to be finished is being erased: it is not taken up any more."""
        self._recovery.leave_out(session_id)

    def _continue(self) -> None:
        """Take up a session that the last process left unfinished, like any other that ends."""
        if self.state is not State.IDLE or (session := self._recovery.next()) is None:
            return
        self.session = session
        self.segments_total = self._sessions.segments_total(session.id)
        if self._recovery.goes_on(session):
            self._go_on(session)
            return
        self._recovery.close(session)
        self._machine.move(Move.STOP)
        self._flushed = self._end_noted = True

    def _go_on(self, session: Session) -> None:
        """Record again; mics that are away are waited for."""
        self._zero = self._recovery.reopen(session)
        self._machine.move(Move.START)
        self._machine.move(Move.OPENED)
        mics = [mic for mic in session.speakers if mic in self._roster]
        seats = {mic: self._seat(mic, self._roster.assignment(mic)) for mic in mics}
        self._listener.begin(session.id, self._zero, seats, patient=True)
        for mic in mics:
            self._roster.set_live(mic, Live(recording=True))
        self._set_limit(session)
        self.message = "recording went on after an interruption"

    def _set_limit(self, session: Session) -> None:
        if session.max_duration_s is not None:
            self._stop_at = self._zero + session.max_duration_s
