"""The main thread's one queue, into which all others put what has happened."""

from __future__ import annotations

import queue
from typing import TYPE_CHECKING

from node.adapters.broker import MAX_QUEUED_COMMANDS, Message

if TYPE_CHECKING:
    from node.adapters.broker import BrokerItem
    from node.service.items import WorkerItem


class Inbox:
    """Anybody puts, signal handlers too; the main thread takes.

    Workers' items are few by their nature and are never dropped; commands of a flood are.
    """

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[WorkerItem | BrokerItem] = queue.SimpleQueue()
        self._dropped = self._told = 0

    def put(self, item: WorkerItem | BrokerItem) -> None:
        """Add an item; `SimpleQueue.put` is safe in a signal handler."""
        self._queue.put(item)

    def deliver(self, item: BrokerItem) -> None:
        """Add an item from paho's thread; a flood of commands is dropped, not kept."""
        if isinstance(item, Message) and self._queue.qsize() > MAX_QUEUED_COMMANDS:
            self._dropped += 1
        else:
            self._queue.put(item)

    def take(self, timeout_s: float | None) -> WorkerItem | BrokerItem | None:
        """The next item; None where none comes in time. Without a time it waits for ever."""
        try:
            return self._queue.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def dropped(self) -> int:
        """Commands dropped since the last call, once the burst is over; 0 before."""
        if not self._queue.empty():
            return 0
        told, self._told = self._told, self._dropped
        return self._told - told
