"""The life of a session: start, record, stop; it is finished while the next may already run."""

from __future__ import annotations

import logging
import secrets
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from node.core.clocks import SessionClock
from node.core.model import Assignment, Session, iso, new_session_id
from node.core.roster import Live
from node.core.session import Move, State, StateMachine
from node.errors import RequestError, StoreError
from node.service.finishing import Finishing
from node.service.health import MIN_FREE_MB
from node.service.recovery import Recovery

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from node.adapters.store import Store
    from node.core.clocks import ClockState
    from node.core.deadlines import Deadlines
    from node.core.mqtt.messages import StartSession
    from node.core.mqtt.payloads import FinalPayload
    from node.core.roster import Roster
    from node.service.archive import Archive
    from node.service.health import SystemMetrics
    from node.service.inventory import Inventory
    from node.service.items import Flushed, MicsOpened, MicsRefused
    from node.service.listening.listener import Listener

    Result = dict[str, Any] | RequestError
    Answer = Callable[[Result], None]

log = logging.getLogger(__name__)


def nobody(_result: Result) -> None:
    """Ignore the answer: a time limit, the `session/set` switch or a shutdown expects none."""


class Conductor:
    """Owned by the main thread, which calls it for every request and item; it never blocks."""

    def __init__(
        self,
        *,
        deadlines: Deadlines,
        store: Store,
        roster: Roster,
        inventory: Inventory,
        system: SystemMetrics,
        listener: Listener,
        archive: Archive,
        default_language: str,
        node: str,
        clock: Callable[[], ClockState | None],
    ) -> None:
        self._deadlines = deadlines
        self._sessions = store.sessions
        self._utterances = store.utterances
        self._roster = roster
        self._inventory = inventory
        self._system = system
        self._listener = listener
        self._archive = archive
        self.default_language = default_language
        self._node = node
        self._clock = clock
        self._machine = StateMachine()
        self._recovery = Recovery(store.sessions, store.utterances)
        self._finishing = Finishing(
            sessions=store.sessions, utterances=store.utterances, archive=archive
        )
        self._starting: Answer = nobody
        self._wanted: dict[str, Assignment] = {}
        self._zero = 0.0
        self._is_resumed = False
        self._recorded: Session | None = None
        self._is_model_ready = False
        self.message: str | None = None
        self.model_problem: str | None = None

    @property
    def state(self) -> State:
        """The state that `T/session` shows."""
        return self._machine.shown(finishing=bool(self._finishing.ids))

    @property
    def session(self) -> Session | None:
        """The session that `T/session` shows: the recorded one, else the newest being written."""
        return self._recorded or self._finishing.newest

    @property
    def latest(self) -> Session | None:
        """The session being recorded, else the one that began last, written or not."""
        if self._recorded is not None:
            return self._recorded
        both = [each for each in (self._finishing.newest, self._sessions.last_done()) if each]
        return max(both, key=lambda each: each.started_at, default=None)

    def segments_total(self, session: Session) -> int:
        """Return how many segments a session has, queued ones included, withdrawn ones not."""
        return self._sessions.segments_total(session.id)

    @property
    def finishing(self) -> list[str]:
        """Ids of the sessions whose recording is over but which are still being written."""
        return self._finishing.ids

    def active(self, session_id: str) -> Session | None:
        """Return the session with this id if it is being recorded or written."""
        if self._recorded is not None and self._recorded.id == session_id:
            return self._recorded
        return self._finishing.find(session_id)

    def backlog_s(self) -> float:
        """Return the seconds of speech in the session shown that wait for the engine."""
        return self._utterances.backlog_s(self.session.id) if self.session else 0.0

    # Called by requests.

    def start(self, request: StartSession, answer: Answer) -> None:
        """Start a session; answered once all its mics deliver sound, or all are closed again.

        Everything that can be checked is checked first. Then the listener opens the mics and
        replies with `MicsOpened` or `MicsRefused`.

        Raises:
            RequestError: the session cannot start; nothing has been changed.
        """
        self._machine.check_start(self._recorded.id if self._recorded else None)
        if self.model_problem is not None:
            raise RequestError("model_unavailable", self.model_problem)
        wanted = self._roster.check(request.assignments or ())
        chosen = {mic: a for mic, a in wanted.items() if a.speaker} or self._kept(request)
        self._check_mics(chosen)
        self._check_disk()
        self._begin(request, wanted, chosen, answer)

    def _kept(self, request: StartSession) -> dict[str, Assignment]:
        """Return the stored assignments, if the request has none of its own."""
        if request.assignments is None:
            kept = {mic: self._roster.assignment(mic) for mic in self._roster.speakers()}
            if kept:
                return kept
        raise RequestError(
            "no_assignments",
            "no mic has a speaker; name one first, with mics/assign or in `assignments`",
        )

    def _check_mics(self, chosen: Iterable[str]) -> None:
        away = self._away(chosen)
        if away:
            # It may have been plugged in since the last look.
            self._inventory.refresh(self._roster)
            away = self._away(chosen)
        if away:
            raise RequestError("mic_unavailable", f"mic: {', '.join(away)}: not connected")

    def _away(self, chosen: Iterable[str]) -> list[str]:
        """Return the mics known to be absent; only opening shows whether the others are there."""
        return [
            mic
            for mic in chosen
            if not (self._is_connected(mic) or self._inventory.opens_by_name(mic))
        ]

    def _is_connected(self, mic: str) -> bool:
        """A scan removes a mic that is unplugged and nobody's from the roster."""
        return mic in self._roster and self._roster.info(mic).connected

    def _check_disk(self) -> None:
        free = self._system.disk_free_mb()
        if free < MIN_FREE_MB:
            raise RequestError(
                "disk_full", f"{free:.0f} MB are free at storage.path; {MIN_FREE_MB} are needed"
            )

    def _begin(
        self,
        request: StartSession,
        wanted: dict[str, Assignment],
        chosen: dict[str, Assignment],
        answer: Answer,
    ) -> None:
        now = datetime.now(UTC)
        self._zero = time.monotonic()
        self._is_resumed = False
        self._recorded = Session(
            id=new_session_id(now, secrets.token_hex(2)),
            started_at=now.replace(microsecond=now.microsecond // 1000 * 1000),
            title=request.title or None,
            language=request.language,
            speakers={mic: a.speaker or "" for mic, a in chosen.items()},
            max_duration_s=request.max_duration_s,
            node=self._node,
            group=request.group or None,
            clock=SessionClock(self._clock()),
        )
        self._starting, self._wanted = answer, wanted
        self._roster.hold(chosen)
        self.message = None
        self._machine.move(Move.START)
        assignments = {mic: self._resolved(mic, a) for mic, a in chosen.items()}
        self._listener.begin(self._recorded.id, self._zero, assignments)

    def _resolved(self, mic: str, assignment: Assignment) -> Assignment:
        """Return the assignment with what it leaves open filled in: speaker and language."""
        assert self._recorded is not None
        language = assignment.language or self._recorded.language or self.default_language
        return Assignment(
            assignment.speaker or self._roster.speaker(mic),
            None if language == "auto" else language,
            assignment.enabled,
        )

    def stop(self, session_id: str | None, answer: Answer) -> None:
        """Stop recording; answered once the whole session is transcribed and written.

        Raises:
            RequestError: `not_recording`, or `busy`.
        """
        recorded = self._recorded
        wanted = self._machine.session_to_stop(
            recorded.id if recorded else None, self.finishing, session_id
        )
        if recorded is not None and wanted == recorded.id:
            self._end_recording(recorded)
        self._finishing.wait_for(wanted, answer)

    def _end_recording(self, session: Session) -> None:
        counted_s = None if self._is_resumed else time.monotonic() - self._zero
        now = datetime.now(UTC)
        session.clock = session.clock.stopped(self._clock(), session.started_at, now, counted_s)
        self._machine.move(Move.STOP)
        if self.model_problem is not None:
            self._machine.move(Move.MODEL_LOST)
        self._listener.end()
        self._finishing.add(session, flushed=False)
        self._recorded = self.message = None
        self._deadlines.cancel(self._reach_limit)
        try:
            self._sessions.stopping(session)  # after a crash it must not be resumed
        except StoreError as error:  # stored when it ends
            log.warning("the stop of session %s is not stored yet: %s", session.id, error)

    def assign(self, mics: Iterable[str], *, join: bool = True) -> None:
        """Apply changed assignments of these mics to the running session at once.

        Args:
            mics: those whose assignment has changed.
            join: whether a mic that is not part of the session and has a speaker joins it.

        Raises:
            StoreError: the disk refuses to store the names; the listener applies them anyway.
        """
        if self._recorded is None or self._machine.state is not State.RECORDING:
            return
        for mic in mics:
            assignment = self._roster.assignment(mic)
            if mic in self._recorded.speakers or (join and assignment.speaker):
                self._listener.assign(mic, self._resolved(mic, assignment))
                self._recorded.speakers[mic] = self._roster.speaker(mic)
        self._sessions.set_speakers(self._recorded)

    # Called for items.

    def on_model_ready(self) -> None:
        self.model_problem = self.message = None
        self._is_model_ready = True
        if self._machine.state is State.ERROR:
            self._machine.move(Move.MODEL_READY)

    def on_model_unavailable(self, reason: str) -> None:
        self.model_problem = self.message = reason
        if self._machine.state is State.IDLE:
            self._machine.move(Move.MODEL_LOST)

    def on_opened(self, item: MicsOpened) -> None:
        """Every mic delivers: store the session and keep its sound from the start."""
        assert self._recorded is not None
        answer, self._starting = self._starting, nobody
        try:
            # A mic that was only to lose its speaker may have been removed since.
            mics = [(self._roster.info(m), a) for m, a in self._wanted.items() if m in self._roster]
            self._sessions.begin(self._recorded, self._zero, mics)
        except StoreError as error:
            self._listener.end()
            self._abandon_start()
            answer(RequestError("disk_full", str(error)))
            return
        self._roster.assign(self._wanted)
        self._listener.go()
        self._machine.move(Move.OPENED)
        for mic, rate in item.sample_rates.items():
            self._roster.set_connected(mic, connected=True)
            self._roster.set_live(mic, Live(recording=True, sample_rate=rate))
        self._roster.hold(())
        self._set_limit(self._recorded)
        log.info("session %s began with %d mics", self._recorded.id, len(item.sample_rates))
        answer(
            {
                "session_id": self._recorded.id,
                "started_at": iso(self._recorded.started_at),
                "speakers": self._recorded.speakers,
            }
        )

    def _abandon_start(self) -> None:
        self._recorded = None
        self._machine.move(Move.REFUSED)
        self._roster.hold(())

    def on_refused(self, item: MicsRefused) -> None:
        self._abandon_start()
        reasons = "; ".join(f"{mic}: {reason}" for mic, reason in item.reasons.items())
        answer, self._starting = self._starting, nobody
        answer(RequestError("mic_unavailable", reasons))

    def on_flushed(self, item: Flushed) -> None:
        self._finishing.on_flushed(item)
        for mic in self._roster:
            self._roster.set_live(mic, None)

    def settle(self) -> FinalPayload | None:
        """Finish the sessions that have nothing left to wait for; called in every round.

        Returns:
            The transcript of the newest finished session if one has just finished, else None.

        Raises:
            StoreError: something cannot be written; the next call tries again.
        """
        if self._is_model_ready:
            self._take_up()
        return self._archive.last() if self._finishing.settle() else None

    # After a crash.

    def recover(self, *, resume: bool) -> Session | None:
        """Find the unfinished sessions; with `resume`, the last one may go on recording.

        Returns:
            The newest of them, or None.
        """
        self._recovery.look(resume=resume)
        return self._recovery.newest

    def leave_out(self, session_id: str) -> None:
        """Do not finish or resume this session: it is being erased."""
        self._recovery.leave_out(session_id)

    def _take_up(self) -> None:
        """Finish or resume the sessions that the last process left unfinished.

        Raises:
            StoreError: the disk refuses; the next call goes on with the rest.
        """
        while (session := self._recovery.next()) is not None:
            if self._machine.state is State.IDLE and self._recovery.goes_on(session):
                self._go_on(session)
            else:
                self._recovery.close(session)
                self._finishing.add(session, flushed=True)
            self._recovery.leave_out(session.id)

    def _go_on(self, session: Session) -> None:
        """Resume recording; mics that are away join when they are back."""
        self._zero = self._recovery.reopen(session)
        self._is_resumed = True
        self._recorded = session
        self._machine.move(Move.START)
        self._machine.move(Move.OPENED)
        mics = [mic for mic in session.speakers if mic in self._roster]
        assignments = {mic: self._resolved(mic, self._roster.assignment(mic)) for mic in mics}
        self._listener.begin(session.id, self._zero, assignments, patient=True)
        for mic in mics:
            self._roster.set_live(mic, Live(recording=True))
        self._set_limit(session)
        self.message = "recording resumed after an interruption"

    def _set_limit(self, session: Session) -> None:
        if session.max_duration_s is not None:
            self._deadlines.at(self._zero + session.max_duration_s, self._reach_limit)

    def _reach_limit(self, _now: float) -> None:
        log.info("session %s has reached max_duration_s", self._recorded and self._recorded.id)
        self.stop(None, nobody)
