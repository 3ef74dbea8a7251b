"""Sends the outbox to the broker: in order, within the window, until it is acknowledged.

paho's own queue would not do: it is in memory, and is flushed all at once on reconnect.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING

from node.core.mqtt.topics import NO_TOPIC
from node.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from node.adapters.broker import Acknowledged
    from node.adapters.store import Outbox, OutboxMessage
    from node.service.publishing.link import Link

DAMAGED_TOPIC = NO_TOPIC | {"\N{REPLACEMENT CHARACTER}"}
"""Characters no topic of ours contains; the last one replaces bytes that are not UTF-8."""

DAMAGED = "it comes back damaged from the disk"


class OutboxSender:
    """Owned by the main thread.

    Args:
        refused: called with the topic and reason for each message that is set aside unsent.
    """

    def __init__(self, link: Link, outbox: Outbox, refused: Callable[[str, str], None]) -> None:
        self._link = link
        self._outbox = outbox
        self._refused = refused
        self._in_flight: dict[int, OutboxMessage] = {}
        self._sent = 0
        self._late_until = 0
        self._acknowledged: list[int] = []

    def on_connected(self) -> None:
        """Start again after what is acknowledged."""
        self._sent = 0
        self._late_until = self._outbox.newest()

    def on_disconnected(self) -> None:
        self._in_flight.clear()

    def on_acknowledged(self, item: Acknowledged) -> bool:
        """Note a message as done, or set it aside; return whether it was from the outbox."""
        message = self._in_flight.pop(item.mid, None)
        if message is None:
            return False
        if item.try_later:
            self._sent = min(self._sent, message.id - 1)
        elif item.refused:
            self._set_aside(message, f"the broker refuses it: {item.refused}")
        else:
            self._acknowledged.append(message.id)
        return True

    def strike_off(self) -> None:
        """Delete what is acknowledged from the disk, in one transaction.

        If the disk fails, the messages stay marked as acknowledged and are not sent again.
        """
        if not self._acknowledged:
            return
        try:
            self._outbox.done(self._acknowledged)
        except StoreError:
            return  # tried again with the next message; others report the disk
        self._acknowledged = []

    def send_next(self) -> bool:
        """Send the next message or set it aside; return False if there is none or no connection."""
        messages = self._outbox.after(self._sent, 1)
        if not messages:
            return False
        message = messages[0]
        if not self._is_under_way(message):
            problem = self._problem(message)
            if problem is not None:
                self._set_aside(message, problem)
            elif not self._send(message):
                return False
        self._sent = message.id
        return True

    def drained(self) -> bool:
        """Return whether the broker has everything."""
        return not self._in_flight and len(self._outbox) == len(self._acknowledged)

    def _problem(self, message: OutboxMessage) -> str | None:
        if not _is_sound(message):
            return DAMAGED
        return self._link.problem(message.topic, len(message.payload.encode()))

    def _is_under_way(self, message: OutboxMessage) -> bool:
        return message.id in self._acknowledged or message in self._in_flight.values()

    def _send(self, message: OutboxMessage) -> bool:
        mid = self._link.publish(message.id, message.topic, self._stamped(message))
        if mid is not None:
            self._in_flight[mid] = message
        return mid is not None

    def _set_aside(self, message: OutboxMessage, reason: str) -> None:
        """Move a message out of the way of the ones behind it, with the reason.

        If the disk fails, it is out of the way only until the next connection.
        """
        with suppress(StoreError):  # the listener and the main loop report the disk
            self._outbox.set_aside(message.id, reason)
        named = reason is not DAMAGED
        self._refused(message.topic if named else f"number {message.id} of the outbox", reason)

    def _stamped(self, message: OutboxMessage) -> bytes:
        """Return the payload, marked as replayed if it was ready before this connection."""
        if message.id > self._late_until:
            return message.payload.encode()
        body = json.loads(message.payload)
        if "replayed" in body:
            body["replayed"] = True
        return json.dumps(body, ensure_ascii=False).encode()


def _is_sound(message: OutboxMessage) -> bool:
    """Return whether the disk returned what was written: a JSON object for a topic."""
    topic = message.topic
    if not isinstance(topic, str) or not topic or DAMAGED_TOPIC & set(topic):
        return False
    try:
        return isinstance(json.loads(message.payload), dict)
    except (ValueError, TypeError, RecursionError):
        return False
