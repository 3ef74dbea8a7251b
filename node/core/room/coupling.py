"""How loud every speaker is in every microphone: gains, couplings, and whether two heard one voice.

The *gain* of each microphone against the others comes from the two ends of the distribution of
their level difference: at one end the first microphone's own speaker talks, at the other the
second's, and the paths between two speakers are alike in both directions. The *coupling* g[a, b],
the level of a's speaker in b over that in a, is the median difference, band by band, while a alone
is clearly the loudest with gains taken out. Two microphones that hear one voice differ by nearly
the same level all the time (`one_voice`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from node.core.model import SAMPLE_RATE
from node.core.room.hearing import BANDS, HOP

if TYPE_CHECKING:
    import numpy.typing as npt

    from node.core.room.hearing import Floats

PRIOR_DB = -12.0
"""Coupling assumed before any is learned: below what leaks across a table, so that nobody is lost.
"""

LEAK_MARGIN = 2.0
"""Factor by which power must exceed what others are expected to leak (3 dB) to count as own."""

HIGHEST_DB = -1.0
"""Coupling is never taken to be higher than this, gains taken out: else nobody could own a word."""

COUPLED_LOUD_DB = 12.0
"""Level over the noise floor from which a band is used to learn couplings."""

ALONE_DB = 3.0
"""How far the loudest microphone must stand above the next for its speaker to count as alone."""

LARGEST_STEP_DB, SMALLEST_STEP_DB = 3.0, 0.15
"""Steps of the running median: the first ones find it within 0.2 s, the last ones hold it."""

CERTAIN_SPEECH = 0.5
"""Probability of speech above which levels are learned from."""

CONFIRMED_HOPS = 20
"""Hops (0.3 s) of one band after which what is learned weighs as much as the prior."""

RANGE_DB = 60
RANGE = 2 * RANGE_DB + 1
RANGE_FORGETTING = 1 - HOP / SAMPLE_RATE / 120
"""Level differences of the last 2 min of speech, in steps of 1 dB."""

END_MASS_S = 0.6
END_SHARE = 0.05
"""How much sound an end of the distribution must hold: two short words, or a twentieth of all."""

BOTH_SPEAK_DB = 8.0
"""Spread from which the two ends are two speakers: one alone spreads by 6 dB (measured)."""

SAME_DB = 10.0
"""Spread, from the 10th to the 90th percentile of loud bands and hops, below which the level
difference of two microphones is that of one voice. Measured in simulated rooms: 6.5 to 12 dB (now
and then 14) for somebody without a microphone, 12 to 26 dB for two who speak at once at -6 dB."""

COMPARED_LOUD = 10.0
"""Power over the noise floor, as a factor, from which a band's level difference is used."""

FLOOR_WEIGHT = 0.05
"""Weight of the noise floors, which tell of gains until speech does, against one pair of ends."""


@dataclass(frozen=True, slots=True)
class Levels:
    """Hops of all microphones, lags taken out: (microphones, hops, bands), and voice."""

    above_floor: Floats
    """Power over the noise floor, never below zero."""
    floor: Floats
    voice: Floats
    sounds: npt.NDArray[np.bool_]
    """Whether a microphone delivered any sound: (microphones, hops). One that is away, or switched
    off by its own button, tells nothing of how loud others are there."""

    def part(self, first: int, last: int) -> Levels:
        """Hops `first` to before `last`."""
        hops = slice(first, last)
        return Levels(
            self.above_floor[:, hops],
            self.floor[:, hops],
            self.voice[:, hops],
            self.sounds[:, hops],
        )

    def level_db(self) -> Floats:
        """Level of each hop, in which all bands weigh alike on average: (microphones, hops)."""
        weighted = (self.above_floor + self.floor * np.float32(0.3)) * _BAND_WEIGHTS
        level: Floats = 10 * np.log10(weighted.sum(axis=2))
        return level


_BAND_WEIGHTS = np.array([0.2, 0.3, 0.6, 1.0, 1.5, 2.0, 3.0, 4.0], np.float32)
"""Raises high bands by about 6 dB an octave, which is how much speech falls."""


