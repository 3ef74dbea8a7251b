"""An utterance in which others spoke too: cleaned of them, and judged by what is left.

Bands of a hundred hertz and more tell who speaks, but not two voices in one band apart. When an
utterance has ended and others spoke in it, what they leaked into it is subtracted (see
`subtraction`); then it is far clearer whose each piece of it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from node.core.room.hearing import HOP, SPEECH, SYLLABLE_HOPS
from node.core.room.masking import FOREIGN_GAIN
from node.core.room.subtraction import EDGE, Stretch, subtract

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from node.core.room.endpointing import Samples
    from node.core.room.hearing import Floats, Hearing

    Shares = Callable[[int, int], tuple[Floats, Floats]]
    Whose = Callable[[int, int], npt.NDArray[np.int8]]

LEARNED_HOPS = 1800
"""Hops (29 s) from which the others' leaks are learned: all that is sure to be still kept."""

HOPS_BEYOND = 4
"""Hops after an utterance that take part: a window reaches two, and there are two later frames."""

INTRUDER_SHARE, INTRUDER_NEPERS = 0.15, 4.0
"""Own share, and loudness over the noise (nepers, summed over the bands), above which a
microphone's speaker is taken to speak within another's utterance, if the detector hears speech
there too. Of 79 who did on the tuning meetings (-3 to -10 dB) none was missed; of 242 who did not,
five were taken for it."""

INTRUSION_HOPS = 6
"""Shortest speech of another that matters (0.1 s): no word is shorter."""

MOST_OTHERS = 4
"""Microphones that explain another at most: the cost grows with their square."""

OWN_SHARE = 0.25
"""Share of what is left from which a piece is the microphone's own. Wrong words of the real `base`
on 32 tuning meetings of recorded voices (-2 to -10 dB): 22.7 % with 0.35, 21.9 % with 0.25. What is
cut by mistake cannot be written any more: with 0.35 that was 1.4 points. With the rest turned down
by 20 instead of 40 dB it would be 21.7 %, but where hardly anything is a microphone's own, the
others' words are written there once more."""

