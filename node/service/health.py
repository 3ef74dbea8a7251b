"""The health record: what this process and this machine are doing."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MB = 1024 * 1024


class Machine:
    """Reads the numbers of the process and the machine. Owned by the main thread."""

    def __init__(self, storage: Path, sys_root: Path, clock: Callable[[], float]) -> None:
        self._storage = storage
        self._zone = sys_root / "class/thermal/thermal_zone0/temp"
        self._clock = clock
        self._started = self._measured_at = clock()
        self._cpu_s = _cpu_seconds()

    def uptime_s(self) -> float:
        return round(self._clock() - self._started, 1)

    def cpu_percent(self) -> float:
        """Share of one core used by this process and its ended children since the last call."""
        now, used = self._clock(), _cpu_seconds()
        share = 100 * (used - self._cpu_s) / max(now - self._measured_at, 0.001)
        self._measured_at, self._cpu_s = now, used
        return round(share, 1)

    def rss_mb(self) -> float:
        with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123  # a kernel's file
            pages = int(file.read().split()[1])
        return round(pages * os.sysconf("SC_PAGESIZE") / MB, 1)

    def temperature_c(self) -> float | None:
        try:
            return int(self._zone.read_text(encoding="ascii")) / 1000
        except (OSError, ValueError):  # many machines have no such sensor
            return None

    def disk_free_mb(self) -> float:
        return round(shutil.disk_usage(self._storage).free / MB, 1)


def _cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
