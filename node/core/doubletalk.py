"""An utterance in which others spoke too, without them: cleaned, and judged by what is left.

Bands of a hundred hertz and more tell who speaks, but leave of two voices in one band either both
or neither. When an utterance has ended, and others spoke in it, what they leaked into it is
subtracted (see `subtraction`); whose each piece of it is can then be told far better than before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from node.core.hearing import HOP
from node.core.masking import FOREIGN_GAIN
from node.core.subtraction import EDGE, Stretch, subtract

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from node.core.hearing import Floats, Hearing
    from node.core.segmenter import Samples

    Shares = Callable[[int, int], tuple[Floats, Floats]]

LOOKED_AT = 1800
"""Hops (29 s) of which it is learnt what others leak: all that is sure to be kept still."""

BEYOND = 4
"""Hops after an utterance that take part: a window reaches two, and two later frames."""

SPEAKS, CLEARLY = 0.3, 4.0
"""Own share, mean of the bands, and loudness over the noise, in nepers summed over the bands, from
which a microphone's speaker is taken to speak within another's utterance."""

INTRUSION = 6
"""Hops (0.1 s) from which somebody's speech matters: no word is shorter."""

OWN = 0.35
"""Share of what is left from which a piece is the microphone's own. Measured on the tuning meetings
with -3 and -6 dB: 0.15 to 0.25 left a third to two thirds more errors, 0.45 lost as much again."""

AROUND = 8
"""Hops before and after one that are judged with it, as in `ownership`."""

SOFT = 64
"""Samples (4 ms) over which a piece begins and ends: no clicks."""


@dataclass(frozen=True, slots=True)
class Rest:
    """What is left of an utterance, how many of its samples are its own, and the microphone whose
    speaker spoke most in it.
    """

    sound: Samples
    own_samples: int
    loudest: str


@dataclass(frozen=True, slots=True)
class DoubleTalk:
    """Cleans utterances. `shares` gives own shares and weights of some hops, see `Ownership`."""

    hearing: Hearing
    lags: npt.NDArray[np.int64]
    known: npt.NDArray[np.bool_]
    shares: Shares

    def rest(self, row: int, utterance: range, speech: tuple[int, int]) -> Rest | None:
        """An utterance of a microphone without the others' speech, by samples of the timeline.

        None where nobody else spoke in it, where it is longer than what is kept, or where too
        little has been heard to know what the others leak.
        """
        first = self._hop(row, utterance.start)
        last = self._hop(row, utterance.stop - 1) + 1
        begin = last + BEYOND - LOOKED_AT
        own, weight = self.shares(begin, LOOKED_AT)
        spoken = slice(self._hop(row, speech[0]) - begin, self._hop(row, speech[1]) - begin + 1)
        heard = self._speaking(row, own[:, spoken], weight[:, spoken])
        others = np.flatnonzero(heard >= INTRUSION)
        if not len(others) or first < begin:
            return None
        rows = [row, *others.tolist()]
        sound = [self._sound(one, begin) for one in rows]
        left = subtract(Stretch(np.stack(sound), own[rows]), first - begin, last - begin)
        if left is None:
            return None
        share = _share(left.own, weight[row, first - begin : last - begin])
        skip = utterance.start - (first + int(self.lags[row])) * HOP
        cut = slice(skip, skip + len(utterance))
        mine = np.repeat(share > OWN, HOP)[cut]
        audible = left.sound[cut] * _softly(mine)
        whole: Samples = np.clip(np.rint(audible * 32768), -32768, 32767).astype(np.int16)
        return Rest(whole, int(mine.sum()), self.hearing.mics[heard.argmax()])

    def _hop(self, row: int, sample: int) -> int:
        """The hop of the common timeline in which a microphone's sample lies."""
        return sample // HOP - int(self.lags[row])

    def _sound(self, row: int, first: int) -> Floats:
        begin = (first + int(self.lags[row])) * HOP
        return self.hearing.sound(row, begin - EDGE, LOOKED_AT * HOP + 2 * EDGE)

    def _speaking(self, row: int, own: Floats, weight: Floats) -> npt.NDArray[np.int64]:
        """Hops in which the speaker of each other microphone is heard, of those connected."""
        speaks = (own.mean(axis=2) > SPEAKS) & (weight.sum(axis=2) > CLEARLY)
        hops: npt.NDArray[np.int64] = np.where(self.known[row], speaks.sum(axis=1) * self.known, 0)
        hops[row] = 0
        return hops


def _share(own: Floats, weight: Floats) -> Floats:
    """Own share of each hop, and those around it; silence is nobody's."""
    around = np.ones(2 * AROUND + 1)
    mine = np.convolve((own * weight).sum(axis=1), around)[AROUND:-AROUND]
    every = np.convolve(weight.sum(axis=1), around)[AROUND:-AROUND]
    share: Floats = (mine / np.maximum(every, 1e-6)).astype(np.float32)
    return share


def _softly(mine: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Gains that keep what is one's own, and let the rest sink to the room's noise."""
    window = np.hanning(SOFT + 2)[1:-1]
    padded = np.pad(np.maximum(mine, FOREIGN_GAIN), (SOFT // 2, SOFT - SOFT // 2 - 1), "edge")
    return np.convolve(padded, window / window.sum(), "valid")
