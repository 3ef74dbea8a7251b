"""Requests and shortcuts: what comes in on the command topics, and what is answered."""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Any

from node.core.mqtt import messages
from node.core.mqtt.topics import EnabledSet, RequestTopic, SessionSwitch, SpeakerSet
from node.core.session import State
from node.errors import RequestError, StoreError
from node.service.conductor import nobody

if TYPE_CHECKING:
    from collections.abc import Callable

    from node.adapters.broker import Message
    from node.core.mqtt.payloads import Answer, AnswerError
    from node.core.mqtt.topics import Command, Topics
    from node.service.conductor import Conductor
    from node.service.publishing.publisher import Publisher
    from node.service.verbs import Verbs

log = logging.getLogger(__name__)

MAX_WAITING = 64
"""Commands held while a session starts; more are answered `busy`."""

Result = dict[str, Any] | RequestError


class Requests:
    """Takes commands one at a time, in order of arrival. Owned by the main thread."""

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
            log.warning("%s: a retained message is no command, ignored", message.topic)
        elif command is None:
            self._publisher.event("command_rejected", "a message on an unknown command topic")
        elif self._conductor.state is not State.STARTING:
            self._carry_out(command, message)
        elif len(self._waiting) < MAX_WAITING:
            self._waiting.append(message)
        else:
            self._reject(command, message, RequestError("busy", "a session is starting"))

    def resume(self) -> None:
        """Go on with what was held, once the session has started or been refused."""
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
            self._verbs.carry_out(verb, messages.parse(verb, body), answer)
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
        """Who turns a switch reads no answers: a refusal is shown where the switch is."""
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
                "too_large", "the broker does not take so large an answer; ask for less by `limit`"
            )
            body = _answer_body(transaction, error)
        topic = self._topics.response(verb)
        self._publisher.say(topic, body)
        own = message.response_topic
        if own is not None and own != topic and self._topics.may_answer_on(own):
            self._publisher.say(own, body, correlation=message.correlation)


def _answer_body(transaction: str | float | None, result: Result) -> Answer:
    body: Answer = {"status": "ok"}
    if transaction is not None:
        body["transaction"] = transaction
    if isinstance(result, RequestError):
        error: AnswerError = {"code": result.code, "message": str(result)}
        body["status"] = "error"
        body["error"] = {**error, **result.details}  # type: ignore[typeddict-item]  # documented
    else:
        body["data"] = result
    return body
