"""What makes the broker cut the connection: MQTT 3.1.1 has no other way to refuse a publish."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

SUSPECT_S = 5.0
"""A connection that ends so soon after something was sent may have ended because of it."""

CONTROLS = (0, 6, 3)
"""On a connection whose end counts against a thing for the first, second and third time so many
others must have been answered before. The last time they are fewer: on a link that always lives
equally long it would then have been answered."""

MAX_CUTS = len(CONTROLS)
"""So many ends that count against a thing condemn it."""

SAFE_BYTES = 1024
"""No broker in use refuses a message of this size for its size."""

ACK_TIMEOUT_S, SLOWEST_BYTES_PER_S = 10.0, 10_000.0
"""A connection that acknowledges nothing for so long, and for as long as what is on its way takes
over the slowest link, is dead though it seems to stand. mosquitto 2.0.11 drops acknowledgements
with all else when its queue for a client is full."""


@dataclass(frozen=True, slots=True)
class Sent:
    """Something on its way. Several versions of one state have the same key.

    `topic` is the topic filter of a subscription, which has no `size`; that of a publish is its
    payload's, in bytes.
    """

    key: Hashable
    topic: str
    size: int | None
    at: float = 0.0

    @property
    def is_subscription(self) -> bool:
        return self.size is None


class Suspicion:
    """Follows all that is on its way to the broker. Owned by the main thread.

    Whatever is unanswered when a connection ends is suspected. While anything is, things go one
    by one, the worst suspect early: what is acknowledged is acquitted, and what was alone on its
    way at the end of one connection after the other is the cause of it. A message that is no
    larger than others the broker took was refused for its topic, which then gets nothing more.
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
        """Connections in a row that ended before they had served for anything."""

    @property
    def active(self) -> bool:
        """Whether anything is suspected; all must then be sent one by one."""
        return bool(self._cuts)

    @property
    def waiting(self) -> int:
        """How many things are not answered yet."""
        return len(self._on_the_way)

    def unanswered(self, now: float) -> bool:
        """Whether answers have stayed away so long that they will not come any more."""
        if not self._on_the_way:
            return False
        size = sum(sent.size or 0 for sent in self._on_the_way.values())
        return now - self._quiet_since > ACK_TIMEOUT_S + size / SLOWEST_BYTES_PER_S

    def limit(self, topic: str) -> int | None:
        """Payloads on this topic must be shorter, in bytes: 0 forbids all; None: no such limit."""
        return self._limits.get(topic)

    def bars(self, topic_filter: str) -> bool:
        """Whether a topic filter must not be subscribed to."""
        return topic_filter in self._barred

    def arranged(self, keys: Iterable[Hashable]) -> list[Hashable]:
        """In what order to send: the least suspected as controls, the worst suspects, the rest."""
        ranked = sorted(keys, key=lambda key: (self._cuts.get(key, 0), self._tries.get(key, 0)))
        worst = max(self._cuts.values(), default=0)
        controls, rest = ranked[: CONTROLS[worst]], ranked[CONTROLS[worst] :]
        return controls + sorted(rest, key=lambda key: -self._cuts.get(key, 0))

    def sent(self, mid: int, sent: Sent) -> None:
        if not self._on_the_way:
            self._quiet_since = sent.at
        self._on_the_way[mid] = sent

    def sent_fleeting(self, topic: str, size: int, now: float) -> None:
        """A message without an answer is on its way, until a later one is answered."""
        self._unproven[topic] = Sent(None, topic, size, now)

    def acknowledged(self, mid: int, now: float) -> Sent | None:
        """Take note of an answer; gives what it answers."""
        sent = self._on_the_way.pop(mid, None)
        if sent is None:  # of QoS 0: it has left, which nobody has answered
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
        """All is sent and answered: what is suspected still has been given up meanwhile."""
        self._cuts.clear()
        self._tries.clear()

    def disconnected(self, now: float) -> Sent | None:
        """The connection has ended, or could not be made; gives what is found to be the cause."""
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
        """What was alone on its way at an end; whether that condemns it."""
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
