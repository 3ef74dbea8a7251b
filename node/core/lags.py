"""How much later each microphone's sound arrives on the timeline, found from what they share.

USB devices differ in their delay by up to 200 ms, which no clock shows. What leaks from one
microphone into another does: the correlation of two microphones' band envelopes peaks at the
difference of their delays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from node.core.hearing import BANDS, HOP, HOPS
from node.core.model import SAMPLE_RATE

if TYPE_CHECKING:
    import numpy.typing as npt

    from node.core.hearing import Floats, Hearing

LONGEST = 13
"""Hops (208 ms): the longest delay between two microphones that is looked for."""

FORGETTING = 1 - HOP / SAMPLE_RATE / 30
"""The correlation remembers 30 s of sound, over which a drift of 100 ppm is 3 ms."""

SLOW = 0.06
"""Share of a hop in the mean taken off an envelope (0.27 s): syllables stay, loudness goes."""

CLEAR = 0.25
"""Least correlation coefficient at the peak. Measured: see tests/bench/accuracy."""

DISTINCT = 1.25
"""How far the peak must stand above every other lag that is no neighbour of it."""


class Lags:
    """Delays between microphones, from the correlation of envelopes. Rows as in `Hearing`."""

    def __init__(self) -> None:
        self._mean: Floats = np.zeros((0, BANDS), np.float32)
        self._recent: Floats = np.zeros((LONGEST + 1, 0, BANDS), np.float32)
        self._shared: Floats = np.zeros((LONGEST + 1, 0, 0), np.float32)
        self.hops: npt.NDArray[np.int64] = np.zeros(0, np.int64)
        self.seconds: npt.NDArray[np.float64] = np.zeros(0)
        self.known: npt.NDArray[np.bool_] = np.zeros(0, np.bool_)

    def add(self) -> None:
        self._mean = np.pad(self._mean, ((0, 1), (0, 0)))
        self._recent = np.pad(self._recent, ((0, 0), (0, 1), (0, 0)))
        self._shared = np.pad(self._shared, ((0, 0), (0, 1), (0, 1)))
        self._resize(len(self._mean))

    def remove(self, row: int) -> None:
        self._mean = np.delete(self._mean, row, axis=0)
        self._recent = np.delete(self._recent, row, axis=1)
        self._shared = np.delete(np.delete(self._shared, row, axis=1), row, axis=2)
        self._resize(len(self._mean))

    def learn(self, hearing: Hearing, tick: int) -> None:
        """Take one more tick of every microphone, as it stands on the timeline."""
        power, floor, _ = hearing.window(tick * HOPS, HOPS, np.zeros(len(self._mean), np.int64))
        above = np.maximum(np.log(power) - np.log(floor) - 1, 0)
        for hop in range(HOPS):
            self._mean += np.float32(SLOW) * (above[:, hop] - self._mean)
            self._recent = np.roll(self._recent, 1, axis=0)
            self._recent[0] = above[:, hop] - self._mean
            # shared[l, a, b]: a now, b l hops ago.
            self._shared *= np.float32(FORGETTING)
            self._shared += self._recent[0] @ self._recent.transpose(0, 2, 1)

    def estimate(self) -> None:
        """Find the delays anew from all that is remembered."""
        self._resize(len(self._mean))
        strength, lag = self._peaks()
        placed = {int(np.argmax(strength.max(axis=1, initial=0)))} if len(lag) > 1 else set()
        while placed and len(placed) < len(lag):
            options = [(strength[a, b], a, b) for a in placed for b in range(len(lag))]
            best, a, b = max(o for o in options if o[2] not in placed)
            if best <= 0:
                break
            self.seconds[b] = self.seconds[a] + lag[a, b]
            self.known[[a, b]] = True
            placed.add(b)
        if self.known.any():
            self.seconds[self.known] -= self.seconds[self.known].min()
        hops = np.rint(self.seconds * SAMPLE_RATE / HOP).astype(np.int64)
        self.hops = np.where(self.known, hops - hops.max(initial=0) // 2, 0).clip(-LONGEST, LONGEST)

    def _peaks(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Of each pair (a, b): how clear its peak is, and by how many seconds b is later."""
        count = len(self._mean)
        strength, lag = np.zeros((count, count)), np.zeros((count, count))
        energy = np.sqrt(np.diagonal(self._shared[0])) + 1e-9
        for a in range(count):
            for b in range(a):
                # Index i: a is LONGEST - i hops earlier than b.
                curve = np.concatenate([self._shared[::-1, a, b], self._shared[1:, b, a]])
                curve = curve / (energy[a] * energy[b])
                at = int(np.argmax(curve))
                others = np.delete(curve, slice(max(0, at - 2), at + 3))
                clear = curve[at] > CLEAR and curve[at] > DISTINCT * others.max()
                strength[a, b] = strength[b, a] = curve[at] if clear else 0
                lag[a, b] = (_vertex(curve, at) - LONGEST) * HOP / SAMPLE_RATE
                lag[b, a] = -lag[a, b]
        return strength, lag

    def _resize(self, count: int) -> None:
        self.hops = np.zeros(count, np.int64)
        self.seconds = np.zeros(count)
        self.known = np.zeros(count, np.bool_)


def _vertex(curve: Floats, at: int) -> float:
    """Where the parabola through a peak and its neighbours is highest."""
    if not 0 < at < len(curve) - 1:
        return at
    before, peak, after = (float(value) for value in curve[at - 1 : at + 2])
    return at + 0.5 * (before - after) / (before - 2 * peak + after)
