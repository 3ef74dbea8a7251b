"""The main thread's one queue, through which all other threads report to it."""

from __future__ import annotations

import queue
from typing import TYPE_CHECKING

from node.adapters.broker import MAX_QUEUED_COMMANDS, Message

if TYPE_CHECKING:
    from node.adapters.broker import BrokerItem
    from node.service.items import ThreadItem


class Inbox:
    """Any thread or signal handler puts; the main thread takes.

    Workers' items are few and are never dropped; in a flood of commands, commands are.
    """

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[ThreadItem | BrokerItem] = queue.SimpleQueue()
        self._dropped = self._told = 0

    def put(self, item: ThreadItem | BrokerItem) -> None:
        """Add an item; `SimpleQueue.put` is safe in a signal handler."""
        self._queue.put(item)

    def deliver(self, item: BrokerItem) -> None:
        """Add an item from paho's thread; drop a command if too much is queued."""
        if isinstance(item, Message) and self._queue.qsize() > MAX_QUEUED_COMMANDS:
            self._dropped += 1
        else:
            self._queue.put(item)

    def take(self, timeout_s: float | None) -> ThreadItem | BrokerItem | None:
        """Return the next item, or None if none comes within `timeout_s` (None: wait forever)."""
        try:
            return self._queue.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def dropped(self) -> int:
        """Return the commands dropped since the last call, once the burst is over; 0 before."""
        if not self._queue.empty():
            return 0
        told, self._told = self._told, self._dropped
        return self._told - told
