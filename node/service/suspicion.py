"""Which message makes the broker cut the connection: MQTT 3.1.1 has no other way to refuse one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable

SUSPECT_S = 5.0
"""A connection that ends so soon after a message was sent may have ended because of it."""

MAX_CUTS = 4
"""So many connections in a row that end on one message condemn it."""

ACK_TIMEOUT_S, SLOWEST_BYTES_PER_S = 10.0, 10_000.0
"""A connection that acknowledges nothing for so long, and for as long as what is on its way takes
over the slowest link, is dead though it seems to stand. mosquitto 2.0.11 drops acknowledgements
with all else when its queue for a client is full."""


@dataclass(frozen=True, slots=True)
class _Sent:
    key: Hashable
    size: int
    at: float


class Suspicion:
    """Follows every QoS 1 message on its way. Owned by the main thread.

    Of what is unacknowledged when a connection ends the largest message is suspected, for size is
    what brokers cut connections for. A connection on which nothing was acknowledged says nothing:
    such a link is bad, whatever is sent.
    """

    def __init__(self) -> None:
        self._on_the_way: dict[int, _Sent] = {}
        self._condemned: set[Hashable] = set()
        self._suspect: Hashable | None = None
        self._cuts = 0
        self._answered = False
        self._quiet_since = 0.0

    @property
    def active(self) -> bool:
        """Whether a message is suspected; others should then not be on their way with it."""
        return self._suspect is not None

    @property
    def waiting(self) -> int:
        """How many messages are not acknowledged yet."""
        return len(self._on_the_way)

    def unanswered(self, now: float) -> bool:
        """Whether acknowledgements have stayed away so long that they will not come any more."""
        if not self._on_the_way:
            return False
        size = sum(sent.size for sent in self._on_the_way.values())
        return now - self._quiet_since > ACK_TIMEOUT_S + size / SLOWEST_BYTES_PER_S

    def condemned(self, key: Hashable) -> bool:
        """Whether a message must not be sent again."""
        return key in self._condemned

    def sent(self, mid: int, key: Hashable, size: int, now: float) -> None:
        if not self._on_the_way:
            self._quiet_since = now
        self._on_the_way[mid] = _Sent(key, size, now)

    def acknowledged(self, mid: int, now: float) -> Hashable | None:
        """Take note of an answer; gives the key of its message."""
        sent = self._on_the_way.pop(mid, None)
        if sent is None:  # of QoS 0: it has left, which nobody has answered
            return None
        self._quiet_since = now
        self._answered = True
        if sent.key == self._suspect:
            self._suspect = None
        return sent.key

    def disconnected(self, now: float) -> None:
        """The connection has ended, or could not be made."""
        recent = [sent for sent in self._on_the_way.values() if now - sent.at < SUSPECT_S]
        if recent and self._answered:
            self._blame(max(recent, key=lambda sent: sent.size).key)
        self._on_the_way.clear()
        self._answered = False

    def _blame(self, key: Hashable) -> None:
        self._cuts = self._cuts + 1 if key == self._suspect else 1
        self._suspect = key
        if self._cuts >= MAX_CUTS:
            self._condemned.add(key)
            self._suspect = None
