"""What is at the workers, and what comes back: sent, waited for, sent again.

An utterance stays in the store until its text is there. Nothing here outlives the process.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from node.adapters.broker import Connected, Disconnected, Message
from node.core.work.fleet import Fleet, mismatch
from node.core.work.messages import LEAST_PACKET, ModelId, WorkError, decode_answer, heard_in, plain
from node.core.work.patience import Patience
from node.service.transcribing.sent_utterance import Cutter, SentUtterance

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from node.adapters.store import Utterance
    from node.adapters.whisper import Clip, EngineSettings
    from node.core.model import Transcription
    from node.core.work.messages import WorkAnswer
    from node.service.transcribing.sent_utterance import Part
    from node.service.transcribing.work_link import WorkLink

log = logging.getLogger(__name__)

MAX_AWAY = 16
"""Utterances at the workers at once; more would only wait there instead of here."""

MAX_MISSED = 8
"""Deadlines that may pass for one utterance while others are answered: then the utterance itself
may be crashing the workers. If one of three workers is frozen, the chance that it gets the same
utterance eight times in a row is 1 in 6,561."""

SILENT = 4
"""Deadlines that pass in a row, without a single answer, before that is said."""

MAX_FAILED = 3
"""Different workers that may fail on one utterance."""

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 30.0
"""Wait before sending to another worker what one could not take; it doubles."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A text has come back; `engine_s` is how long the engine took for `seconds` of sound."""

    utterance: Utterance
    clip: Clip
    text: Transcription
    seconds: float
    engine_s: float


@dataclass(frozen=True, slots=True)
class Failed:
    """No worker can transcribe an utterance."""

    utterance: Utterance
    reason: str


@dataclass(frozen=True, slots=True)
class Returned:
    """The utterance waits here again: nobody has answered in time, or it has to be cut anew."""

    utterance: Utterance


Outcome = Heard | Failed | Returned


