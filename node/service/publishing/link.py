"""The way to the broker: one window over everything it answers, and what must not be sent."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from node.service.publishing.suspicion import Sent, Suspicion

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    from node.adapters.broker import Acknowledged, Broker, Connected

WINDOW = 10
"""Sent and not yet answered, at most: far below what brokers queue for a slow subscriber. It is
less where the broker says so (Receive Maximum, MQTT 5, 3.2.2.3.3)."""

HEADER_BYTES = 512
"""Allowance for topic and properties when a payload is held against the broker's limit."""

CUTS = "every connection ends when it is sent; it may be too large for the broker"
FORBIDDEN = (
    "the broker ends every connection when something is sent there, so nothing is any more; allow"
    " it in the broker's access rules and restart the node"
)

QUOTA_PAUSE_S = 5.0
"""How long nothing is sent after the broker has had too much."""

FRUITLESS = 4
"""So many connections that end almost at once are worth a word on access rules."""


class Link:
    """Owned by the main thread. Subscriptions have their place in the window as well."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._suspicion = Suspicion()
        self._window = WINDOW
        self._max_packet: int | None = None
        self._paused_until = 0.0
        self._is_broken = False
        self.connected = False
        self.is_locked_out = False
        """Whether connection after connection has ended before it had served for anything; True
        at the one with which that becomes clear."""

    def on_connected(self, item: Connected) -> None:
        self.connected = True
        self._max_packet = item.max_packet
        self._window = min(WINDOW, item.receive_maximum or WINDOW)
        self._paused_until = 0.0
        self._is_broken = False

    def on_disconnected(self) -> Sent | None:
        """The connection has ended; gives what was found to end them all."""
        self.connected = False
        before = self._suspicion.fruitless
        cause = self._suspicion.disconnected(time.monotonic())
        self.is_locked_out = before < FRUITLESS <= self._suspicion.fruitless
        if cause is not None:
            self._broker.settled()
        return cause

    def on_acknowledged(self, item: Acknowledged) -> Sent | None:
        """Take note of an answer; gives what it answers."""
        now = time.monotonic()
        if item.try_later:
            self._paused_until = now + QUOTA_PAUSE_S
        return self._suspicion.acknowledged(item.mid, now)

    @property
    def has_room(self) -> bool:
        """Whether something may be sent now."""
        window = 1 if self._suspicion.active else self._window
        if not self.connected or self._is_broken or time.monotonic() < self._paused_until:
            return False
        return self._suspicion.waiting < window

    @property
    def is_dead(self) -> bool:
        """Whether the connection stands, but answers will not come on it any more."""
        return self.connected and self._suspicion.unanswered(time.monotonic())

    def arranged(self, keys: Iterable[Hashable]) -> list[Hashable]:
        """In what order to send, so that the cause of cuts is found."""
        return self._suspicion.arranged(keys)

    def settle(self) -> None:
        """Nothing is left to be sent."""
        if self.has_room and self._suspicion.waiting == 0:
            self._suspicion.settle()

    def fits(self, size: int) -> bool:
        """Whether the broker takes a payload of so many bytes."""
        return self._max_packet is None or size + HEADER_BYTES <= self._max_packet

    def problem(self, topic: str, size: int) -> str | None:
        """Why a payload must not be sent: it would end every connection again."""
        if not self.fits(size):
            most = self._max_packet
            return f"it has {size + HEADER_BYTES} bytes and the broker takes {most} at most"
        limit = self._suspicion.limit(topic)
        if limit is None or size < limit:
            return None
        return CUTS if limit else FORBIDDEN

    def bars(self, topic_filter: str) -> bool:
        """Whether a subscription would end every connection again."""
        return self._suspicion.bars(topic_filter)

    def subscribe(self, key: Hashable, topic_filter: str) -> int | None:
        """Subscribe where there is room; gives the id of the answer, None where it did not go."""
        return self._sent(self._broker.subscribe(topic_filter), key, topic_filter, None)

    def publish(self, key: Hashable, topic: str, payload: bytes, **options: Any) -> int | None:
        """Publish where there is room; gives the id of the answer, None where it did not go."""
        return self._sent(self._broker.publish(topic, payload, **options), key, topic, len(payload))

    def _sent(self, mid: int | None, key: Hashable, topic: str, size: int | None) -> int | None:
        if mid is None:  # the connection is gone, which is about to be said
            self._is_broken = True
        else:
            self._suspicion.sent(mid, Sent(key, topic, size, time.monotonic()))
        return mid

    def publish_fleeting(self, topic: str, payload: bytes) -> None:
        """Publish what is worth nothing a moment later: now, with QoS 0, or never."""
        if not self.connected or self._suspicion.active or self.problem(topic, len(payload)):
            return
        if self._broker.publish(topic, payload, qos=0) is not None:
            self._suspicion.sent_fleeting(topic, len(payload), time.monotonic())
