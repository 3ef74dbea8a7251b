"""Requests that still have to be acknowledged to the broker."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from node.adapters.broker import Message


class Receipts:
    """Acknowledges messages in the order in which they came, whichever is done first."""

    def __init__(self, acknowledge: Callable[[Message], None]) -> None:
        self._acknowledge = acknowledge
        self._open: deque[Message] = deque()
        self._settled: set[tuple[int, int]] = set()

    def arrived(self, message: Message) -> None:
        """Note a message to acknowledge; those of QoS 0 need none, and share the number 0."""
        if message.receipt[1] != 0:
            self._open.append(message)

    def clear(self) -> None:
        """Forget all: the connection by which they came is gone."""
        self._open.clear()
        self._settled.clear()

    def settle(self, message: Message) -> None:
        """Acknowledge a message once all that came before it are acknowledged."""
        if all(each.receipt != message.receipt for each in self._open):
            return  # it came by an earlier connection
        self._settled.add(message.receipt)
        while self._open and self._open[0].receipt in self._settled:
            first = self._open.popleft()
            self._settled.discard(first.receipt)
            self._acknowledge(first)