class Away:
    """Owned by the transcriber thread.

    Args:
        link: the connection to the broker.
        settings: how to transcribe; its threads and folders do not matter.
        name: that of the model.
        identify: returns the model that workers must have; it may take a while.
        returns: whether an utterance that is not answered in time comes back instead of being
            sent again.
    """

    def __init__(
        self,
        link: WorkLink,
        settings: EngineSettings,
        name: str,
        identify: Callable[[], ModelId],
        *,
        returns: bool,
    ) -> None:
        self._link = link
        self._settings = settings
        self._identify = identify
        self._returns = returns
        self._know(ModelId(name=name))
        self._patience = Patience()
        self._sent: dict[str, SentUtterance] = {}
        self._parts: dict[str, tuple[SentUtterance, Part]] = {}
        self._outcomes: list[Outcome] = []
        self._answers = self._expired_in_a_row = 0
        self._absent_since: float | None = None
        self._warned: set[str] = set()

    @property
    def wake(self) -> threading.Event:
        """Set whenever there is something for `go_on`."""
        return self._link.wake

    def start(self) -> None:
        self._know(self._identify())
        self._absent_since = time.monotonic()
        self._link.start()

    def _know(self, model: ModelId) -> None:
        self._model = model
        self._cutter = Cutter(self._settings, model)
        self._fleet = Fleet(model)

    def stop(self) -> None:
        self._link.stop()

    def alive(self) -> bool:
        """Whether its network thread runs, or has yet to start; for any thread."""
        return self._link.alive()

    @property
    def problem(self) -> str | None:
        """Why nothing can be sent; None if workers are there."""
        if not self._link.is_ready:
            return self._link.problem or "the broker is away"
        if self._link.most < LEAST_PACKET:
            return (
                f"the broker takes packets of {self._link.most} bytes at most; sharing work out"
                f" needs {LEAST_PACKET}"
            )
        if not self._fleet.useful:
            return f"no worker with the model {self._model.name} is online"
        return None

    @property
    def silence(self) -> str | None:
        """What to say if workers are online and yet nothing comes back; None if it does."""
        if self._expired_in_a_row < SILENT:
            return None
        return (
            "workers are online, but the last requests were not answered in time: they may be"
            f" overloaded, or the broker may not let this node read {self._link.response_topic}"
        )

    @property
    def workers(self) -> int:
        """How many workers with this model are online."""
        return len(self._fleet.useful)

    @property
    def ids(self) -> set[str]:
        """Ids of the utterances that are away."""
        return set(self._sent)

    @property
    def room(self) -> int:
        """How many more utterances may be sent."""
        if self.problem is not None or not self._link.has_room:
            return 0
        return max(0, min(MAX_AWAY, self._fleet.slots) - len(self._sent))

    def news(self) -> list[str]:
        """Return what is wrong with single workers, each once."""
        return self._fleet.news()

    def dropped(self) -> int:
        """Return how many messages came when too many waited already, since the last call."""
        return self._link.dropped()

    def absent_s(self, now: float) -> float:
        """Return for how long nothing could be sent; 0 if workers are there."""
        if self.problem is None:
            if self._absent_since is not None:
                self._expired_in_a_row = 0
            self._absent_since = None
            return 0.0
        if self._absent_since is None:
            self._absent_since = now
        return now - self._absent_since

    def send(
        self,
        utterance: Utterance,
        clip: Clip,
        beam_size: int | None,
        now: float,
        *,
        again: bool = False,
    ) -> Failed | None:
        """Send an utterance to the workers; return why that cannot be, if it cannot.

        With `again` it is another clip of one that was answered: it goes once, and then returns.
        """
        key = f"{utterance.id}/again" if again else utterance.id
        try:
            parts = self._cutter.parts(key, clip, beam_size, self._link.most)
        except WorkError as error:
            return Failed(utterance, str(error))
        if parts is None:
            reason = f"it does not fit into packets of {self._link.most} bytes"
            return Failed(utterance, reason)
        sent = SentUtterance(utterance, clip, self._returns or again, parts)
        self._sent[utterance.id] = sent
        self._parts.update({part.request.id: (sent, part) for part in parts})
        for part in parts:
            self._send(sent, part, now)
        return None

    def cancel(self, key: str) -> None:
        """Forget an utterance: what comes back of it is dropped."""
        sent = self._sent.pop(key, None)
        for part in sent.parts if sent else ():
            self._parts.pop(part.request.id, None)

    def cancel_all(self) -> None:
        """Forget all that is away."""
        self._sent.clear()
        self._parts.clear()

    def go_on(self, now: float) -> list[Outcome]:
        """Take in what has arrived, send what has to be sent again; return what came of it."""
        while (item := self._link.take()) is not None:
            if isinstance(item, Message):
                self._on_message(item, now)
            elif isinstance(item, Connected | Disconnected):
                self._on_connection()
        while (key := self._link.unheard()) is not None:
            if key in self._parts:
                self._unheard(*self._parts[key], now)
        for sent, part in list(self._parts.values()):
            self._look(sent, part, now)
        outcomes, self._outcomes = self._outcomes, []
        return outcomes

    def next_s(self, now: float) -> float | None:
        """Return the seconds until something must be sent again; None if nothing is away."""
        waiting = [part for _, part in self._parts.values() if part.heard is None]
        times = [part.not_before if part.sent_at is None else part.due for part in waiting]
        return max(0.05, min(times) - now) if times else None

    # What arrives.

    def _on_connection(self) -> None:
        """All that was under way may be lost: it has to be sent again."""
        self._fleet.clear()
        self._expired_in_a_row = 0
        for _, part in self._parts.values():
            part.sent_at = None

    def _on_message(self, message: Message, now: float) -> None:
        if not self._link.is_answer(message):
            self._fleet.saw(self._link.worker_of(message), message.payload)
            return
        try:
            answer = decode_answer(message.payload)
        except WorkError as error:
            self._warn(f"the answer of a worker cannot be read: {error}")
            return
        if message.correlation not in {None, answer.id.encode()} or answer.id not in self._parts:
            log.debug("an answer that nobody waits for any more: %s", answer.id)
            return
        self._on_answer(answer, *self._parts[answer.id], now)

    def _on_answer(self, answer: WorkAnswer, sent: SentUtterance, part: Part, now: float) -> None:
        if part.heard is not None:
            return
        if answer.error is not None:
            self._on_error(answer, sent, part, now)
        elif (problem := mismatch(self._model, answer.model)) is not None:
            self._warn(f"an answer of the worker {answer.worker} is not used: {problem}")
            self._refused(part, now)
        elif answer.result is not None:
            self._answers += 1
            self._expired_in_a_row = 0
            sent_at = part.sent_at if part.sends == 1 else None
            took_s = None if sent_at is None else now - sent_at
            assert part.first_sent is not None
            part.engine_s = min(answer.engine_s, now - part.first_sent)  # whatever it claims
            self._patience.answered(part.seconds, took_s, part.engine_s)
            part.heard = heard_in(answer.result)
            if sent.is_done:
                self._finish(sent)

    def _finish(self, sent: SentUtterance) -> None:
        self.cancel(sent.utterance.id)
        seconds = sent.utterance.duration_s
        engine_s = sum(part.engine_s for part in sent.parts)
        heard = sent.heard()
        self._outcomes.append(Heard(sent.utterance, sent.clip, heard, seconds, engine_s))

    def _on_error(self, answer: WorkAnswer, sent: SentUtterance, part: Part, now: float) -> None:
        assert answer.error is not None
        code = answer.error.code
        reason = f"the worker {answer.worker}: {plain(answer.error.message)}"
        if code in {"bad_request", "failed"}:
            sent.failed_at.add(answer.worker)
            sent.missed += self._answers > part.answers_seen
        if code not in {"busy", "stopping"}:
            self._warn(reason)
        if len(sent.failed_at) >= MAX_FAILED or (sent.failed_at and sent.returns):
            self._fail(sent, reason)
        elif sent.missed >= MAX_MISSED:
            self._fail_for_good(sent)
        else:
            self._refused(part, now)

    def _refused(self, part: Part, now: float) -> None:
        """Send it to another worker, soon."""
        pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(part.refusals, 10))
        part.refusals += 1
        part.sent_at, part.not_before = None, now + pause_s

    def _fail(self, sent: SentUtterance, reason: str) -> None:
        self.cancel(sent.utterance.id)
        self._outcomes.append(Failed(sent.utterance, reason))

    # What does not arrive.

    def _look(self, sent: SentUtterance, part: Part, now: float) -> None:
        if sent.utterance.id not in self._sent or part.heard is not None:
            return
        if part.sent_at is None:
            if part.not_before <= now:
                self._send(sent, part, now)
        elif part.due <= now:
            self._patience.expired(part.sent_at, now)
            self._expired(sent, part, now)

    def _expired(self, sent: SentUtterance, part: Part, now: float) -> None:
        self._expired_in_a_row += 1
        sent.missed += self._answers > part.answers_seen
        log.info("no worker has answered %s in time", sent.utterance.id)
        if sent.returns:
            self._return(sent)
        elif sent.missed >= MAX_MISSED:
            self._fail_for_good(sent)
        else:
            part.sent_at = None
            self._send(sent, part, now)

    def _fail_for_good(self, sent: SentUtterance) -> None:
        reason = f"no worker answered it in {MAX_MISSED} attempts, while others were answered"
        self._fail(sent, reason)

    def _unheard(self, sent: SentUtterance, part: Part, now: float) -> None:
        """The broker has nobody to send a request to, whatever the workers' statuses say."""
        if sent.returns:
            self._return(sent)
        elif part.heard is None:
            self._refused(part, now)

    def _return(self, sent: SentUtterance) -> None:
        self.cancel(sent.utterance.id)
        self._outcomes.append(Returned(sent.utterance))

    def _send(self, sent: SentUtterance, part: Part, now: float) -> None:
        """Send a request, if that is possible now; otherwise `go_on` tries again."""
        if self.problem is not None or not self._link.has_room:
            part.not_before = now + FIRST_PAUSE_S
            return
        deadline_s = self._patience.deadline_s(part.seconds, self._fleet.rtf)
        payload = part.payload(deadline_s)
        if len(payload) > self._link.most:  # the broker takes less than when it was cut
            self._return(sent)
            return
        if self._link.publish(part.request.id, payload, deadline_s):
            part.sent_at, part.due = now, now + deadline_s
            part.first_sent = now if part.first_sent is None else part.first_sent
            part.answers_seen = self._answers
            part.sends += 1

    def _warn(self, text: str) -> None:
        text = plain(text)
        if text not in self._warned and len(self._warned) < 64:
            self._warned.add(text)
            log.warning("%s", text)
