"""The topics that a connection for work needs, asked for again where the broker refuses them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from node.adapters.broker import Acknowledged

FIRST_AGAIN_S, LONGEST_AGAIN_S = 60.0, 600.0
"""Wait before asking again for what was refused: the broker's access rules may have been corrected.
It doubles from the first to the second value."""


class Subscriptions:
    """Owned by the thread that owns the connection; monotonic times come in with the calls.

    `subscribe` asks the broker for a topic and returns the message's number, or None without a
    connection.
    """

    def __init__(self, subscribe: Callable[[str], int | None], filters: Collection[str]) -> None:
        self._subscribe = subscribe
        self._filters = filters
        self._asked: dict[int, str] = {}
        self._denied: dict[str, str] = {}
        self._again_at, self._again_s = math.inf, FIRST_AGAIN_S
        self._is_connected = False

    @property
    def are_granted(self) -> bool:
        """Whether the broker has acknowledged all of them."""
        return self._is_connected and not self._asked and not self._denied

    @property
    def refusal(self) -> str | None:
        """What the broker says of those that it refuses; None if there are none."""
        return next(iter(self._denied.values()), None)

    def begin(self) -> None:
        """Ask for all: there is a new connection."""
        self.end()
        self._is_connected = True
        self._ask(self._filters)

    def end(self) -> None:
        """Forget all: the connection is gone, or nothing is wanted any more."""
        self._is_connected = False
        self._asked.clear()
        self._denied.clear()
        self._again_at, self._again_s = math.inf, FIRST_AGAIN_S

    def look(self, now: float) -> None:
        """Ask again for what was refused, when it is time."""
        if now >= self._again_at:
            self._ask(sorted(self._denied))

    def acknowledged(self, item: Acknowledged, now: float) -> bool:
        """Take in an answer of the broker; return whether it is about one of these topics."""
        if item.mid not in self._asked:
            return False
        topic = self._asked.pop(item.mid)
        if item.refused is None:
            self._denied.pop(topic, None)
            return True
        self._denied[topic] = item.refused
        if self._again_at == math.inf:  # all that are refused are asked for together
            self._again_at = now + self._again_s
            self._again_s = min(LONGEST_AGAIN_S, 2 * self._again_s)
        return True

    def _ask(self, filters: Collection[str]) -> None:
        self._again_at = math.inf
        for topic in filters:
            mid = self._subscribe(topic)
            if mid is None:  # the connection is gone; that is about to be said
                self._is_connected = False
            else:
                self._asked[mid] = topic
