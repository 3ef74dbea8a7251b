"""The node's second connection to the broker, for work alone.

Sound is large and may be slow to send: on the first connection, commands and segments would wait
behind it. What the broker does not let through here does not harm the first one either.
"""

from __future__ import annotations

import logging
import math
import queue
import threading
import time
from collections import deque
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from node.adapters.broker import Acknowledged, Broker, Connected, Disconnected, Message
from node.core.mqtt.topics import ANY_WORKER, worker_status
from node.core.work.messages import MAX_ANSWER_BYTES, MAX_WORK_BYTES
from node.service.publishing.broker_advice import connection_advice
from node.service.subscriptions import Subscriptions

if TYPE_CHECKING:
    from node.adapters.broker import BrokerItem, BrokerSettings
    from node.core.mqtt.topics import Topics

log = logging.getLogger(__name__)

MAX_WAITING = 1024
"""Answers and statuses that wait for the thread; more are dropped and counted. A request without an
answer is sent again."""

WINDOW = 8
"""Requests that the broker has not acknowledged, at most; it may want fewer."""

REFUSED_S = 60.0
"""How long nothing is sent after the broker refused a request."""

OVERHEAD = 1024
"""Bytes of a packet besides its payload: topic, response topic, correlation data."""


class WorkLink:
    """Owned by the transcriber thread, which `wake` wakes whenever something has arrived."""

    def __init__(self, settings: BrokerSettings, topics: Topics, request_topic: str) -> None:
        own = replace(settings, client_id=f"{settings.client_id}:work")
        self.wake = threading.Event()
        self._items: queue.SimpleQueue[BrokerItem] = queue.SimpleQueue()
        self._dropped = self._told = 0
        self._request_topic = request_topic
        self.response_topic = topics.work_response
        self._statuses = worker_status(topics.base, ANY_WORKER)
        self._broker = Broker(
            own,
            None,
            self._deliver,
            partial(connection_advice, own),
            kept_bytes=MAX_ANSWER_BYTES + 1,
        )
        self._subscriptions = Subscriptions(
            self._broker.subscribe, (self.response_topic, self._statuses)
        )
        self._max_packet: int | None = None
        self._window = WINDOW
        self._publishing: dict[int, str] = {}
        self._unheard: deque[str] = deque()
        self._last_reason = ""
        self._refusal: str | None = None
        self._refused_until = math.inf

    def start(self) -> None:
        self._broker.start()

    def stop(self) -> None:
        self._broker.stop()

    def alive(self) -> bool:
        """Whether paho's network thread runs, or has yet to start; for any thread."""
        return self._broker.alive()

    def _deliver(self, item: BrokerItem) -> None:
        """Take an item in paho's thread."""
        if isinstance(item, Message) and self._items.qsize() >= MAX_WAITING:
            self._dropped += 1
        else:
            self._items.put(item)
        self.wake.set()

    @property
    def problem(self) -> str | None:
        """Why the broker does not let work through, although it is connected; None if it does."""
        if (refusal := self._subscriptions.refusal) is not None:
            return _refused("to let this node hear workers", refusal)
        return self._refusal if time.monotonic() < self._refused_until else None

    @property
    def is_ready(self) -> bool:
        """Whether answers would arrive, and requests may be sent."""
        return self._subscriptions.are_granted and self.problem is None

    @property
    def has_room(self) -> bool:
        """Whether the broker would take another request now."""
        return self.is_ready and len(self._publishing) < self._window

    @property
    def most(self) -> int:
        """Bytes of the largest request that the broker takes."""
        packet = self._max_packet or MAX_WORK_BYTES
        return min(MAX_WORK_BYTES, packet - OVERHEAD)

    def take(self) -> Connected | Disconnected | Message | None:
        """Return what has arrived next that concerns work; None if nothing has."""
        self._subscriptions.look(time.monotonic())
        while True:
            try:
                item = self._items.get_nowait()
            except queue.Empty:
                return None
            if isinstance(item, Acknowledged):
                self._on_acknowledged(item)
                continue
            if isinstance(item, Connected):
                self._on_connected(item)
            elif isinstance(item, Disconnected):
                self._on_disconnected(item)
            return item

    def dropped(self) -> int:
        """Return how many messages were dropped since the last call, once all others are taken."""
        if not self._items.empty():
            return 0
        told, self._told = self._told, self._dropped
        return self._told - told

    def unheard(self) -> str | None:
        """Return the id of a request for which the broker found nobody, if there is one."""
        return self._unheard.popleft() if self._unheard else None

    def is_answer(self, message: Message) -> bool:
        return message.topic == self.response_topic

    def worker_of(self, message: Message) -> str:
        """Return whose status a message is."""
        return message.topic.split("/")[-2]

    def publish(self, request_id: str, payload: bytes, expiry_s: float) -> bool:
        """Send a request; return whether it is on its way."""
        mid = self._broker.publish(
            self._request_topic,
            payload,
            expiry_s=max(1, round(expiry_s)),
            correlation=request_id.encode(),
            response_topic=self.response_topic,
        )
        if mid is not None:
            self._publishing[mid] = request_id
        return mid is not None

    def _on_connected(self, item: Connected) -> None:
        self._forget()
        self._max_packet = item.max_packet
        self._window = min(WINDOW, item.receive_maximum or WINDOW)
        self._subscriptions.begin()

    def _on_disconnected(self, item: Disconnected) -> None:
        self._forget()
        if item.reason != self._last_reason:
            log.warning("broker, for work: %s", item.reason)
        self._last_reason = item.reason

    def _forget(self) -> None:
        self._subscriptions.end()
        self._refusal = None
        self._publishing.clear()
        self._unheard.clear()

    def _on_acknowledged(self, item: Acknowledged) -> None:
        if self._subscriptions.acknowledged(item, time.monotonic()):
            return
        request_id = self._publishing.pop(item.mid, None)
        if request_id is None:
            return
        if item.unheard or item.try_later:
            self._unheard.append(request_id)
        elif item.refused:
            self._refusal = _refused("what is sent to workers", item.refused)
            self._refused_until = time.monotonic() + REFUSED_S


def _refused(what: str, why: str) -> str:
    return f"the broker refuses {what}: {why}; see its access rules"
