"""The health record: the state of this process and this machine."""

from __future__ import annotations

import os
import shutil
import time
from typing import TYPE_CHECKING

from node.core.model import MB

if TYPE_CHECKING:
    from pathlib import Path

    from node.adapters.store import Store
    from node.core.deadlines import Deadlines
    from node.core.mqtt.payloads import HealthPayload
    from node.service.publishing.publisher import Publisher
    from node.service.publishing.retained_states import RetainedStates
    from node.service.transcribing.transcriber import Transcriber

HEALTH_EVERY_S = 60.0

MIN_FREE_MB = 100
"""Free disk needed to start a session: an hour of four mics, all waiting, takes 460 MB."""


class SystemMetrics:
    """Reads figures of the process and the machine; owned by the main thread."""

    def __init__(self, storage: Path, sys_root: Path) -> None:
        self._storage = storage
        self._zone = sys_root / "class/thermal/thermal_zone0/temp"
        self._started = self._measured_at = time.monotonic()
        self._cpu_s = _cpu_seconds()

    def uptime_s(self) -> float:
        return round(time.monotonic() - self._started, 1)

    def cpu_percent(self) -> float:
        """Return the share of one core used since the last call, ended children included."""
        now, used = time.monotonic(), _cpu_seconds()
        share = 100 * (used - self._cpu_s) / max(now - self._measured_at, 0.001)
        self._measured_at, self._cpu_s = now, used
        return round(share, 1)

    def rss_mb(self) -> float:
        with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123  # a file of the kernel
            pages = int(file.read().split()[1])
        return round(pages * os.sysconf("SC_PAGESIZE") / MB, 1)

    def temperature_c(self) -> float | None:
        try:
            return int(self._zone.read_text(encoding="ascii")) / 1000
        except (OSError, ValueError):  # many machines have no such sensor
            return None

    def disk_free_mb(self) -> float:
        """Return the free space at `storage.path`; 0 if that folder is gone."""
        try:
            return round(shutil.disk_usage(self._storage).free / MB, 1)
        except OSError:
            return 0.0


class Health:
    """Collects and publishes the record; owned by the main thread."""

    def __init__(
        self,
        *,
        deadlines: Deadlines,
        system: SystemMetrics,
        store: Store,
        transcriber: Transcriber,
        publisher: Publisher,
        states: RetainedStates,
    ) -> None:
        self._deadlines = deadlines
        self._system = system
        self._store = store
        self._transcriber = transcriber
        self._publisher = publisher
        self._states = states
        self.dropped_s = 0.0
        self.lags_s: dict[str, float | None] = {}

    def start(self) -> None:
        """Publish the record now, and every `HEALTH_EVERY_S`."""
        self._deadlines.every(HEALTH_EVERY_S, self._publish)

    def hasten(self) -> None:
        """Publish the record at once, because of an important change."""
        self._deadlines.hasten(self._publish)

    def _publish(self, _now: float) -> None:
        self._states.health(self.record())

    def record(self) -> HealthPayload:
        """Return the current content of `T/health`."""
        rtf = self._transcriber.rtf
        return {
            "uptime_s": self._system.uptime_s(),
            "outbox": len(self._store.outbox),
            "set_aside": len(self._store.damage),
            "backlog_s": round(self._store.utterances.backlog_s(), 1),
            "rtf": round(rtf, 3) if rtf is not None else None,
            "lag_s": round(self._transcriber.lag_s, 2),
            "load": self._transcriber.load.label,
            "dropped_s": round(self.dropped_s, 2),
            "reconnects": max(0, self._publisher.connections - 1),
            "rss_mb": self._system.rss_mb(),
            "cpu_percent": self._system.cpu_percent(),
            "temperature_c": self._system.temperature_c(),
            "disk_free_mb": self._system.disk_free_mb(),
            "mic_lag_s": self.lags_s,
        }


def _cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
