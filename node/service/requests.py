"""Requests and shortcuts: the commands that come in over MQTT, and their answers.

Each verb is one row of `VERBS`: the form of its request, and the method that carries it out.
"""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from node.core.model import Assignment, Session
from node.core.mqtt import messages
from node.core.mqtt.messages import (
    AssignMics,
    DeleteSession,
    GetTranscript,
    ListSessions,
    Nothing,
    OneSession,
    Request,
    SaveTranscript,
    SearchSessions,
    StartSession,
)
from node.core.mqtt.topics import EnabledSet, RequestTopic, SessionSwitch, SpeakerSet
from node.core.session import State
from node.errors import RequestError, StoreError
from node.service.conductor import nobody

if TYPE_CHECKING:
    from collections.abc import Callable

    from node.adapters.broker import Message
    from node.adapters.store import Search, Sessions
    from node.core.mqtt import payloads
    from node.core.mqtt.payloads import AnswerError, HealthPayload
    from node.core.mqtt.topics import Command, Topics
    from node.core.roster import Roster
    from node.service.archive import Archive
    from node.service.conductor import Answer, Conductor, Result
    from node.service.mic_scanner import MicScanner
    from node.service.publishing.publisher import Publisher

log = logging.getLogger(__name__)

MAX_WAITING = 64
"""Commands held while a session is starting; more are answered `busy`."""

R = TypeVar("R", bound=Request)


class Verbs:
    """Owned by the main thread. Each method in `VERBS` answers, now or later, or raises.

    Raises:
        RequestError: the request is refused; nothing has been changed.
        StoreError: the disk refuses.
    """

    def __init__(
        self,
        *,
        roster: Roster,
        scanner: MicScanner,
        sessions: Sessions,
        search: Search,
        archive: Archive,
        conductor: Conductor,
        health: Callable[[], HealthPayload],
        erase: Callable[[str], None],
    ) -> None:
        self._roster = roster
        self._scanner = scanner
        self._sessions = sessions
        self._search = search
        self._archive = archive
        self._conductor = conductor
        self._health = health
        self._erase = erase

    def detect_mics(self, _request: Nothing, answer: Answer) -> None:
        self._scanner.look(lambda: answer(self._mics()))

    def assign_mics(self, request: AssignMics, answer: Answer) -> None:
        self._change(self._roster.check(request.assignments))
        answer(self._mics())

    def start_session(self, request: StartSession, answer: Answer) -> None:
        self._conductor.start(request, answer)

    def stop_session(self, request: OneSession, answer: Answer) -> None:
        self._conductor.stop(request.session_id, answer)

    def list_sessions(self, request: ListSessions, answer: Answer) -> None:
        listed, total = self._sessions.page(request.limit, request.offset, request.group or None)
        answer({"sessions": listed, "total": total})

    def search_sessions(self, request: SearchSessions, answer: Answer) -> None:
        matches, total = self._search.find(request.query, request.limit, request.offset)
        answer({"matches": matches, "total": total})

    def delete_session(self, request: DeleteSession, answer: Answer) -> None:
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
        answer({"session_id": session.id})

    def get_transcript(self, request: GetTranscript, answer: Answer) -> None:
        session = self._find(request.session_id)
        answer(self._archive.page(session, request.format, request.offset, request.limit))

    def save_transcript(self, request: SaveTranscript, answer: Answer) -> None:
        session = self._find(request.session_id)
        files = self._archive.save(session, datetime.now(UTC), request.formats)
        answer({"file_path": files.get("txt", next(iter(files.values()))), "files": files})

    def check_health(self, _request: Nothing, answer: Answer) -> None:
        answer(dict(self._health()))

    def set_speaker(self, mic: str, speaker: str) -> None:
        """Name a mic's speaker: the plain-text shortcut for `mics/assign`."""
        assignment = self._roster.assignment(self._known(mic))
        self._change({mic: Assignment(speaker or None, assignment.language, assignment.enabled)})

    def set_enabled(self, mic: str, *, enabled: bool) -> None:
        assignment = self._roster.assignment(self._known(mic))
        wanted = {mic: Assignment(assignment.speaker, assignment.language, enabled)}
        try:
            # First: a mute must not wait for the disk. It brings no mic into a session without it.
            self._take_up(wanted, join=False)
            self._remember(wanted)
        except StoreError as error:
            done = "on" if enabled else "off"
            raise StoreError(f"{mic} is {done}, but may not be after a restart: {error}") from error

    def _known(self, mic: str) -> str:
        if mic not in self._roster:
            raise RequestError("unknown_mic", f"there is no mic {mic}")
        return mic

    def _change(self, wanted: dict[str, Assignment]) -> None:
        self._remember(wanted)
        self._take_up(wanted)

    def _remember(self, wanted: dict[str, Assignment]) -> None:
        self._sessions.remember_mics([(self._roster.info(mic), a) for mic, a in wanted.items()])

    def _take_up(self, wanted: dict[str, Assignment], *, join: bool = True) -> None:
        self._roster.assign(wanted)
        self._conductor.assign(wanted, join=join)

    def _mics(self) -> dict[str, Any]:
        return {"mics": self._roster.payloads()}

    def _find(self, session_id: str | None) -> Session:
        """Return the session asked for; without an id the current or last one."""
        if session_id is None:
            session = self._conductor.latest
            if session is None:
                raise RequestError("no_session", "there is no session yet")
            return session
        found = self._conductor.active(session_id) or self._sessions.get(session_id)
        if found is None:
            raise RequestError("unknown_session", f"session_id: there is no session {session_id}")
        return found


@dataclass(frozen=True, slots=True)
class Verb(Generic[R]):
    """The form of a request, and the method of `Verbs` that carries it out."""

    form: type[R]
    carry_out: Callable[[Verbs, R, Answer], None]


