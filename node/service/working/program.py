"""The worker's main thread: takes requests from the broker, has them transcribed, answers.

Three threads: this one owns the connection and all that waits; the engine's thread transcribes
(`engine_room`); paho's thread keeps the connection up (`adapters.broker`).
"""

from __future__ import annotations

import logging
import signal
import time
from collections import deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from node import __version__
from node.adapters.broker import Acknowledged, Broker, Connected, Disconnected, Message, Will
from node.core.model import iso
from node.core.mqtt.topics import SHARE, is_work_response, work_request, worker_status
from node.core.work.fleet import matters, mismatch
from node.core.work.messages import (
    MAX_WORK_BYTES,
    WorkError,
    WorkerStatus,
    decode_request,
    decode_status,
    encode_answer,
    encode_status,
    id_of,
)
from node.errors import EXIT_CONFIG, EXIT_FAILED, NodeError
from node.service.handlers import on
from node.service.items import StopRequested, ThreadDied
from node.service.subscriptions import Subscriptions
from node.service.working.engine_room import Done, NotReady, Ready
from node.service.working.jobs import Job, Signature
from node.service.working.receipts import Receipts
from node.service.working.worker_inbox import Dropped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from node.adapters.broker import BrokerSettings, Trouble
    from node.adapters.systemd import Notifier
    from node.core.work.messages import ErrorCode, WorkAnswer
    from node.service.handlers import Handler
    from node.service.working.engine_room import EngineRoom
    from node.service.working.worker_inbox import WorkerInbox

log = logging.getLogger(__name__)

MAX_JOBS = 32
"""Most requests that a worker holds; more are handed back to their node. There should never be more
than its slots, but mosquitto 2.0.11 sends as many again with each acknowledgement, and so exceeds
Receive Maximum: 31 were held with 4 slots."""

STATUS_EVERY_S, COUNTS_EVERY_S = 5.0, 60.0
"""How soon a change that nodes go by is published, and how soon any other, such as counters: every
node hears every worker."""

LOOK_EVERY_S = 1.0
SEEN_HANGING = 3
"""How often to look at the engine, and looks in a row that must find it overdue: when a suspended
process resumes, it is late for a moment."""

MAX_FAILING = 3
"""After so many failed requests in a row, all different, the engine counts as broken."""

DRAIN_S = 20.0
"""How long an ending worker goes on with the job that its engine has; the rest is handed back."""

MAX_WARNED = 64
"""Reasons to refuse a request that are written to the log, each once; `refused` counts them all."""

GOODBYE_S = 2.0

RTF_MEMORY = 0.9
"""Weight of the past in the real-time factor."""


