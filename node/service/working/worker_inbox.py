"""The inbox of a worker's main thread."""

from __future__ import annotations

import queue
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from node.adapters.broker import Message

if TYPE_CHECKING:
    from node.adapters.broker import BrokerItem
    from node.service.items import StopRequested, ThreadDied
    from node.service.working.engine_room import Done, NotReady, Ready

    Reported = BrokerItem | StopRequested | ThreadDied | Done | NotReady | Ready

MAX_WAITING = 64
"""Items from the broker that wait for the main thread: a broker that ignores Receive Maximum must
not fill the memory. What is dropped is counted, and sent again by its node."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """A message was dropped; all that is left of it is what acknowledges it."""

    message: Message


class WorkerInbox:
    """Any thread or signal handler puts; the main thread takes, and may read `dropped`."""

    def __init__(self) -> None:
        self._items: queue.SimpleQueue[Reported | Dropped] = queue.SimpleQueue()
        self.dropped = 0
        """How many messages were dropped; only paho's thread counts."""

    def put(self, item: Reported) -> None:
        self._items.put(item)

    def deliver(self, item: BrokerItem) -> None:
        """Add an item from paho's thread; drop a message if too much waits."""
        if not isinstance(item, Message) or self._items.qsize() < MAX_WAITING:
            self._items.put(item)
            return
        self.dropped += 1
        if item.receipt[1] != 0:  # else the broker would count it as under way for ever
            self._items.put(Dropped(replace(item, payload=b"")))

    def take(self, timeout_s: float) -> Reported | Dropped | None:
        try:
            return self._items.get(timeout=timeout_s)
        except queue.Empty:
            return None