class Coupling:
    """Gains and couplings of all microphones, in the order of `Hearing`."""

    def __init__(self) -> None:
        self._db: Floats = np.zeros((0, 0, BANDS), np.float32)
        self._count: Floats = np.zeros((0, 0, BANDS), np.float32)
        self._range: Floats = np.zeros((0, 0, RANGE), np.float32)
        self.gain_db: npt.NDArray[np.float64] = np.zeros(0)
        self._connected: npt.NDArray[np.bool_] = np.zeros(0, np.bool_)
        self.matrix: Floats = np.zeros((0, 0, BANDS), np.float32)
        self.inverse: Floats = np.zeros((BANDS, 0, 0), np.float32)

    def add(self) -> None:
        for name in ("_db", "_count", "_range"):
            setattr(self, name, np.pad(getattr(self, name), ((0, 1), (0, 1), (0, 0))))
        self.gain_db = np.pad(self.gain_db, (0, 1))
        self._connected = np.pad(self._connected, (0, 1))
        self._refresh()

    def learn(self, levels: Levels) -> None:
        """Take consecutive hops; they count where somebody speaks."""
        loud = levels.above_floor > levels.floor * 10 ** (COUPLED_LOUD_DB / 10)
        speech = (levels.voice > CERTAIN_SPEECH) & (loud.sum(axis=2) >= 2)
        level = levels.level_db().mean(axis=1)
        if not speech.any():
            return
        self._note_range(level, speech.any(axis=1), levels)
        calibrated = level - self.gain_db
        order = np.argsort(calibrated)
        owner = int(order[-1])
        if len(order) < 2 or calibrated[owner] - calibrated[order[-2]] < ALONE_DB:
            return
        if speech[owner].any():
            self._note_coupling(owner, levels, loud[owner] & speech[owner][:, None])

    def forget(self) -> None:
        """Start again: what was learned compared sounds that did not belong together."""
        self._db, self._count = np.zeros_like(self._db), np.zeros_like(self._count)
        self._range = np.zeros_like(self._range)

    def estimate(self, floor_db: npt.NDArray[np.float64], connected: npt.NDArray[np.bool_]) -> None:
        """Compute gains and couplings anew.

        Args:
            floor_db: levels of the noise floors.
            connected: which microphones are known to hear the same; the others hear only
                themselves.
        """
        self._connected = connected
        count = len(floor_db)
        normal = np.eye(count) * FLOOR_WEIGHT
        aim = FLOOR_WEIGHT * (floor_db - floor_db.mean())
        difference, weight = self._differences()
        normal += np.diag(weight.sum(axis=1)) - weight
        aim += (weight * difference).sum(axis=1)
        self.gain_db = np.linalg.solve(normal, aim)
        self._refresh()

    def _note_range(self, level: Floats, speech: npt.NDArray[np.bool_], levels: Levels) -> None:
        hops = levels.above_floor.shape[1]
        sounds = np.logical_and.reduce(levels.sounds, axis=1)
        difference = np.rint(level[:, None] - level[None, :]).clip(-RANGE_DB, RANGE_DB)
        heard = (speech[:, None] | speech[None, :]) & sounds[:, None] & sounds[None, :]
        a, b = np.nonzero(heard & ~np.eye(len(level), dtype=bool))
        self._range[a, b] *= np.float32(RANGE_FORGETTING**hops)
        self._range[a, b, difference[a, b].astype(int) + RANGE_DB] += hops

    def _differences(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Of each pair: by how many dB its gains differ, and how far to trust that (0-1).

        Each pair is computed once, so that both directions agree.
        """
        held = np.cumsum(self._range, axis=2)
        total = held[..., -1]
        mass = np.maximum(END_MASS_S * SAMPLE_RATE / HOP, END_SHARE * total)
        low = (held < mass[..., None]).sum(axis=2) - RANGE_DB
        high = (held < (total - mass)[..., None]).sum(axis=2) - RANGE_DB
        told = np.clip((high - low) / BOTH_SPEAK_DB - 1, 0, 1)
        weight = np.tril(np.where(total < 2 * mass, 0, told), -1)
        difference = np.tril((low + high) / 2, -1)
        return difference - difference.T, weight + weight.T

    def _note_coupling(self, owner: int, levels: Levels, loud: npt.NDArray[np.bool_]) -> None:
        power = np.maximum(levels.above_floor, levels.floor * np.float32(0.1))
        ratio = 10 * np.log10(power / power[owner])
        for hop in range(ratio.shape[1]):
            told = loud[hop] & levels.sounds[:, hop, None]
            self._count[owner] += told
            step = np.maximum(LARGEST_STEP_DB * 4 / (4 + self._count[owner]), SMALLEST_STEP_DB)
            first = self._count[owner] == 1
            moved = self._db[owner] + step * np.sign(ratio[:, hop] - self._db[owner])
            moved = np.where(first, ratio[:, hop], moved)
            self._db[owner] = np.where(told, moved, self._db[owner])

    def _refresh(self) -> None:
        gains = self.gain_db[None, :] - self.gain_db[:, None]
        weight = self._count / (self._count + CONFIRMED_HOPS)
        db = weight * self._db + (1 - weight) * (PRIOR_DB + gains[..., None])
        db = np.minimum(db, HIGHEST_DB + gains[..., None])
        count = len(self.gain_db)
        apart = ~(self._connected[:, None] & self._connected[None, :])
        matrix = np.where(apart[..., None], 0, 10 ** (db / 10))
        matrix[np.arange(count), np.arange(count)] = 1
        self.matrix = matrix.astype(np.float32)
        self.inverse = np.linalg.inv(self.matrix.transpose(2, 0, 1)).astype(np.float32)


def one_voice(power: Floats, loud: npt.NDArray[np.bool_]) -> bool:
    """Whether two microphones (2, hops, bands) differ alike in all bands and hops that are loud.

    Each band counts from its own median: gains and walls differ from band to band.
    """
    difference = 10 * np.log10(power[0] / power[1])
    bands = [band[told] for band, told in zip(difference.T, loud.T, strict=True) if told.any()]
    if not bands:
        return False
    varied = np.concatenate([band - np.median(band) for band in bands])
    low, high = np.percentile(varied, (10, 90))
    return bool(high - low < SAME_DB)
