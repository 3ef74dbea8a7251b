"""Publishes retained states, answers and events, and the outbox, in one window."""

from __future__ import annotations

import json
import logging
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from node.adapters.broker import Disconnected
from node.core.model import iso
from node.core.mqtt.topics import OFFLINE, ONLINE
from node.service.publishing.duplicate_node import DuplicateNode
from node.service.publishing.link import FORBIDDEN, Link
from node.service.publishing.outbox_sender import OutboxSender

if TYPE_CHECKING:
    from collections.abc import Iterable

    from node.adapters.broker import Acknowledged, Broker, Connected, Message
    from node.adapters.store import Outbox
    from node.core.mqtt.payloads import EventPayload
    from node.core.mqtt.topics import Topics
    from node.service.publishing.suspicion import Sent

log = logging.getLogger(__name__)

MAX_DEFERRED_BYTES = 4 * 1024 * 1024
"""Total size of the answers and events waiting to be sent; beyond it the oldest are dropped and
counted."""

MAX_TOLD = 256
"""Topics of which it is remembered what has been said of them; the oldest is forgotten."""

DEAF = "the node does not receive what is sent there; see the broker's access rules"
DISCONNECTING = (
    "the broker disconnects whenever the node subscribes to it, so it is left out; " + DEAF
)
LOCKED_OUT = (
    "the broker accepts this node, but every connection ends almost at once: it may not allow this"
    " node most of %s/# (see its access rules and its log), or the network is bad"
)


@dataclass(frozen=True, slots=True)
class _Subscription:
    topic_filter: str


@dataclass(frozen=True, slots=True)
class _State:
    topic: str


@dataclass(frozen=True, slots=True)
class _Passing:
    """A message that is not retained, such as an answer or an event."""

    topic: str
    payload: bytes
    correlation: bytes | None = None