FADE_SAMPLES = 64
"""Samples (4 ms) over which a piece fades in and out, so that it does not click."""


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
    `whose` tells who speaks in them, see `Arrivals`.
    """

    hearing: Hearing
    lags: npt.NDArray[np.int64]
    known: npt.NDArray[np.bool_]
    shares: Shares
    whose: Whose

    def cleaned(self, index: int, utterance: range, speech: tuple[int, int]) -> Cleaned | None:
        """A microphone's utterance without the others' speech, by samples of the timeline.

        None if nobody else spoke in it, if it is longer than what is kept, or if too little has
        been heard to know what the others leak.
        """
        heard = self._heard(
            index, range(self._hop(index, speech[0]), self._hop(index, speech[1]) + 1)
        )
        first, last = self._hop(index, utterance.start), self._hop(index, utterance.stop - 1) + 1
        begin = last + HOPS_BEYOND - LEARNED_HOPS
        if heard.max() < INTRUSION_HOPS or first < begin:
            return None
        own, weight = self.shares(begin, LEARNED_HOPS)
        indices = [index, *self._others(index, heard, (own * weight).sum(axis=(1, 2)))]
        sound = np.stack([self._beside(index, one, begin, first) for one in indices])
        left = subtract(Stretch(sound, own[indices]), first - begin, last - begin)
        if left is None:
            return None
        mine = _share(left.own, weight[index, first - begin : last - begin]) > OWN_SHARE
        alone = self.whose(first, last - first)[index] > 0
        raw = sound[0, EDGE + (first - begin) * HOP :][: len(left.sound)]
        faded = _faded(np.repeat(alone, HOP), 0)
        whole = (left.sound + faded * (raw - left.sound)).astype(np.float32)
        skip = utterance.start - (first + int(self.lags[index])) * HOP
        cut = slice(skip, skip + len(utterance))
        return _cut_to(whole, mine | alone, cut, self.hearing.mics[heard.argmax()])

    def _hop(self, index: int, sample: int) -> int:
        """The hop of the common timeline in which a microphone's sample lies."""
        return sample // HOP - int(self.lags[index])

    def _sound(self, index: int, first: int) -> Floats:
        begin = (first + int(self.lags[index])) * HOP
        return self.hearing.sound(index, begin - EDGE, LEARNED_HOPS * HOP + 2 * EDGE)

    def _beside(self, index: int, other: int, begin: int, first: int) -> Floats:
        """Sound of another microphone as it stands beside the first one's at hop `first`.

        Corrections of either clock are undone: a filter is fitted to all of it, and can follow a
        clock that drifts but none that jumps.
        """
        sound = self._sound(other, begin)
        at = begin * HOP - EDGE + np.arange(len(sound))
        if other == index or not self._corrected((index, other), int(at[0]), int(at[-1])):
            return sound
        steps = self._apart(index, other, at)
        steps -= self._apart(index, other, np.array([first * HOP]))
        undone: Floats = sound[np.clip(np.arange(len(sound)) + steps, 0, len(sound) - 1)]
        return undone

    def _corrected(self, indices: tuple[int, ...], first: int, last: int) -> bool:
        """Whether one of the clocks was corrected between two samples of the common timeline."""
        late = [(index, int(self.lags[index]) * HOP) for index in indices]
        slips = self.hearing.slips
        return any(slips.any_between(index, first + by, last + by) for index, by in late)

    def _apart(self, index: int, other: int, at: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """By how many samples corrections have made the other later than the first."""
        own, others = (
            self.hearing.slips.shift(one, at + int(self.lags[one]) * HOP) for one in (index, other)
        )
        return others - own

    def _others(self, index: int, heard: npt.NDArray[np.int64], spoken: Floats) -> list[int]:
        """The microphones that explain this one: first those heard in the utterance, then those
        whose speakers have spoken most, as they also do in what is learned from.
        """
        order = np.lexsort((-spoken, -heard)).tolist()
        return [one for one in order if self.known[one] and one != index][:MOST_OTHERS]

    def _heard(self, index: int, hops: range) -> npt.NDArray[np.int64]:
        """In how many hops each other microphone's speaker speaks, of those connected."""
        first, count = hops.start - SYLLABLE_HOPS, len(hops) + 2 * SYLLABLE_HOPS
        voice = self.hearing.window(first, count, self.lags)[2]
        own, weight = self.shares(first, count)
        share = np.stack([_share(*one) for one in zip(own, weight, strict=True)])
        speaks = (
            (share > INTRUDER_SHARE) & (voice > SPEECH) & (weight.sum(axis=2) > INTRUDER_NEPERS)
        )
        heard = speaks[:, SYLLABLE_HOPS:-SYLLABLE_HOPS].sum(axis=1) * (
            self.known & self.known[index]
        )
        heard[index] = 0
        return np.asarray(heard)


def _cut_to(sound: Floats, mine: npt.NDArray[np.bool_], cut: slice, loudest: str) -> Cleaned:
    """Cut sound to an utterance, and turn what is not its own down to the room's noise."""
    own = np.repeat(mine, HOP)[cut]
    audible = sound[cut] * _faded(own, FOREIGN_GAIN)
    whole: Samples = np.clip(np.rint(audible * 32768), -32768, 32767).astype(np.int16)
    return Cleaned(whole, int(own.sum()), loudest)


def _share(own: Floats, weight: Floats) -> Floats:
    """Own share of each hop and those around it; silence is nobody's."""
    around = np.ones(2 * SYLLABLE_HOPS + 1)
    mine = np.convolve((own * weight).sum(axis=1), around)[SYLLABLE_HOPS:-SYLLABLE_HOPS]
    every = np.convolve(weight.sum(axis=1), around)[SYLLABLE_HOPS:-SYLLABLE_HOPS]
    share: Floats = (mine / np.maximum(every, 1e-6)).astype(np.float32)
    return share


def _faded(mine: npt.NDArray[np.bool_], least: float) -> npt.NDArray[np.float64]:
    """Gains of 1 for own speech and `least` for the rest, with soft edges."""
    window = np.hanning(FADE_SAMPLES + 2)[1:-1]
    padded = np.pad(
        np.maximum(mine, least), (FADE_SAMPLES // 2, FADE_SAMPLES - FADE_SAMPLES // 2 - 1), "edge"
    )
    return np.convolve(padded, window / window.sum(), "valid")
