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

CLEAR = 0.4
"""Least correlation coefficient at the peak. On the tuning meetings 0.25 gave wrong lags where
nobody leaks, 0.35 none, and 0.45 still found every lag at -20 dB."""

CHANCE, SUREST = 0.75, 0.85
"""What speech that has nothing in common reaches by chance: `CHANCE` over the root of the seconds
in which both microphones heard something. Of 1,600 estimates of unrelated sentences none was above
it (99.9th percentile 0.71, 0.54, 0.43 and 0.34 after 0.8, 1.5, 2.5 and 4 s), where a leak of -20
to -6 dB gave 0.71 to 0.97. No more than `SUREST` is ever asked for."""

HEARD = 0.5
"""Nepers over the noise floor (and 1 more) in two bands from which a microphone hears something."""

DISTINCT = 1.25
"""How far the peak must stand above every other lag that is no neighbour of it."""

LEAST_ENERGY = 1.0
"""Energy (squared nepers, summed over bands and hops) without which nothing has been heard."""

FADING = 0.998
"""A peak that is seen no more counts half after 90 s of estimates."""

STEADY = 0.75
"""Hops by which an estimate must differ before the delay in use changes: no wavering."""


class Lags:
    """Delays between microphones, from the correlation of envelopes. Rows as in `Hearing`."""

    def __init__(self) -> None:
        self._mean: Floats = np.zeros((0, BANDS), np.float32)
        self._recent: Floats = np.zeros((LONGEST + 1, 0, BANDS), np.float32)
        self._shared: Floats = np.zeros((LONGEST + 1, 0, 0), np.float32)
        self.hops: npt.NDArray[np.int64] = np.zeros(0, np.int64)
        self.seconds: npt.NDArray[np.float64] = np.zeros(0)
        self.known: npt.NDArray[np.bool_] = np.zeros(0, np.bool_)
        self._strength, self._lag = np.zeros((0, 0)), np.zeros((0, 0))
        self._together: npt.NDArray[np.float64] = np.zeros((0, 0))

    def add(self) -> None:
        self._mean = np.pad(self._mean, ((0, 1), (0, 0)))
        self._recent = np.pad(self._recent, ((0, 0), (0, 1), (0, 0)))
        self._shared = np.pad(self._shared, ((0, 0), (0, 1), (0, 1)))
        self._together = np.pad(self._together, ((0, 1), (0, 1)))
        self._resize(len(self._mean))

    def remove(self, row: int) -> None:
        self._mean = np.delete(self._mean, row, axis=0)
        self._recent = np.delete(self._recent, row, axis=1)
        self._shared = np.delete(np.delete(self._shared, row, axis=1), row, axis=2)
        self._together = np.delete(np.delete(self._together, row, axis=0), row, axis=1)
        self._resize(len(self._mean))

    def learn(self, hearing: Hearing, tick: int) -> None:
        """Take one more tick of every microphone, as it stands on the timeline."""
        power, floor, _ = hearing.window(tick * HOPS, HOPS, np.zeros(len(self._mean), np.int64))
        above = np.maximum(np.log(power) - np.log(floor) - 1, 0)
        heard = (above > HEARD).sum(axis=2) >= 2
        for hop in range(HOPS):
            self._together *= FORGETTING
            self._together += np.outer(heard[:, hop], heard[:, hop]) * (HOP / SAMPLE_RATE)
            self._mean += np.float32(SLOW) * (above[:, hop] - self._mean)
            self._recent = np.roll(self._recent, 1, axis=0)
            self._recent[0] = above[:, hop] - self._mean
            # shared[l, a, b]: a now, b l hops ago.
            self._shared *= np.float32(FORGETTING)
            self._shared += self._recent[0] @ self._recent.transpose(0, 2, 1)

    def estimate(self) -> bool:
        """Find the delays anew from all that is remembered; says whether those in use changed."""
        strength, lag = self._peaks()
        count = len(lag)
        seconds, known = np.zeros(count), np.zeros(count, np.bool_)
        placed = [int(np.argmax(strength.max(axis=1)))] if count > 1 else []
        while placed:
            open_pairs = strength[placed] * ~np.isin(np.arange(count), placed)
            best = int(np.argmax(open_pairs))
            if open_pairs.flat[best] <= 0:
                break
            a, b = placed[best // count], best % count
            seconds[b] = seconds[a] + lag[a, b]
            known[[a, b]] = True
            placed.append(b)
        self.seconds = np.where(known, seconds - seconds[known].min(initial=0), 0)
        return self._use(known)

    def _use(self, known: npt.NDArray[np.bool_]) -> bool:
        exact = self.seconds * SAMPLE_RATE / HOP
        exact -= np.rint(exact.max(initial=0) / 2)
        changed = known & (~self.known | (np.abs(exact - self.hops) > STEADY))
        moved = bool((known != self.known).any() or (np.abs(exact - self.hops) > 1)[known].any())
        if changed.any():
            self.hops = np.where(known, np.rint(exact), 0).astype(np.int64)
        self.known = known
        return moved

    def _peaks(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Of each pair (a, b): how clear its peak is, and by how many seconds b is later."""
        count = len(self._mean)
        strength, lag = self._strength, self._lag
        strength *= FADING
        energy = np.sqrt(np.diagonal(self._shared[0])) + 1e-9
        for a in range(count):
            for b in range(a):
                # Index i: a is LONGEST - i hops earlier than b.
                curve = np.concatenate([self._shared[::-1, a, b], self._shared[1:, b, a]])
                curve = curve / (energy[a] * energy[b])
                at = int(np.argmax(curve))
                others = np.delete(curve, slice(max(0, at - 2), at + 3))
                chance = CHANCE / np.sqrt(self._together[a, b] + 1e-9)
                least = max(CLEAR, min(chance, SUREST))
                clear = curve[at] > least and curve[at] > DISTINCT * others.max()
                if clear and min(energy[a], energy[b]) > LEAST_ENERGY:
                    strength[a, b] = strength[b, a] = curve[at]
                    lag[a, b] = (_vertex(curve, at) - LONGEST) * HOP / SAMPLE_RATE
                    lag[b, a] = -lag[a, b]
        return strength, lag

    def _resize(self, count: int) -> None:
        self.hops = np.zeros(count, np.int64)
        self.seconds = np.zeros(count)
        self.known = np.zeros(count, np.bool_)
        self._strength, self._lag = np.zeros((count, count)), np.zeros((count, count))


def _vertex(curve: Floats, at: int) -> float:
    """Where the parabola through a peak and its neighbours is highest."""
    if not 0 < at < len(curve) - 1:
        return at
    before, peak, after = (float(value) for value in curve[at - 1 : at + 2])
    return at + 0.5 * (before - after) / (before - 2 * peak + after)