class Publisher:
    """Owned by the main thread.

    A state that changes several times before it can be sent is sent once, with its last value.
    """

    def __init__(self, broker: Broker, topics: Topics, outbox: Outbox) -> None:
        self._broker = broker
        self._topics = topics
        self._link = Link(broker)
        self._sender = OutboxSender(self._link, outbox, self._set_aside)
        self._duplicate = DuplicateNode()
        self._filters = [*topics.subscriptions, topics.info]
        self._states: dict[str, tuple[bytes, int | None]] = {topics.status: (ONLINE.encode(), None)}
        self._due: dict[Any, None] = {}
        self._greeting = 0
        self._is_sending = False
        self._sending: dict[int, tuple[Any, bytes]] = {}
        self._deferred: deque[_Passing] = deque()
        self._deferred_bytes = 0
        self._dropped = 0
        self._turns = deque((self._send_passing, self._sender.send_next, self._send_due))
        self._told: dict[str, str] = {}
        self._last_reason = ""
        self.connections = 0
        self.away: str | None = "not connected yet"
        """Why there is no broker; None where there is one."""

    @property
    def connected(self) -> bool:
        return self._link.connected

    def listen(self, topic_filter: str) -> None:
        """Subscribe to another topic filter, from the next connection on."""
        self._filters.append(topic_filter)

    def on_connected(self, item: Connected) -> None:
        """Queue all subscriptions and states, to be sent before the outbox goes on."""
        log.info("connected to the broker")
        self.away = None
        self.connections += 1
        self._link.on_connected(item)
        self._sender.on_connected()
        self._due = dict.fromkeys(self._link.arranged(self._greetings()))
        self._greeting = len(self._due)
        self._send()

    def _greetings(self) -> Iterable[_Subscription | _State]:
        """Yield every subscription, then every state in the order a new subscriber needs them."""
        for topic_filter in self._filters:
            if not self._link.bars(topic_filter):
                yield _Subscription(topic_filter)
        first = (self._topics.status, self._topics.info)
        announced = [t for t in self._states if not t.startswith(f"{self._topics.root}/")]
        for topic in dict.fromkeys((*first, *announced, *self._states)):
            if self._link.problem(topic, 0) is None:
                yield _State(topic)

    def on_disconnected(self, item: Disconnected) -> None:
        """Hold everything back until the broker is there again."""
        self.away = item.reason
        if self.connected or item.reason != self._last_reason:
            log.warning("broker: %s; everything unsent waits on the disk", item.reason)
        self._last_reason = item.reason
        cause = self._link.on_disconnected()
        self._sender.on_disconnected()
        for sent, _ in reversed(self._sending.values()):
            if isinstance(sent, _Passing):
                self._deferred.appendleft(sent)
        self._sending.clear()
        self._due.clear()
        if cause is not None:
            self._on_cause(cause)
        elif self._link.is_locked_out:
            log.warning(LOCKED_OUT, self._topics.root)

    def _on_cause(self, cause: Sent) -> None:
        if cause.is_subscription:
            self._say_deaf(cause.topic, DISCONNECTING)
        elif self._link.problem(cause.topic, 0) is not None:
            self._refused(cause.topic, FORBIDDEN)

    def on_acknowledged(self, item: Acknowledged) -> None:
        """The broker has answered: there is room for something else."""
        answered = self._link.on_acknowledged(item)
        if not self._sender.on_acknowledged(item):
            self._on_own_answered(item)
        if answered is not None and answered.size != 0 and not item.refused:
            self._told.pop(answered.topic, None)
        self._send()

    def _on_own_answered(self, item: Acknowledged) -> None:
        if item.mid not in self._sending:
            return
        sent, payload = self._sending.pop(item.mid)
        match sent:
            case _Subscription(topic_filter):
                if item.refused:
                    problem = f"the broker refuses the subscription: {item.refused}; {DEAF}"
                    self._say_deaf(topic_filter, problem)
            case _State(topic):
                self._on_state_answered(topic, payload, item)
            case _Passing():
                self._on_passing_answered(sent, item)

    def _on_state_answered(self, topic: str, payload: bytes, item: Acknowledged) -> None:
        if item.try_later:
            self._due[_State(topic)] = None
        elif item.refused:
            self._refused(topic, _by_rule(item.refused))
        elif not payload and self.is_clearing(topic):
            del self._states[topic]

    def _on_passing_answered(self, message: _Passing, item: Acknowledged) -> None:
        if item.try_later:
            self._deferred.appendleft(message)
            return
        self._deferred_bytes -= len(message.payload)
        if item.refused:
            self._refused_passing(message.topic, _by_rule(item.refused))

    def shows_younger_duplicate(self, message: Message) -> bool:
        """Return whether the `T/info` the broker keeps is from a younger node with the same id."""
        own, _ = self._states.get(self._topics.info, (b"", None))
        return message.retained and self._duplicate.is_younger(message.payload, own)

    def state(self, topic: str, payload: Any, *, expiry_s: int | None = None) -> None:
        """Publish a retained state if it has changed, and again after every reconnect."""
        self._set(topic, (_encode(payload), expiry_s))

    def clear(self, topic: str) -> None:
        """Clear a retained state, also one from an earlier process; retried until acknowledged."""
        self._set(topic, (b"", None))

    def _set(self, topic: str, state: tuple[bytes, int | None]) -> None:
        if self._states.get(topic) == state:
            return
        self._states[topic] = state
        if self.connected:
            self._due[_State(topic)] = None
            self._send()

    def is_clearing(self, topic: str) -> bool:
        """Return whether a state is being cleared and the broker has not confirmed it yet."""
        return self._states.get(topic) == (b"", None)

    def resend(self, first: Iterable[str]) -> None:
        """Publish every state again, the topics in `first` before all others."""
        if self.connected:
            self._due |= {_State(topic): None for topic in (*first, *self._states)}
            self._send()

    def say(self, topic: str, payload: Any, *, correlation: bytes | None = None) -> None:
        """Publish a message that is not retained: at once, or when the broker is back."""
        message = _Passing(topic, _encode(payload), correlation)
        self._deferred.append(message)
        self._deferred_bytes += len(message.payload)
        self._send()
        # The newest stays: what is under way alone may be too much, and the event that tells what
        # was dropped must not be dropped itself, without end.
        while len(self._deferred) > 1 and self._deferred_bytes > MAX_DEFERRED_BYTES:
            self._deferred_bytes -= len(self._deferred.popleft().payload)
            self._dropped += 1

    def fleeting(self, topic: str, payload: Any) -> None:
        """Publish with QoS 0 if that is possible now; otherwise drop the message."""
        self._link.publish_fleeting(topic, _encode(payload))

    def event(
        self, event_type: str, message: str, mic: str | None = None, *, good: bool = False
    ) -> None:
        """Publish an event on `T/event` and log it, as a warning unless it is `good` news."""
        log.log(logging.INFO if good else logging.WARNING, "%s: %s", event_type, message)
        event: EventPayload = {
            "event_type": event_type,
            "message": message,
            "time": iso(datetime.now(UTC)),
        }
        if mic is not None:
            event["mic"] = mic
        self.say(self._topics.event, event)

    def fits(self, payload: Any) -> bool:
        """Return whether the broker accepts a message of this size."""
        return self._link.fits(len(_encode(payload)))

    def pump(self) -> None:
        """Delete what is acknowledged from the disk, and send what the window allows."""
        if self._link.is_dead:
            self._broker.renew()
            self.on_disconnected(Disconnected("it does not acknowledge messages any more"))
        self._sender.strike_off()
        self._send()

    def drained(self) -> bool:
        """Return whether the broker has everything from the outbox."""
        return self._sender.drained()

    def say_goodbye(self) -> None:
        """Send `offline` as the last message: a connection closed cleanly sends no will."""
        self._states = {self._topics.status: (OFFLINE.encode(), None)}
        self._due = {_State(self._topics.status): None}
        self._greeting = 0
        self._turns = deque((self._send_due,))
        self._send()

    @property
    def has_said_goodbye(self) -> bool:
        """Whether the broker has received `offline`."""
        waiting = [sent for sent, payload in self._sending.values() if payload == OFFLINE.encode()]
        return not self._due and not waiting

    def _send(self) -> None:
        """Send what the window allows: all states after a connect, then each kind in turn."""
        if self._is_sending:  # a message queued meanwhile is sent by the loop that is running
            return
        self._is_sending = True
        try:
            while self._link.has_room and self._send_one():
                pass
        finally:
            self._is_sending = False

    def _send_one(self) -> bool:
        """Send one message, or find that it must not be sent; return False if nothing is left."""
        if self._greeting:
            self._greeting -= 1
            self._send_due()
            return True
        for _ in range(len(self._turns)):
            self._turns.rotate(-1)
            if self._turns[-1]():
                return True
        self._link.settle()
        return self._say_what_was_dropped()

    def _send_due(self) -> bool:
        if not self._due:
            return False
        key = next(iter(self._due))
        del self._due[key]
        payload = b""
        if isinstance(key, _Subscription):
            mid = self._link.subscribe(key, key.topic_filter)
        else:
            payload, mid = self._send_state(key)
        if mid is not None:
            self._sending[mid] = key, payload
        return True

    def _send_state(self, key: _State) -> tuple[bytes, int | None]:
        topic = key.topic
        if topic not in self._states:  # cleared meanwhile
            return b"", None
        payload, expiry_s = self._states[topic]
        if (problem := self._link.problem(topic, len(payload))) is not None:
            self._refused(topic, problem, "the state cannot be published: ")
            payload = b""  # otherwise the broker would keep showing an older state
            if self._link.problem(topic, 0) is not None:
                return b"", None
        return payload, self._link.publish(key, topic, payload, retain=True, expiry_s=expiry_s)

    def _send_passing(self) -> bool:
        if not self._deferred:
            return False
        message = self._deferred.popleft()
        problem = self._link.problem(message.topic, len(message.payload))
        if problem is not None:
            self._deferred_bytes -= len(message.payload)
            self._refused_passing(message.topic, problem)
            return True
        mid = self._link.publish(
            message, message.topic, message.payload, correlation=message.correlation
        )
        if mid is None:
            self._deferred.appendleft(message)
            return False
        self._sending[mid] = message, message.payload
        return True

    def _say_what_was_dropped(self) -> bool:
        if not self._dropped:
            return False
        kept_mb = MAX_DEFERRED_BYTES // 2**20
        message = (
            f"{self._dropped} answers and events were dropped: more than {kept_mb} MB of them were"
            " waiting for the broker; ask again for what you miss"
        )
        self._dropped = 0
        self.event("messages_dropped", message)
        return True

    def _set_aside(self, topic: str, problem: str) -> None:
        self._refused(topic, problem, "a message is set aside: ")

    def _refused(self, topic: str, problem: str, what: str = "") -> None:
        if self._is_news(topic, problem):
            self.event("message_refused", f"{topic}: {what}{problem}")

    def _refused_passing(self, topic: str, problem: str) -> None:
        """Requesters choose where they are answered: one of these topics stands for all of them."""
        own = topic.startswith(f"{self._topics.root}/")
        if self._is_news(topic if own else "", problem):
            self.event("message_refused", f"{topic}: {problem}")

    def _say_deaf(self, topic_filter: str, problem: str) -> None:
        if self._is_news(topic_filter, problem):
            self.event("subscription_refused", f"{topic_filter}: {problem}")

    def _is_news(self, topic: str, problem: str) -> bool:
        """Return whether this is new; it is again once the broker has accepted something there."""
        is_news = self._told.pop(topic, None) != problem
        self._told[topic] = problem
        if len(self._told) > MAX_TOLD:
            del self._told[next(iter(self._told))]
        return is_news


def _by_rule(reason: str) -> str:
    return f"the broker refuses it: {reason}; see its access rules"


def _encode(payload: Any) -> bytes:
    return json.dumps(payload, ensure_ascii=False).encode()
