"""How long tests wait: bounds in seconds of a machine that has nothing else to do.

Where others want the processors too, everything takes longer, and a bound stretches by as much as
there are processes to each processor. So it says the same on a quiet machine and on a busy one, and
no test fails because it was starved.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

LOAD = Path("/proc/loadavg")


class Patience:
    """Wait `seconds`, or longer by how crowded the processors are meanwhile.

    That is the mean of those who were ready to run whenever `over` was asked, or of the last
    minute where it was busier.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._began = time.monotonic()
        self._looks = self._ready = 0

    def over(self) -> bool:
        """Whether the time has passed."""
        minute, ready = _load()
        self._looks += 1
        self._ready += ready
        crowd = max(1.0, minute / _processors(), self._ready / self._looks / _processors())
        return time.monotonic() - self._began > self.seconds * crowd


def stretched(seconds: float) -> float:
    """What takes so long alone, as the processors were crowded in the last minute."""
    return seconds * max(1.0, _load()[0] / _processors())


def _load() -> tuple[float, int]:
    """Mean of the last minute, and how many are ready to run now beside this thread; proc(5)."""
    minute, _, _, now, _ = LOAD.read_text(encoding="ascii").split()
    return float(minute), int(now.partition("/")[0]) - 1


def _processors() -> int:
    return len(os.sched_getaffinity(0))
