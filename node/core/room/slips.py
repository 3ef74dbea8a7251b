"""How far the corrections of its clock have shifted a microphone's sound.

Where `timeline` doubles or leaves out samples, what follows lies later or earlier against every
other microphone than before, by 80 samples within a second. That is more than lies between two
people at a table. Whoever compares microphones to the sample needs to know.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

import numpy as np

from node.core.model import SAMPLE_RATE

if TYPE_CHECKING:
    import numpy.typing as npt

    Samples = npt.NDArray[np.int64]

REMEMBERED = 60 * SAMPLE_RATE
"""Samples for which corrections are remembered one by one: longer than sound is kept."""


class Slips:
    """The corrections of the last minute, and the sum of all before, in the order of `Hearing`."""

    def __init__(self) -> None:
        self._ends: list[list[int]] = []
        self._shifts: list[list[int]] = []

    def add(self) -> None:
        """Add a microphone whose clock has not been corrected yet."""
        self._ends.append([])
        self._shifts.append([0])

    def note(self, index: int, end: int, samples: int) -> None:
        """Before sample `end`, `samples` were doubled (+) or left out (-)."""
        ends, shifts = self._ends[index], self._shifts[index]
        ends.append(end)
        shifts.append(shifts[-1] + samples)
        while ends[0] < end - REMEMBERED:
            del ends[0], shifts[0]

    def any_between(self, index: int, first: int, last: int) -> bool:
        """Whether a microphone's clock was corrected between two samples."""
        ends = self._ends[index]
        return bisect_right(ends, first) < bisect_right(ends, last)

    def shift(self, index: int, at: Samples) -> Samples:
        """By how many samples corrections have made a microphone's sound later, at some samples."""
        return np.array(self._shifts[index])[np.searchsorted(self._ends[index], at, side="right")]
