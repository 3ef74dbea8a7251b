"""How much later each microphone's sound arrives on the timeline, found from what they share.

USB devices differ in their delay by up to 200 ms, which no clock shows. What leaks from one
microphone into another does: the correlation of their band envelopes peaks at the difference of
their delays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from node.core.model import SAMPLE_RATE
from node.core.room.hearing import HOP, HOPS_PER_TICK

if TYPE_CHECKING:
    import numpy.typing as npt

    from node.core.room.hearing import Floats, Hearing

LONGEST_LAG = 13
"""Hops (208 ms): the longest delay between two microphones that is searched."""

FORGETTING = 1 - HOP / SAMPLE_RATE / 30
"""The correlation remembers 30 s of sound, in which a drift of 100 ppm makes 3 ms."""

SLOW = 0.06
"""Weight of a hop in the mean taken off an envelope (0.27 s): syllables stay, loudness goes."""

SETTLING_HOPS = 32
"""Hops (0.5 s) from which that mean is computed: everything earlier weighs 14 %."""

LEAST_CORRELATION = 0.4
"""Lowest correlation coefficient of a peak. On the tuning meetings 0.25 gave wrong lags where
nobody leaks, 0.35 gave none, and 0.45 still found every lag at -20 dB."""

CHANCE, MOST_ASKED = 0.75, 0.85
"""What unrelated speech reaches by chance: `CHANCE` over the root of the seconds in which both
microphones heard something. Of 1,600 estimates of unrelated sentences none was above it (99.9th
percentile 0.71, 0.54, 0.43 and 0.34 after 0.8, 1.5, 2.5 and 4 s); a leak of -20 to -6 dB gave 0.71
to 0.97. No more than `MOST_ASKED` is ever required."""

LEAST_S, EARLY = 1.3, 0.91
"""Seconds heard by both before which a peak must exceed `EARLY`: four who began at once, with
nothing in common, reached 0.85 to 0.90 within 1.2 s."""

HEARD_NEPERS = 0.5
"""Nepers over the noise floor (plus 1) in two bands from which a microphone hears something."""

DISTINCT_LAG = 1.25
"""How far the peak must stand above every lag that is not its neighbour."""

LEAST_ENERGY = 1.0
"""Energy (squared nepers, summed over bands and hops) below which nothing has been heard."""

FADING = 0.998
"""A peak that is not seen again counts half after 90 s of estimates."""

STEADY_HOPS = 0.75
"""Hops by which an estimate must differ before the delay in use changes, so that it does not waver.
"""


class Lags:
    """Delays between microphones, from the correlation of envelopes, in the order of `Hearing`."""

    def __init__(self) -> None:
        self._shared: Floats = np.zeros((LONGEST_LAG + 1, 0, 0), np.float32)
        self.hops: npt.NDArray[np.int64] = np.zeros(0, np.int64)
        self.seconds: npt.NDArray[np.float64] = np.zeros(0)
        self.known: npt.NDArray[np.bool_] = np.zeros(0, np.bool_)
        self._strength, self._lag = np.zeros((0, 0)), np.zeros((0, 0))
        self._together: npt.NDArray[np.float64] = np.zeros((0, 0))

    def add(self) -> None:
        self._shared = np.pad(self._shared, ((0, 0), (0, 1), (0, 1)))
        self._together = np.pad(self._together, ((0, 1), (0, 1)))
        self._resize(len(self._together))

    def restart(self) -> None:
        """Find all delays anew; those in use hold until then.

        What two microphones had in common is weighed by what each of them heard meanwhile, so one
        that starts again takes the others with it.
        """
        self._shared[:], self._together[:] = 0, 0

    def learn(self, hearing: Hearing, first: int, last: int) -> None:
        """Take ticks `first` to before `last` of every microphone, as they stand on the timeline.

        They need not follow those taken before.
        """
        begin, count = (
            first * HOPS_PER_TICK - LONGEST_LAG - SETTLING_HOPS,
            (last - first) * HOPS_PER_TICK,
        )
        lags = np.zeros(len(hearing.mics), np.int64)
        power, floor, _ = hearing.window(begin, SETTLING_HOPS + LONGEST_LAG + count, lags)
        above = np.maximum(np.log(power / floor) - 1, 0)
        varied = (above - _slow_mean(above))[:, SETTLING_HOPS:]
        heard = ((above > HEARD_NEPERS).sum(axis=2) >= 2)[:, SETTLING_HOPS + LONGEST_LAG :]
        faded = FORGETTING ** np.arange(count - 1, -1, -1, dtype=np.float32)
        self._together *= FORGETTING**count
        self._together += (heard * faded) @ heard.T * (HOP / SAMPLE_RATE)
        # shared[l, a, b]: a now, b l hops ago.
        self._shared *= np.float32(FORGETTING**count)
        now = (varied[:, LONGEST_LAG:] * faded[:, None]).reshape(len(lags), -1)
        for lag in range(LONGEST_LAG + 1):
            then = varied[:, LONGEST_LAG - lag : LONGEST_LAG - lag + count]
            self._shared[lag] += now @ then.reshape(len(lags), -1).T

    def estimate(self) -> bool:
        """Find the delays anew from all that is remembered; returns whether those in use did
        change.
        """
        strength, lag = self._peaks()
        count = len(lag)
        seconds, known = np.zeros(count), np.zeros(count, np.bool_)
        placed = [int(np.argmax(strength.max(axis=1)))]
        while (open_pairs := strength[placed] * ~np.isin(np.arange(count), placed)).any():
            best = int(np.argmax(open_pairs))
            a, b = placed[best // count], best % count
            seconds[b] = seconds[a] + lag[a, b]
            known[[a, b]] = True
            placed.append(b)
        self.seconds = np.where(known, seconds - seconds[known].min(initial=0), 0)
        return self._use(known)

    def _use(self, known: npt.NDArray[np.bool_]) -> bool:
        exact = self.seconds * SAMPLE_RATE / HOP
        exact -= np.rint(exact.max(initial=0) / 2)
        changed = known & (~self.known | (np.abs(exact - self.hops) > STEADY_HOPS))
        moved = bool((known != self.known).any() or (np.abs(exact - self.hops) > 1)[known].any())
        if changed.any():
            self.hops = np.where(known, np.rint(exact), 0).astype(np.int64)
        self.known = known
        return moved

    def _peaks(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Of each pair (a, b): how clear its peak is, and by how many seconds b is later."""
        strength, lag = self._strength, self._lag
        strength *= FADING
        energy = np.sqrt(np.diagonal(self._shared[0])) + 1e-9
        # Index i: a is LONGEST_LAG - i hops earlier than b.
        curves = np.concatenate([self._shared[::-1], self._shared[1:].transpose(0, 2, 1)])
        curves = curves / np.outer(energy, energy)
        at = curves.argmax(axis=0)
        peak = curves.max(axis=0)
        beside = np.abs(np.arange(len(curves))[:, None, None] - at) > 2
        others = np.where(beside, curves, -1).max(axis=0)
        chance = np.minimum(CHANCE / np.sqrt(self._together + 1e-9), MOST_ASKED)
        clear = (peak > np.maximum(LEAST_CORRELATION, chance)) & (peak > DISTINCT_LAG * others)
        clear &= np.minimum.outer(energy, energy) > LEAST_ENERGY
        clear &= (self._together > LEAST_S) | (peak > EARLY)
        for a, b in np.argwhere(np.tril(clear, -1)):
            strength[a, b] = strength[b, a] = peak[a, b]
            lag[a, b] = (vertex(curves[:, a, b], int(at[a, b])) - LONGEST_LAG) * HOP / SAMPLE_RATE
            lag[b, a] = -lag[a, b]
        return strength, lag

    def _resize(self, count: int) -> None:
        self.hops = np.zeros(count, np.int64)
        self.seconds = np.zeros(count)
        self.known = np.zeros(count, np.bool_)
        self._strength, self._lag = np.zeros((count, count)), np.zeros((count, count))


def _slow_mean(above: Floats) -> Floats:
    """Exponential mean over hops, shape (microphones, hops, bands), from the first one on."""
    hops = above.shape[1]
    back = np.subtract.outer(np.arange(hops), np.arange(hops))
    weight = np.where(back >= 0, SLOW * (1 - SLOW) ** np.abs(back), 0)
    weight[:, 0] = (1 - SLOW) ** np.arange(hops)
    mean: Floats = weight.astype(np.float32) @ above
    return mean


def vertex(curve: npt.NDArray[np.floating[Any]], at: int) -> float:
    """Where the parabola through a peak and its two neighbours is highest."""
    if not 0 < at < len(curve) - 1:
        return at
    before, peak, after = (float(value) for value in curve[at - 1 : at + 2])
    return at + 0.5 * (before - after) / (before - 2 * peak + after)


def drifts(*, step_ppm: int) -> npt.NDArray[np.float64]:
    """Drifts between two clocks to try, in seconds a second: USB crystals keep to 100 ppm each."""
    tried: npt.NDArray[np.float64] = np.arange(-220, 221, step_ppm) * np.float64(1e-6)
    return tried
