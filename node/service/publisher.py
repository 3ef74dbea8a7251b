"""What the node says: retained states, answers, events, and the outbox in its own pace."""

from __future__ import annotations

import json
import logging
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from node.adapters.broker import Acknowledged, Connected, Disconnected
from node.core.model import iso

if TYPE_CHECKING:
    from node.adapters.broker import Broker
    from node.core.payloads import EventPayload
    from node.core.topics import Topics
    from node.service.courier import Courier

log = logging.getLogger(__name__)

MAX_DEFERRED = 64
"""Answers and events kept while the broker is away; older ones are dropped and counted."""

HEADER_BYTES = 512
"""Allowance for topic and properties when a payload is held against the broker's limit."""


@dataclass(frozen=True, slots=True)
class _Passing:
    """A message that is not retained: an answer or an event."""

    topic: str
    payload: bytes
    correlation: bytes | None = None


class Publisher:
    """Owned by the main thread."""

    def __init__(self, broker: Broker, topics: Topics, courier: Courier) -> None:
        self._broker = broker
        self._topics = topics
        self._courier = courier
        self._states: dict[str, tuple[bytes, int | None]] = {}
        self._deferred: deque[_Passing] = deque(maxlen=MAX_DEFERRED)
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
                if (problem := self._courier.on_acknowledged(item)) is not None:
                    self.event("message_refused", problem)

    def _on_connected(self, item: Connected) -> None:
        """Say who is there and how things stand, then go on with the outbox."""
        log.info("connected to the broker")
        self.connected = True
        self.connections += 1
        self._max_packet = item.max_packet
        self._broker.subscribe(self._topics.subscriptions)
        self._broker.publish(self._topics.status, b"online", retain=True)
        for topic in self._states:
            self._publish_state(topic)
        while self._deferred:
            self._pass(self._deferred.popleft())
        self._courier.on_connected(item.max_packet)

    def _on_disconnected(self, item: Disconnected) -> None:
        if self.connected or item.reason != self._last_reason:
            log.warning("broker: %s; what is to be sent waits on the disk", item.reason)
        self._last_reason = item.reason
        self.connected = False
        self._courier.on_disconnected()

    def state(self, topic: str, payload: Any, *, expiry_s: int | None = None) -> None:
        """Publish a retained state where it has changed; again after every reconnect."""
        body = _encode(payload)
        if self._states.get(topic) == (body, expiry_s):
            return
        self._states[topic] = (body, expiry_s)
        if self.connected:
            self._publish_state(topic)

    def clear(self, topic: str) -> None:
        """Take a retained state back."""
        if self._states.pop(topic, None) is not None and self.connected:
            self._broker.publish(topic, b"", retain=True)

    def say(self, topic: str, payload: Any, *, correlation: bytes | None = None) -> None:
        """Publish something that passes: at once, or when the broker is back."""
        self._pass(_Passing(topic, _encode(payload), correlation))

    def event(self, event_type: str, message: str, mic: str | None = None) -> None:
        """Say on `T/event`, and in the log, that something has happened."""
        log.warning("%s: %s", event_type, message)
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
        for problem in self._courier.pump():
            self.event("message_refused", problem)

    def drained(self) -> bool:
        """Whether the broker has everything from the outbox."""
        return self._courier.drained()

    def _publish_state(self, topic: str) -> None:
        body, expiry_s = self._states[topic]
        self._broker.publish(topic, body, retain=True, expiry_s=expiry_s)

    def _pass(self, message: _Passing) -> None:
        if self.connected:
            self._broker.publish(message.topic, message.payload, correlation=message.correlation)
            return
        self.dropped += len(self._deferred) == MAX_DEFERRED
        self._deferred.append(message)


def _encode(payload: Any) -> bytes:
    return json.dumps(payload, ensure_ascii=False).encode()
