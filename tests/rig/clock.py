"""A wall clock that tests can change, for a node under test.

The clock is faked where Python reads it: libfaketime (0.9.10) makes every `time.sleep` of Python
3.11 and later fail, and a test must not set the machine's clock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

HOUR_S = 3600

SHIFT = """\
import datetime, pathlib, time

REAL, FILE = time.time, pathlib.Path(__file__).with_name("shift_s")


def shift_s():
    return float(FILE.read_text())


class Shifted(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return super().now(tz) + datetime.timedelta(seconds=shift_s())


datetime.datetime = Shifted
time.time = lambda: REAL() + shift_s()
"""


class WallClock:
    """The wall clock of the Python processes that get `env`; `step_to` sets its offset in hours."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "shift_s"
        self.step_to(0)
        # Python imports this when it starts, before any module has imported a clock by name.
        (folder / "sitecustomize.py").write_text(SHIFT)
        self.env = {"PYTHONPATH": str(folder)}

    def step_to(self, hours: float) -> None:
        new = self._file.with_suffix(".new")
        new.write_text(f"{hours * HOUR_S}")
        new.replace(self._file)