VERBS: dict[str, Verb[Any]] = {
    "mics/detect": Verb(Nothing, Verbs.detect_mics),
    "mics/assign": Verb(AssignMics, Verbs.assign_mics),
    "session/start": Verb(StartSession, Verbs.start_session),
    "session/stop": Verb(OneSession, Verbs.stop_session),
    "session/list": Verb(ListSessions, Verbs.list_sessions),
    "session/search": Verb(SearchSessions, Verbs.search_sessions),
    "session/delete": Verb(DeleteSession, Verbs.delete_session),
    "transcript/get": Verb(GetTranscript, Verbs.get_transcript),
    "transcript/save": Verb(SaveTranscript, Verbs.save_transcript),
    "health/check": Verb(Nothing, Verbs.check_health),
}
"""Every verb of the interface."""


def find(verb: str) -> Verb[Any]:
    """Return the row of a verb.

    Raises:
        RequestError: `unknown_verb`, naming those that exist.
    """
    if verb not in VERBS:
        raise RequestError("unknown_verb", f"no such verb; the verbs are {', '.join(VERBS)}")
    return VERBS[verb]


class Requests:
    """Carries out commands one at a time, in order of arrival; owned by the main thread."""

    def __init__(
        self,
        *,
        topics: Topics,
        verbs: Verbs,
        conductor: Conductor,
        publisher: Publisher,
        refused: Callable[[str], None],
    ) -> None:
        self._topics = topics
        self._verbs = verbs
        self._conductor = conductor
        self._publisher = publisher
        self._refused = refused
        self._waiting: deque[Message] = deque()

    def take(self, message: Message) -> None:
        """Carry a command out, or hold it while a session is starting."""
        command = self._topics.parse(message.topic)
        if message.retained:
            log.warning("%s: ignored, because a retained message is not a command", message.topic)
        elif command is None:
            self._publisher.event("command_rejected", "a message on an unknown command topic")
        elif self._conductor.state is not State.STARTING:
            self._carry_out(command, message)
        elif len(self._waiting) < MAX_WAITING:
            self._waiting.append(message)
        else:
            self._reject(command, message, RequestError("busy", "a session is starting"))

    def resume(self) -> None:
        """Carry out the held commands, once the session has started or been refused."""
        while self._waiting and self._conductor.state is not State.STARTING:
            self.take(self._waiting.popleft())

    def _carry_out(self, command: Command, message: Message) -> None:
        try:
            match command:
                case RequestTopic(verb):
                    self._request(verb, message)
                case SessionSwitch():
                    self._switch(on=messages.parse_switch(message.payload))
                case SpeakerSet(mic):
                    self._verbs.set_speaker(mic, messages.parse_name(message.payload))
                case EnabledSet(mic):
                    self._verbs.set_enabled(mic, enabled=messages.parse_switch(message.payload))
        except RequestError as error:
            self._reject(command, message, error)
        except StoreError as error:
            log.error("%s: %s", message.topic, error)  # noqa: TRY400  # no bug, the disk's fault
            self._reject(command, message, RequestError("internal", str(error)))

    def _request(self, verb: str, message: Message) -> None:
        body = messages.decode(message.payload)
        transaction = messages.transaction_of(body)

        def answer(result: Result) -> None:
            self._answer(verb, transaction, result, message)

        try:
            row = find(verb)
            row.carry_out(self._verbs, messages.parse(row.form, body), answer)
        except RequestError as error:
            answer(error)
        except StoreError as error:
            log.error("%s: %s", message.topic, error)  # noqa: TRY400  # no bug, the disk's fault
            answer(RequestError("internal", str(error)))

    def _switch(self, *, on: bool) -> None:
        recording = self._conductor.state is State.RECORDING
        if on and not recording:
            try:
                self._conductor.start(messages.StartSession(), self._switched_on)
            except RequestError as error:
                self._switched_on(error)
        elif not on and recording:
            self._conductor.stop(None, nobody)

    def _switched_on(self, result: Result) -> None:
        """Show a refusal next to the switch: whoever uses a switch does not read answers."""
        if isinstance(result, RequestError):
            self._refused(str(result))
            self._publisher.event("command_rejected", f"session/set: {result}")

    def _reject(self, command: Command, message: Message, error: RequestError) -> None:
        if isinstance(command, RequestTopic):
            transaction = messages.transaction_in(message.payload)
            self._answer(command.verb, transaction, error, message)
            return
        place = message.topic.removeprefix(f"{self._topics.root}/")
        mic = command.mic if isinstance(command, SpeakerSet | EnabledSet) else None
        self._publisher.event("command_rejected", f"{place}: {error}", mic)

    def _answer(
        self, verb: str, transaction: str | float | None, result: Result, message: Message
    ) -> None:
        body = _answer_body(transaction, result)
        if not self._publisher.fits(body):
            error = RequestError(
                "too_large", "the answer is too large for the broker; ask for less with `limit`"
            )
            body = _answer_body(transaction, error)
        topic, own = self._topics.response(verb), message.response_topic
        if own == topic:
            self._publisher.say(topic, body, correlation=message.correlation)
            return
        self._publisher.say(topic, body)
        if own is not None and self._topics.may_answer_on(own):
            self._publisher.say(own, body, correlation=message.correlation)


def _answer_body(transaction: str | float | None, result: Result) -> payloads.Answer:
    body: payloads.Answer = {"status": "ok"}
    if transaction is not None:
        body["transaction"] = transaction
    if isinstance(result, RequestError):
        error: AnswerError = {"code": result.code, "message": str(result)}
        body["status"] = "error"
        body["error"] = {**error, **result.details}  # type: ignore[typeddict-item]  # documented
    else:
        body["data"] = result
    return body
