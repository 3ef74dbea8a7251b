"""What the node says: retained states, answers, events, and the outbox in its own pace."""

from __future__ import annotations

import json
import logging
import time
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from node.adapters.broker import Acknowledged, Connected, Disconnected
from node.core.model import iso
from node.service.courier import CUTS, HEADER_BYTES, Courier
from node.service.namesake import Namesake
from node.service.suspicion import Suspicion

if TYPE_CHECKING:
    from collections.abc import Iterable

    from node.adapters.broker import Broker, Message
    from node.adapters.store import Outbox
    from node.core.payloads import EventPayload
    from node.core.topics import Topics

log = logging.getLogger(__name__)

MAX_DEFERRED_BYTES = 4 * 1024 * 1024
"""Of answers and events that cannot go out yet; older ones are dropped and counted."""

PASSING_WINDOW = 20
"""Answers and events go out while fewer messages than this are unacknowledged; more would only
queue up in paho's memory, which does not survive a connection."""


@dataclass(frozen=True, slots=True)
class _Passing:
    """A message that is not retained: an answer or an event."""

    topic: str
    payload: bytes
    correlation: bytes | None = None


class Publisher:
    """Owned by the main thread."""

    def __init__(self, broker: Broker, topics: Topics, outbox: Outbox) -> None:
        self._broker = broker
        self._topics = topics
        self._suspicion = Suspicion()
        self._courier = Courier(broker, outbox, self._suspicion)
        self._namesake = Namesake()
        self._states: dict[str, tuple[bytes, int | None]] = {}
        self._deferred: deque[_Passing] = deque()
        self._unfit: dict[str, bytes] = {}
        self._refused_topics: set[str] = set()
        self._deferred_bytes = 0
        self._max_packet: int | None = None
        self._last_reason = ""
        self.connected = False
        self.connections = 0
        self.dropped = 0

    def handle(self, item: Connected | Disconnected | Acknowledged) -> None:
        """The broker has come, gone, or taken a message."""
        match item:
            case Connected():
                self._on_connected(item)
            case Disconnected():
                self._on_disconnected(item)
            case Acknowledged():
                self._on_acknowledged(item)

    def _on_connected(self, item: Connected) -> None:
        """Say who is there and how things stand, then go on with the outbox."""
        log.info("connected to the broker")
        self.connected = True
        self.connections += 1
        self._max_packet = item.max_packet
        self._broker.subscribe((*self._topics.subscriptions, self._topics.info))
        self._send(self._topics.status, b"online", retain=True)
        for topic in self._states:
            self._publish_state(topic)
        self._flush()
        self._courier.on_connected(item.max_packet)

    def _on_disconnected(self, item: Disconnected) -> None:
        if self.connected or item.reason != self._last_reason:
            log.warning("broker: %s; what is to be sent waits on the disk", item.reason)
        self._last_reason = item.reason
        self.connected = False
        self._suspicion.disconnected(time.monotonic())
        self._courier.on_disconnected()

    def _on_acknowledged(self, item: Acknowledged) -> None:
        key = self._suspicion.acknowledged(item.mid, time.monotonic())
        self._flush()
        if isinstance(key, tuple) and not item.refused and self.is_clearing(key[0]) and not key[1]:
            del self._states[key[0]]
        if (problem := self._courier.on_acknowledged(item)) is not None:
            self.event("message_refused", problem)
        elif item.refused and isinstance(key, tuple) and key[0] not in self._refused_topics:
            self._refused_topics.add(key[0])
            log.warning("the broker refuses %s: %s; see its access rules", key[0], item.refused)

    def is_own_info(self, message: Message) -> bool:
        return message.topic == self._topics.info

    def shows_younger_namesake(self, message: Message) -> bool:
        """Whether what the broker keeps on `T/info` is of a younger node with this node's id."""
        own, _ = self._states.get(self._topics.info, (b"", None))
        return message.retained and self._namesake.is_younger(message.payload, own)

    def state(self, topic: str, payload: Any, *, expiry_s: int | None = None) -> None:
        """Publish a retained state where it has changed; again after every reconnect."""
        body = _encode(payload)
        if self._states.get(topic) == (body, expiry_s):
            return
        self._states[topic] = (body, expiry_s)
        if self.connected:
            self._publish_state(topic)

    def clear(self, topic: str) -> None:
        """Take a retained state back, also one of an earlier process; until the broker has it."""
        if not self.is_clearing(topic):
            self._states[topic] = (b"", None)
            if self.connected:
                self._publish_state(topic)

    def is_clearing(self, topic: str) -> bool:
        """Whether the broker has not taken a state back yet."""
        return self._states.get(topic) == (b"", None)

    def resend(self, first: Iterable[str]) -> None:
        """Publish every state again, these topics before all others."""
        if self.connected:
            for topic in dict.fromkeys((*first, *self._states)):
                self._publish_state(topic)

    def say(self, topic: str, payload: Any, *, correlation: bytes | None = None) -> None:
        """Publish something that passes: at once, or when the broker is back."""
        self._pass(_Passing(topic, _encode(payload), correlation))

    def fleeting(self, topic: str, payload: Any) -> None:
        """Publish what is worth nothing a moment later: now, with QoS 0, or never."""
        if self.connected:
            self._broker.publish(topic, _encode(payload), qos=0)

    def event(
        self, event_type: str, message: str, mic: str | None = None, *, good: bool = False
    ) -> None:
        """Say on `T/event`, and in the log, that something has happened; `good`: nothing wrong."""
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
        """Whether the broker takes a message of this size."""
        return self._max_packet is None or len(_encode(payload)) + HEADER_BYTES <= self._max_packet

    def pump(self) -> None:
        """Send from the outbox what the window allows; say what cannot be sent at all."""
        if self.connected and self._suspicion.unanswered(time.monotonic()):
            self._broker.renew()
            self._on_disconnected(Disconnected("it does not acknowledge any more"))
        for problem in self._courier.pump():
            self.event("message_refused", problem)

    def drained(self) -> bool:
        """Whether the broker has everything from the outbox."""
        return self._courier.drained()

    def _publish_state(self, topic: str) -> None:
        body, expiry_s = self._states[topic]
        problem = self._problem(topic, body)
        if problem is None:
            self._send(topic, body, retain=True, expiry_s=expiry_s)
        elif self._unfit.get(topic) != body:
            self._unfit[topic] = body
            self._send(topic, b"", retain=True)  # the broker would go on showing an older state
            self.event("message_refused", f"{topic}: the state cannot be published: {problem}")

    def _problem(self, topic: str, body: bytes) -> str | None:
        """Why a state must not be sent: it would end every connection again."""
        size = len(body) + HEADER_BYTES
        if self._max_packet is not None and size > self._max_packet:
            return f"it has {size} bytes and the broker takes {self._max_packet} at most"
        return CUTS if self._suspicion.condemned((topic, body)) else None

    def _pass(self, message: _Passing) -> None:
        self._deferred.append(message)
        self._deferred_bytes += len(message.payload)
        self._flush()
        while self._deferred_bytes > MAX_DEFERRED_BYTES:
            self._deferred_bytes -= len(self._deferred.popleft().payload)
            self.dropped += 1

    def _flush(self) -> None:
        """Send answers and events, as many as the window allows."""
        while self._deferred and self.connected and self._suspicion.waiting < PASSING_WINDOW:
            message = self._deferred[0]
            if not self._send(message.topic, message.payload, correlation=message.correlation):
                return
            self._deferred.popleft()
            self._deferred_bytes -= len(message.payload)

    def _send(self, topic: str, payload: bytes, **options: Any) -> bool:
        """Give a message to the connection; says whether there was one."""
        mid = self._broker.publish(topic, payload, **options)
        if mid is not None:
            self._suspicion.sent(mid, (topic, payload), len(payload), time.monotonic())
        return mid is not None


def _encode(payload: Any) -> bytes:
    return json.dumps(payload, ensure_ascii=False).encode()
