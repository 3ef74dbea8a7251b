"""The outbox on its way to the broker: in order, in a small window, until acknowledged.

paho's own queue is not trusted with it: it is in memory, and is flushed all at once on reconnect.
"""

from __future__ import annotations

import json
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from node.errors import StoreError

if TYPE_CHECKING:
    from node.adapters.broker import Acknowledged, Broker
    from node.adapters.store import Outbox, OutboxMessage
    from node.service.suspicion import Suspicion

WINDOW = 10
"""Messages sent and not yet acknowledged: far below what brokers queue for a slow subscriber."""

HEADER_BYTES = 512
"""Allowance for topic and properties when a payload is held against the broker's limit."""
CUTS = "every connection ends when it is sent; it may be too large for the broker"


class Courier:
    """Owned by the main thread."""

    def __init__(self, broker: Broker, outbox: Outbox, suspicion: Suspicion) -> None:
        self._broker = broker
        self._outbox = outbox
        self._suspicion = suspicion
        self._connected = False
        self._max_packet: int | None = None
        self._in_flight: dict[int, OutboxMessage] = {}
        self._sent = 0
        self._late_until = 0
        self._acknowledged: list[int] = []

    def on_connected(self, max_packet: int | None) -> None:
        """Begin anew behind what is acknowledged."""
        self._connected = True
        self._max_packet = max_packet
        self._sent = 0
        self._late_until = self._outbox.newest()

    def on_disconnected(self) -> None:
        self._connected = False
        self._in_flight.clear()

    def on_acknowledged(self, item: Acknowledged) -> str | None:
        """Strike a message off; gives what is wrong with it where the broker refuses it."""
        message = self._in_flight.pop(item.mid, None)
        if message is None:
            return None
        if item.refused:
            return self._set_aside(message, f"the broker refuses it: {item.refused}")
        self._acknowledged.append(message.id)
        return None

    def pump(self) -> list[str]:
        """Strike off what is acknowledged and send what the window allows.

        Returns:
            What is wrong with each message that cannot be sent and was set aside.
        """
        self._strike_off()
        problems: list[str] = []
        while self._connected and self._may_send():
            messages = self._outbox.after(self._sent, 1)
            if not messages:
                break
            message = messages[0]
            if message.id in self._acknowledged:
                self._sent = message.id
            elif (problem := self._unfit(message)) is not None:
                problems.append(self._set_aside(message, problem))
                self._sent = message.id
            elif not self._send(message):
                break
        return problems

    def drained(self) -> bool:
        """Whether the broker has everything."""
        return not self._in_flight and len(self._outbox) == len(self._acknowledged)

    def _may_send(self) -> bool:
        """With a message under suspicion one at a time, so that the next cut shows which it is."""
        if self._suspicion.active:
            return self._suspicion.waiting == 0
        return len(self._in_flight) < WINDOW

    def _send(self, message: OutboxMessage) -> bool:
        payload = self._stamped(message)
        mid = self._broker.publish(message.topic, payload)
        if mid is None:
            return False
        self._in_flight[mid] = message
        self._suspicion.sent(mid, message.id, len(payload), time.monotonic())
        self._sent = message.id
        return True

    def _unfit(self, message: OutboxMessage) -> str | None:
        size = len(message.payload.encode()) + HEADER_BYTES
        if self._max_packet is not None and size > self._max_packet:
            return f"it has {size} bytes and the broker takes {self._max_packet} at most"
        if self._suspicion.condemned(message.id):
            return CUTS
        return None

    def _set_aside(self, message: OutboxMessage, reason: str) -> str:
        """Keep a message out of the way of those behind it, with its reason.

        Where the disk refuses that, it is out of the way until the next connection.
        """
        with suppress(StoreError):  # the listener and the desk report the disk
            self._outbox.set_aside(message.id, reason)
        return f"{message.topic}: a message is set aside: {reason}"

    def _strike_off(self) -> None:
        """One transaction for all; where the disk refuses, they stay known and are not resent."""
        if not self._acknowledged:
            return
        try:
            self._outbox.done(self._acknowledged)
        except StoreError:
            return  # tried again with the next message; the listener and the desk report the disk
        self._acknowledged = []

    def _stamped(self, message: OutboxMessage) -> bytes:
        """A message that was ready before this connection stood is marked as replayed."""
        if message.id > self._late_until:
            return message.payload.encode()
        body = json.loads(message.payload)
        if "replayed" in body:
            body["replayed"] = True
        return json.dumps(body, ensure_ascii=False).encode()
