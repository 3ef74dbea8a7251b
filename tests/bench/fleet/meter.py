"""What a run needs: bytes and messages by the broker's own count, and processor time."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Self

import psutil

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.rig.mqtt import Watcher

COUNTS = (
    "$SYS/broker/bytes/received",
    "$SYS/broker/bytes/sent",
    "$SYS/broker/publish/messages/received",
    "$SYS/broker/publish/messages/sent",
)
UPTIME = "$SYS/broker/uptime"
CLIENTS = "$SYS/broker/clients/connected"
EVERY = "sys_interval 1"
"""Line of mosquitto's configuration: publish the counts each second."""

COUNT_TIMEOUT_S = 30


@dataclass(frozen=True, slots=True)
class Traffic:
    """What the broker has received and sent, acknowledgements and all else included in bytes."""

    bytes_in: int
    bytes_out: int
    messages_in: int
    messages_out: int

    @classmethod
    def now(cls, watcher: Watcher) -> Self:
        """Return the counts up to now or a little later.

        Each second the broker publishes its uptime, then the counts that have changed.
        """
        for _ in range(2):
            watcher.wait_for(UPTIME, COUNT_TIMEOUT_S, watcher.count())
        found = (watcher.messages(topic) for topic in COUNTS)
        return cls(*(int(messages[-1].text) if messages else 0 for messages in found))

    def __sub__(self, earlier: Self) -> Traffic:
        return Traffic(*(a - b for a, b in zip(astuple(self), astuple(earlier), strict=True)))


@dataclass(frozen=True, slots=True)
class Processors:
    """Processor seconds by who used them; `machine` are all that were used, `idle` all others."""

    parts: dict[str, float]
    machine: float
    idle: float

    @classmethod
    def now(cls, who: Mapping[str, Sequence[int]]) -> Self:
        """Return the use by processes with these ids, up to now; those that are gone have none."""
        every = psutil.cpu_times()
        idle = every.idle + every.iowait
        parts = {name: sum(map(_used_s, pids)) for name, pids in who.items()}
        return cls(parts, sum(every[:8]) - idle, idle)

    def __sub__(self, earlier: Self) -> Processors:
        parts = {name: used - earlier.parts[name] for name, used in self.parts.items()}
        return Processors(parts, self.machine - earlier.machine, self.idle - earlier.idle)

    @property
    def busy(self) -> float:
        """Share of the machine's processor time that was used, by anybody."""
        return self.machine / (self.machine + self.idle)


def _used_s(pid: int) -> float:
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)
