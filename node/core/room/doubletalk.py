"""An utterance in which others spoke too, without them: cleaned, and judged by what is left.

Bands of a hundred hertz and more tell who speaks, but leave of two voices in one band either both
or neither. When an utterance has ended, and others spoke in it, what they leaked into it is
subtracted (see `subtraction`); whose each piece of it is can then be told far better than before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from node.core.room.hearing import HOP
from node.core.room.masking import FOREIGN_GAIN
from node.core.room.subtraction import EDGE, Stretch, subtract

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from node.core.room.hearing import Floats, Hearing
    from node.core.room.segmenter import Samples

    Shares = Callable[[int, int], tuple[Floats, Floats]]
    Whose = Callable[[int, int], npt.NDArray[np.int8]]

LOOKED_AT = 1800
"""Hops (29 s) of which it is learnt what others leak: all that is sure to be kept still."""

BEYOND = 4
"""Hops after an utterance that take part: a window reaches two, and two later frames."""

SPEAKS, VOICED, CLEARLY = 0.15, 0.35, 4.0
"""Own share, probability of speech, and loudness over the noise (nepers, summed over the bands),
from which a microphone's speaker is taken to speak within another's utterance. Of 79 who did on
the tuning meetings (-3 to -10 dB) none was missed, of 242 who did not five were taken for it."""

INTRUSION = 6
"""Hops (0.1 s) from which somebody's speech matters: no word is shorter."""

MOST_OTHERS = 4
"""Microphones by which one is explained: what it costs grows with their square."""

OWN = 0.35
"""Share of what is left from which a piece is the microphone's own. Measured on the tuning meetings
with -3 and -6 dB: 0.15 to 0.25 left a third to two thirds more errors, 0.45 lost as much again."""

AROUND = 8
"""Hops before and after one that are judged with it, as in `ownership`."""

SOFT = 64
"""Samples (4 ms) over which a piece begins and ends: no clicks."""


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What is left of an utterance, how many of its samples are its own, and the microphone whose
    speaker spoke most in it.
    """

    sound: Samples
    own_samples: int
    loudest: str


@dataclass(frozen=True, slots=True)
class DoubleTalk:
    """Cleans utterances. `shares` gives own shares and weights of some hops, see `Ownership`;
    `whose` who speaks in them, see `Arrivals`.
    """

    hearing: Hearing
    lags: npt.NDArray[np.int64]
    known: npt.NDArray[np.bool_]
    shares: Shares
    whose: Whose

    def rest(self, row: int, utterance: range, speech: tuple[int, int]) -> Cleaned | None:
        """An utterance of a microphone without the others' speech, by samples of the timeline.

        None where nobody else spoke in it, where it is longer than what is kept, or where too
        little has been heard to know what the others leak.
        """
        heard = self._heard(row, range(self._hop(row, speech[0]), self._hop(row, speech[1]) + 1))
        first, last = self._hop(row, utterance.start), self._hop(row, utterance.stop - 1) + 1
        begin = last + BEYOND - LOOKED_AT
        if heard.max() < INTRUSION or first < begin:
            return None
        own, weight = self.shares(begin, LOOKED_AT)
        rows = [row, *self._others(row, heard, (own * weight).sum(axis=(1, 2)))]
        sound = np.stack([self._sound(one, begin) for one in rows])
        left = subtract(Stretch(sound, own[rows]), first - begin, last - begin)
        if left is None:
            return None
        mine = _share(left.own, weight[row, first - begin : last - begin]) > OWN
        alone = self.whose(first, last - first)[row] > 0
        raw = sound[0, EDGE + (first - begin) * HOP :][: len(left.sound)]
        faded = _softly(np.repeat(alone, HOP), 0)
        whole = (left.sound + faded * (raw - left.sound)).astype(np.float32)
        skip = utterance.start - (first + int(self.lags[row])) * HOP
        cut = slice(skip, skip + len(utterance))
        return _rest(whole, mine | alone, cut, self.hearing.mics[heard.argmax()])

    def _hop(self, row: int, sample: int) -> int:
        """The hop of the common timeline in which a microphone's sample lies."""
        return sample // HOP - int(self.lags[row])

    def _sound(self, row: int, first: int) -> Floats:
        begin = (first + int(self.lags[row])) * HOP
        return self.hearing.sound(row, begin - EDGE, LOOKED_AT * HOP + 2 * EDGE)

    def _others(self, row: int, heard: npt.NDArray[np.int64], spoken: Floats) -> list[int]:
        """The microphones to explain this one by: those heard in the utterance, then those whose
        speakers have spoken most, for they do so while one is learnt from.
        """
        order = np.lexsort((-spoken, -heard)).tolist()
        return [one for one in order if self.known[one] and one != row][:MOST_OTHERS]

    def _heard(self, row: int, hops: range) -> npt.NDArray[np.int64]:
        """In how many hops the speaker of each other microphone speaks, of those connected."""
        first, count = hops.start - AROUND, len(hops) + 2 * AROUND
        voice = self.hearing.window(first, count, self.lags)[2]
        own, weight = self.shares(first, count)
        share = np.stack([_share(*one) for one in zip(own, weight, strict=True)])
        speaks = (share > SPEAKS) & (voice > VOICED) & (weight.sum(axis=2) > CLEARLY)
        heard = speaks[:, AROUND:-AROUND].sum(axis=1) * (self.known & self.known[row])
        heard[row] = 0
        return np.asarray(heard)


def _rest(sound: Floats, mine: npt.NDArray[np.bool_], cut: slice, loudest: str) -> Cleaned:
    """Cut sound to an utterance, and let what is not its own sink to the room's noise."""
    own = np.repeat(mine, HOP)[cut]
    audible = sound[cut] * _softly(own, FOREIGN_GAIN)
    whole: Samples = np.clip(np.rint(audible * 32768), -32768, 32767).astype(np.int16)
    return Cleaned(whole, int(own.sum()), loudest)


def _share(own: Floats, weight: Floats) -> Floats:
    """Own share of each hop, and those around it; silence is nobody's."""
    around = np.ones(2 * AROUND + 1)
    mine = np.convolve((own * weight).sum(axis=1), around)[AROUND:-AROUND]
    every = np.convolve(weight.sum(axis=1), around)[AROUND:-AROUND]
    share: Floats = (mine / np.maximum(every, 1e-6)).astype(np.float32)
    return share


def _softly(mine: npt.NDArray[np.bool_], least: float) -> npt.NDArray[np.float64]:
    """Gains of 1 for what is one's own, `least` for the rest, with soft edges."""
    window = np.hanning(SOFT + 2)[1:-1]
    padded = np.pad(np.maximum(mine, least), (SOFT // 2, SOFT - SOFT // 2 - 1), "edge")
    return np.convolve(padded, window / window.sum(), "valid")