class WorkerProgram:
    """One running worker. `run` is called once.

    Args:
        inbox: what other threads report to the main thread.
        room: the engine.
        broker: how to connect.
        explain: says what to do about a connection that could not be made.
        base: first level or levels of every topic.
        worker: its id.
        model: the model as configured: a name, or a folder's path.
        status: what it says of itself, as long as nothing has happened.
        notifier: the service manager.
    """

    def __init__(
        self,
        *,
        inbox: WorkerInbox,
        room: EngineRoom,
        broker: BrokerSettings,
        explain: Callable[[Trouble], str],
        base: str,
        worker: str,
        model: str,
        status: WorkerStatus,
        notifier: Notifier,
    ) -> None:
        self._inbox = inbox
        self._room = room
        self._base = base
        self._status_topic = worker_status(base, worker)
        self._filter = f"{SHARE}{work_request(base, model)}"
        self._status, self._said, self._said_at = status, status, 0.0
        self._offline = encode_status(WorkerStatus(state="offline", worker=worker))
        self._broker = Broker(
            broker,
            _will(self._status_topic, status),
            inbox.deliver,
            explain,
            most_unacknowledged=status.slots,
            kept_bytes=MAX_WORK_BYTES + 1,
        )
        self._notifier = notifier
        self._signature: Signature | None = None
        self._is_connected, self._connections = False, 0
        self._receipts = Receipts(self._broker.acknowledge)
        self._subscription = Subscriptions(self._broker.subscribe, [self._filter])
        self._last_refusal: str | None = None
        self._goodbye: int | None = None
        self._waiting: deque[Job] = deque()
        self._current: Job | None = None
        self._unsent: deque[tuple[str, WorkAnswer]] = deque(maxlen=MAX_JOBS)
        self._ending_since: float | None = None
        self._failing: set[str] = set()
        self._warned: set[str] = set()
        self._hanging, self._looked_at = 0, 0.0
        self._last_reason = ""
        self._exit_status: int | None = None
        self._handlers: dict[type, Handler] = dict(self._rows())

    def _rows(self) -> Iterable[tuple[type, Handler]]:
        """Yield the handler of each kind of item."""
        yield on(Message, self._on_message)
        yield on(Dropped, self._on_dropped)
        yield on(Done, self._on_done)
        yield on(Acknowledged, self._on_acknowledged)
        yield on(Connected, self._on_connected)
        yield on(Disconnected, self._on_disconnected)
        yield on(Ready, self._on_ready)
        yield on(NotReady, self._on_not_ready)
        yield on(StopRequested, self._on_stop)
        yield on(ThreadDied, self._on_died)

    def run(self) -> int:
        """Serve until told to stop; return the exit status."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._inbox.put(StopRequested()))
        self._room.start()
        self._notifier.ready()
        self._notifier.status("loading the model")
        while self._exit_status is None:
            item = self._inbox.take(LOOK_EVERY_S)
            if item is not None:
                self._handlers[type(item)](item)
            self._look(time.monotonic())
        if self._is_connected:
            self._say_goodbye()
        if self._signature is not None:
            self._broker.stop()
        return self._exit_status

    def _on_not_ready(self, item: NotReady) -> None:
        log.warning("%s", item.reason)
        self._notifier.status(item.reason)

    def _on_message(self, item: Message) -> None:
        if item.topic == self._status_topic:
            self._on_own_status(item)
        else:
            self._receipts.arrived(item)
            self._on_request(item)

    def _on_dropped(self, item: Dropped) -> None:
        self._receipts.arrived(item.message)
        self._receipts.settle(item.message)

    def _look(self, now: float) -> None:
        """See whether the engine hangs, publish what has changed, and see whether to end."""
        self._notifier.alive()
        if self._ending_since is None:
            self._subscription.look(now)
        if now - self._looked_at >= LOOK_EVERY_S:
            self._looked_at = now
            self._hanging = self._hanging + 1 if self._room.overdue_s > 0 else 0
        if self._hanging >= SEEN_HANGING:
            if self._current is not None:
                self._hand(self._current, "failed", "its engine hangs")
                self._current = None
            self._break_off("the engine hangs")
        self._count_dropped()
        every_s = STATUS_EVERY_S if matters(self._said, self._status) else COUNTS_EVERY_S
        if self._status != self._said and now - self._said_at >= every_s:
            self._say(now)
        if self._ending_since is not None and self._exit_status is None:
            over = now - self._ending_since >= DRAIN_S
            if self._current is None or over:
                self._hand_back()
                self._exit_status = 0

    def _count_dropped(self) -> None:
        dropped = self._inbox.dropped
        if dropped == self._status.dropped:
            return
        if self._status.dropped == 0:
            log.warning(
                "requests arrive faster than this worker can take them; nodes send those that were"
                " dropped again"
            )
        self._status = self._status.model_copy(update={"dropped": dropped})

    # The engine.

    def _on_ready(self, item: Ready) -> None:
        if item.notice:
            log.warning("%s", item.notice)
        self._signature = Signature(self._status.worker, item.model)
        self._status = self._status.model_copy(update={"model": item.model})
        log.info("the model %s is loaded", item.model.name)
        self._notifier.status("waiting for the broker")
        self._broker.start()

    def _on_done(self, item: Done) -> None:
        self._current = None
        if item.heard is not None:
            self._count(item)
            assert self._signature is not None
            self._answer(item.job.message, self._signature.answer(item.job, item.heard))
        self._receipts.settle(item.job.message)
        if len(self._failing) >= MAX_FAILING:
            self._break_off(f"the engine has failed on {MAX_FAILING} requests in a row")
        self._start_next()

    def _count(self, item: Done) -> None:
        assert item.heard is not None
        status, update = self._status, {}
        if item.heard.error is None:
            self._failing.clear()
            rtf = item.heard.engine_s / max(item.job.seconds, 0.1)
            if status.rtf is not None:
                rtf = RTF_MEMORY * status.rtf + (1 - RTF_MEMORY) * rtf
            update = {"answered": status.answered + 1, "rtf": round(rtf, 4)}
        elif item.heard.error.code == "failed":
            self._failing.add(item.job.id)
            update = {"failed": status.failed + 1}
        else:
            update = {"refused": status.refused + 1}
        self._status = status.model_copy(update=update)

    def _start_next(self) -> None:
        if self._current is None and self._waiting and self._ending_since is None:
            self._current = self._waiting.popleft()
            self._room.give(self._current)
        in_flight = len(self._waiting) + (self._current is not None)
        self._status = self._status.model_copy(update={"in_flight": in_flight})

    # The broker.

    def _on_connected(self, item: Connected) -> None:
        log.info("connected to the broker")
        self._is_connected, self._last_reason = True, ""
        self._connections += 1
        if not item.shares:
            log.critical("the broker has no shared subscriptions, by which work is given out")
            self._exit_status = EXIT_FAILED
            return
        # First what the broker keeps there: a younger worker of this name, or its last will.
        self._broker.overhear(self._status_topic)
        if self._ending_since is None:
            self._subscription.begin()
        unsent = list(self._unsent)
        self._unsent.clear()
        for topic, answer in unsent:  # what cannot be sent now is kept again
            self._publish(topic, answer)

    def _on_disconnected(self, item: Disconnected) -> None:
        """Forget what waits: it is sent again, to this worker or to another."""
        self._is_connected = False
        self._waiting.clear()
        self._receipts.clear()
        self._subscription.end()
        self._start_next()
        if item.reason != self._last_reason:
            log.warning("broker: %s", item.reason)
        self._last_reason = item.reason
        if item.taken_over:
            self._give_way()

    def _on_own_status(self, message: Message) -> None:
        """See whether a younger worker has this one's id: they would disconnect each other.

        mosquitto 2.0.11 does not tell the older one. What is there at the first connection may be
        of an earlier run, with a clock that was ahead; what has come since is another worker's.
        """
        try:
            status = decode_status(message.payload)
        except WorkError:
            return
        may_be_own = self._connections == 1 or not message.retained
        if not may_be_own and status.started_at > self._status.started_at:
            self._give_way()

    def _give_way(self) -> None:
        log.critical("another worker has connected with this one's id; set worker.id")
        self._exit_status = EXIT_CONFIG

    def _on_acknowledged(self, item: Acknowledged) -> None:
        if item.mid == self._goodbye:
            self._goodbye = None
        elif self._subscription.acknowledged(item, now := time.monotonic()):
            self._on_subscribed(now)
        elif item.refused:
            log.warning("the broker refuses an answer or a status: %s; see its rules", item.refused)

    def _on_subscribed(self, now: float) -> None:
        """Say that work can come, or that the broker gives none."""
        refusal = self._subscription.refusal
        if refusal is None:
            if self._last_refusal is not None:
                log.info("the broker does not refuse work any more")
            assert self._signature is not None
            self._notifier.status(f"ready with the model {self._signature.model.name}")
            self._say(now)
        else:
            what = f"the broker refuses {self._filter}: {refusal}; see its access rules"
            if refusal != self._last_refusal:
                log.critical("%s; the worker asks again from time to time", what)
            self._notifier.status(what)
            self._broker.publish(self._status_topic, self._offline, retain=True)
        self._last_refusal = refusal

    def _on_request(self, message: Message) -> None:
        topic = message.response_topic or ""
        if message.retained or not is_work_response(self._base, topic):
            # An answer anywhere else could be a command to a node.
            self._refuse(message, "retained, or without a node's response topic")
            return
        try:
            work = decode_request(message.payload)
        except WorkError as error:
            self._refuse(message, str(error), error.code)
            return
        assert self._signature is not None
        problem = mismatch(work.request.model, self._signature.model)
        if problem is not None:
            self._refuse(message, problem, "wrong_model", work.request.id)
        else:
            self._take(Job(work, message, time.monotonic()))

    def _take(self, job: Job) -> None:
        jobs = [*self._waiting, *([self._current] if self._current else [])]
        if any(other.id == job.id for other in jobs):
            self._receipts.settle(job.message)  # sent again; the first one will be answered
        elif self._ending_since is not None:
            self._hand(job, "stopping", "it is being stopped")
        elif len(jobs) >= MAX_JOBS:
            self._hand(job, "busy", "its queue is full")
        else:
            self._waiting.append(job)
            self._start_next()

    def _hand(self, job: Job, code: ErrorCode, reason: str) -> None:
        """Give a job back to its node."""
        assert self._signature is not None
        self._answer(job.message, self._signature.refusal(job.id, code, reason))
        self._receipts.settle(job.message)

    def _refuse(
        self,
        message: Message,
        reason: str,
        code: ErrorCode | None = None,
        request_id: str | None = None,
    ) -> None:
        if reason not in self._warned and len(self._warned) < MAX_WARNED:
            self._warned.add(reason)
            log.warning("a request is refused: %s", reason)
        self._status = self._status.model_copy(update={"refused": self._status.refused + 1})
        request_id = request_id or id_of(message.payload)
        if code is not None and request_id is not None:
            assert self._signature is not None
            self._answer(message, self._signature.refusal(request_id, code, reason))
        self._receipts.settle(message)

    def _answer(self, message: Message, answer: WorkAnswer) -> None:
        assert message.response_topic is not None
        if self._is_connected:
            self._publish(message.response_topic, answer)
        else:
            self._unsent.append((message.response_topic, answer))

    def _publish(self, topic: str, answer: WorkAnswer) -> None:
        payload, correlation = encode_answer(answer), answer.id.encode()
        if self._broker.publish(topic, payload, correlation=correlation) is None:
            self._unsent.append((topic, answer))

    def _say(self, now: float) -> None:
        if self._subscription.are_granted:
            self._broker.publish(self._status_topic, encode_status(self._status), retain=True)
            self._said, self._said_at = self._status, now

    # The end.

    def _break_off(self, why: str) -> None:
        log.critical("%s; ending, so that systemd can restart the worker", why)
        self._hand_back_waiting()
        self._exit_status = EXIT_FAILED

    def _hand_back_waiting(self) -> None:
        while self._waiting:
            self._hand(self._waiting.popleft(), "stopping", "it is being stopped")

    def _on_stop(self, _item: StopRequested) -> None:
        """Take nothing more, finish what the engine has; exit at once if asked again."""
        if self._ending_since is not None:
            self._exit_status = 0
            return
        self._ending_since = time.monotonic()
        self._notifier.stopping()
        if self._is_connected:
            self._broker.unsubscribe(self._filter)
        self._hand_back_waiting()
        self._start_next()

    def _hand_back(self) -> None:
        if self._current is not None:
            self._hand(self._current, "stopping", "it is being stopped")
            self._current = None

    def _on_died(self, item: ThreadDied) -> None:
        bug = None if isinstance(item.error, NodeError) else item.error
        log.critical("the %s thread has ended: %s", item.thread, item.error, exc_info=bug)
        self._exit_status = EXIT_FAILED

    def _say_goodbye(self) -> None:
        """Publish `offline` and wait until the broker has it: a clean disconnect sends no will."""
        self._goodbye = self._broker.publish(self._status_topic, self._offline, retain=True)
        deadline = time.monotonic() + GOODBYE_S
        while self._goodbye is not None and (left := deadline - time.monotonic()) > 0:
            if isinstance(item := self._inbox.take(left), Acknowledged):
                self._on_acknowledged(item)


def _will(topic: str, status: WorkerStatus) -> Will:
    """Return what the broker says of a worker that vanishes, and how old it was."""
    gone = WorkerStatus(state="offline", worker=status.worker, started_at=status.started_at)
    return Will(topic, encode_status(gone))


def first_status(worker: str, compute_type: str, threads: int, slots: int) -> WorkerStatus:
    """Return what a worker says of itself before its model is loaded."""
    return WorkerStatus(
        state="online",
        worker=worker,
        started_at=iso(datetime.now(UTC)),
        version=__version__,
        compute_type=compute_type,
        threads=threads,
        slots=slots,
    )
