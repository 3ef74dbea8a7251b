"""Finds what makes the broker disconnect: MQTT 3.1.1 has no other way to refuse a publish."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

SUSPECT_S = 5.0
"""A connection that ends within this time of a message being sent may have ended because of it."""

CONTROLS = (0, 6, 3)
"""How many other messages must have been acknowledged on a connection before its end counts against
the suspect, for the first, second and third time. The third number is lower: on a link that
always fails after the same time, the suspect is then sent early enough to be acknowledged."""

MAX_CUTS = len(CONTROLS)
"""A suspect is found guilty when this many disconnects count against it."""

SAFE_BYTES = 1024
"""No broker in use refuses a message of this size for being too large."""

ACK_TIMEOUT_S, SLOWEST_BYTES_PER_S = 10.0, 10_000.0
"""A connection without an acknowledgement for the timeout, plus the time that everything in flight
takes at this rate, is dead even if it looks alive. mosquitto 2.0.11 drops acknowledgements like all
other messages when its queue for a client is full."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A packet in flight. Several versions of one state have the same key.

    For a publish, `size` is the payload's in bytes. For a subscription it is None, and `topic` is
    its topic filter.
    """

    key: Hashable
    topic: str
    size: int | None
    at: float = 0.0

    @property
    def is_subscription(self) -> bool:
        return self.size is None


class Suspicion:
    """Tracks every packet in flight. Owned by the main thread.

    Whatever is unacknowledged when a connection ends becomes a suspect. While there are suspects,
    packets are sent one at a time, the worst suspect early: what is acknowledged is cleared, and
    what was alone in flight at the end of several connections is the cause. If the broker has
    accepted larger messages, this one was refused for its topic, and nothing more is sent there.
    """

    def __init__(self) -> None:
        self._on_the_way: dict[int, Sent] = {}
        self._unproven: dict[str, Sent] = {}
        self._cuts: dict[Hashable, int] = {}
        self._tries: dict[Hashable, int] = {}
        self._fleeting_cuts: dict[str, int] = {}
        self._limits: dict[str, int] = {}
        self._barred: set[str] = set()
        self._proven_bytes = SAFE_BYTES
        self._answers = 0
        self._quiet_since = 0.0
        self.fruitless = 0
        """Connections in a row that ended before they were of any use."""

    @property
    def active(self) -> bool:
        """Whether there are suspects, so that packets must be sent one at a time."""
        return bool(self._cuts)

    @property
    def waiting(self) -> int:
        """The number of packets not acknowledged yet."""
        return len(self._on_the_way)

    def unanswered(self, now: float) -> bool:
        """Return whether acknowledgements are so late that they will not come any more."""
        if not self._on_the_way:
            return False
        size = sum(sent.size or 0 for sent in self._on_the_way.values())
        return now - self._quiet_since > ACK_TIMEOUT_S + size / SLOWEST_BYTES_PER_S

    def limit(self, topic: str) -> int | None:
        """Return the bytes a payload on this topic must stay below: 0 for none, None for any."""
        return self._limits.get(topic)

    def bars(self, topic_filter: str) -> bool:
        """Return whether a topic filter must not be subscribed to."""
        return topic_filter in self._barred

    def arranged(self, keys: Iterable[Hashable]) -> list[Hashable]:
        """Return `keys` in sending order: the least suspected as controls, then the worst first."""
        ranked = sorted(keys, key=lambda key: (self._cuts.get(key, 0), self._tries.get(key, 0)))
        worst = max(self._cuts.values(), default=0)
        controls, rest = ranked[: CONTROLS[worst]], ranked[CONTROLS[worst] :]
        return controls + sorted(rest, key=lambda key: -self._cuts.get(key, 0))

    def sent(self, mid: int, sent: Sent) -> None:
        if not self._on_the_way:
            self._quiet_since = sent.at
        self._on_the_way[mid] = sent

    def sent_fleeting(self, topic: str, size: int, now: float) -> None:
        """Note a QoS 0 message, which counts as in flight until a later one is acknowledged."""
        self._unproven[topic] = Sent(None, topic, size, now)

    def acknowledged(self, mid: int, now: float) -> Sent | None:
        """Note an acknowledgement; return what it acknowledges."""
        sent = self._on_the_way.pop(mid, None)
        if sent is None:  # QoS 0: it was sent, but nobody acknowledged it
            return None
        self._quiet_since = now
        self._answers += 1
        self._acquit(sent.key)
        self._proven_bytes = max(self._proven_bytes, sent.size or 0)
        for topic, fleeting in list(self._unproven.items()):
            if fleeting.at < sent.at:
                del self._unproven[topic]
                self._fleeting_cuts.pop(topic, None)
        return sent

    def settle(self) -> None:
        """Clear all suspects: everything is acknowledged, so those left are no longer sent."""
        self._cuts.clear()
        self._tries.clear()

    def disconnected(self, now: float) -> Sent | None:
        """Note that the connection has ended or could not be made; return the cause once found."""
        recent = [sent for sent in self._on_the_way.values() if now - sent.at < SUSPECT_S]
        fleeting = [sent for sent in self._unproven.values() if now - sent.at < SUSPECT_S]
        alone = recent if len(self._on_the_way) == 1 else []
        guilty = [sent for sent in alone if self._counts_against(sent)]
        guilty += [sent for sent in fleeting if self._counts_against_fleeting(sent)]
        for sent in recent:
            self._cuts.setdefault(sent.key, 1)
        if recent:
            self.fruitless = 0 if self._answers >= CONTROLS[-1] else self.fruitless + 1
        self._on_the_way.clear()
        self._unproven.clear()
        self._answers = 0
        return self._condemn(guilty[0]) if guilty else None

    def _counts_against(self, sent: Sent) -> bool:
        """Count a disconnect against the only packet in flight; return whether it is now guilty."""
        cuts = self._cuts.get(sent.key, 0)
        if self._answers >= CONTROLS[cuts]:
            self._cuts[sent.key] = cuts + 1
        else:
            self._tries[sent.key] = self._tries.get(sent.key, 0) + 1
        return self._cuts.get(sent.key, 0) == MAX_CUTS

    def _counts_against_fleeting(self, sent: Sent) -> bool:
        if self._answers >= CONTROLS[-1]:
            self._fleeting_cuts[sent.topic] = self._fleeting_cuts.get(sent.topic, 0) + 1
        return self._fleeting_cuts.get(sent.topic, 0) >= MAX_CUTS

    def _acquit(self, key: Hashable) -> None:
        self._cuts.pop(key, None)
        self._tries.pop(key, None)

    def _condemn(self, sent: Sent) -> Sent:
        self._acquit(sent.key)
        self._fleeting_cuts.pop(sent.topic, None)
        if sent.size is None:
            self._barred.add(sent.topic)
        else:
            self._limits[sent.topic] = 0 if sent.size <= self._proven_bytes else sent.size
        return sent
