"""Sends to the broker: one window for all that it acknowledges, and which topics it refuses."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from node.service.publishing.suspicion import Sent, Suspicion

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    from node.adapters.broker import Acknowledged, Broker, Connected

WINDOW = 10
"""Messages in flight at most: far below what brokers queue for a slow subscriber. The broker can
lower it (Receive Maximum, MQTT 5, 3.2.2.3.3)."""

HEADER_BYTES = 512
"""Allowance for topic and properties when a payload is compared with the broker's limit."""

CUTS = "the broker disconnects whenever it is sent; it may be too large for the broker"
FORBIDDEN = (
    "the broker disconnects whenever something is sent there, so nothing is sent there any more;"
    " allow it in the broker's access rules and restart the node"
)

QUOTA_PAUSE_S = 5.0
"""How long nothing is sent after the broker reports that a quota is exceeded."""

FRUITLESS = 4
"""Connections that end almost at once before the log mentions access rules."""


class Link:
    """Owned by the main thread. Subscriptions count in the window too."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._suspicion = Suspicion()
        self._window = WINDOW
        self._max_packet: int | None = None
        self._paused_until = 0.0
        self._is_broken = False
        self.connected = False
        self.is_locked_out = False
        """Whether the last connection was the `FRUITLESS`th in a row that ended before it was of
        any use."""

    def on_connected(self, item: Connected) -> None:
        self.connected = True
        self._max_packet = item.max_packet
        self._window = min(WINDOW, item.receive_maximum or WINDOW)
        self._paused_until = 0.0
        self._is_broken = False

    def on_disconnected(self) -> Sent | None:
        """Note that the connection has ended; return what is now known to end every connection."""
        self.connected = False
        before = self._suspicion.fruitless
        cause = self._suspicion.disconnected(time.monotonic())
        self.is_locked_out = before < FRUITLESS <= self._suspicion.fruitless
        if cause is not None:
            self._broker.settled()
        return cause

    def on_acknowledged(self, item: Acknowledged) -> Sent | None:
        """Note an acknowledgement; return what it acknowledges."""
        now = time.monotonic()
        if item.try_later:
            self._paused_until = now + QUOTA_PAUSE_S
        return self._suspicion.acknowledged(item.mid, now)

    @property
    def has_room(self) -> bool:
        """Whether something can be sent now."""
        window = 1 if self._suspicion.active else self._window
        if not self.connected or self._is_broken or time.monotonic() < self._paused_until:
            return False
        return self._suspicion.waiting < window

    @property
    def is_dead(self) -> bool:
        """Whether the connection looks alive but will not acknowledge anything any more."""
        return self.connected and self._suspicion.unanswered(time.monotonic())

    def arranged(self, keys: Iterable[Hashable]) -> list[Hashable]:
        """Return `keys` in the order to send them, so that the cause of disconnects is found."""
        return self._suspicion.arranged(keys)

    def settle(self) -> None:
        """Clear all suspicion once nothing is left to send or be acknowledged."""
        if self.has_room and self._suspicion.waiting == 0:
            self._suspicion.settle()

    def fits(self, size: int) -> bool:
        """Return whether the broker accepts a payload of `size` bytes."""
        return self._max_packet is None or size + HEADER_BYTES <= self._max_packet

    def problem(self, topic: str, size: int) -> str | None:
        """Return why a payload must not be sent (the broker would disconnect), or None."""
        if not self.fits(size):
            most = self._max_packet
            return f"it has {size + HEADER_BYTES} bytes, and the broker accepts at most {most}"
        limit = self._suspicion.limit(topic)
        if limit is None or size < limit:
            return None
        return CUTS if limit else FORBIDDEN

    def bars(self, topic_filter: str) -> bool:
        """Return whether subscribing would make the broker disconnect."""
        return self._suspicion.bars(topic_filter)

    def subscribe(self, key: Hashable, topic_filter: str) -> int | None:
        """Subscribe; return the packet id that will be acknowledged, or None if it was not sent."""
        return self._sent(self._broker.subscribe(topic_filter), key, topic_filter, None)

    def publish(self, key: Hashable, topic: str, payload: bytes, **options: Any) -> int | None:
        """Publish; return the packet id that will be acknowledged, or None if it was not sent."""
        return self._sent(self._broker.publish(topic, payload, **options), key, topic, len(payload))

    def _sent(self, mid: int | None, key: Hashable, topic: str, size: int | None) -> int | None:
        if mid is None:  # the connection is gone; `on_disconnected` is about to be called
            self._is_broken = True
        else:
            self._suspicion.sent(mid, Sent(key, topic, size, time.monotonic()))
        return mid

    def publish_fleeting(self, topic: str, payload: bytes) -> None:
        """Publish with QoS 0 if that is possible now; otherwise drop the message."""
        if not self.connected or self._suspicion.active or self.problem(topic, len(payload)):
            return
        if self._broker.publish(topic, payload, qos=0) is not None:
            self._suspicion.sent_fleeting(topic, len(payload), time.monotonic())
