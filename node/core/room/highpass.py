"""Takes out what no voice has: a constant offset, and what wanders below the lowest tones.

A cheap converter adds an offset of a percent or two of full scale. It is louder than a distant
voice, so that every level that is measured is the offset's: voice detection takes speech for the
stillness of the room, and a bad microphone looks better than a good one.
"""

from __future__ import annotations

import functools
import itertools
import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from node.core.room.segmenter import Samples

    Doubles = npt.NDArray[np.float64]

CUTOFF_HZ = 20.0
"""Where the power is halved: the lower end of hearing. The lowest tones of a man's voice, 80 Hz,
lose 0.3 dB; an offset is gone after 50 ms."""

ROW = 64
"""Samples filtered by one matrix product: fewer cost more steps in Python, more cost more sums."""


class HighPass:
    """The DC blocker y[n] = x[n] - x[n-1] + R y[n-1] (Smith, Introduction to Digital Filters).

    One for each stream, whose blocks follow one another; their lengths do not matter. The first
    sample is taken to have lasted for ever: a stream does not begin with a click.
    """

    def __init__(self, rate: int) -> None:
        self._kept = math.exp(-2 * math.pi * CUTOFF_HZ / rate)
        self._before: int | None = None
        self._last = 0.0

    def __call__(self, samples: Samples) -> Samples:
        """The next int16 samples of the stream, filtered."""
        if not len(samples):
            return samples
        first = int(samples[0]) if self._before is None else self._before
        steps = np.diff(samples.astype(np.float64), prepend=first)
        sound = self._summed(steps)[: len(samples)]
        self._before, self._last = int(samples[-1]), float(sound[-1])
        return np.rint(sound).clip(-32768, 32767).astype(np.int16)

    def _summed(self, steps: Doubles) -> Doubles:
        """The recursion, in rows: what each makes of its own steps, and what is left from before.

        In double precision, for the sum of a row must not depend on where blocks end.
        """
        weight, left = _row(self._kept)
        rows = np.pad(steps, (0, -len(steps) % ROW)).reshape(-1, ROW) @ weight
        across = float(left[-1])
        ends = itertools.accumulate(
            rows[:-1, -1].tolist(), lambda last, own: last * across + own, initial=self._last
        )
        sound: Doubles = rows + np.outer(np.fromiter(ends, np.float64, len(rows)), left)
        return sound.ravel()


@functools.cache
def _row(kept: float) -> tuple[Doubles, Doubles]:
    """What each step adds to each later sample of a row, and what is left of the sample before."""
    decay: Doubles = kept ** np.arange(ROW + 1, dtype=np.float64)
    later = np.subtract.outer(np.arange(ROW), np.arange(ROW)).T
    return np.where(later >= 0, decay[np.abs(later)], 0.0), decay[1:]
