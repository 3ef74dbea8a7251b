"""Who speaks, by when sound arrives: it reaches the nearest microphone first.

A speaker's own microphone hears them some milliseconds before another one, however loud each is set
and however much leaks. The delay between two microphones, of path and devices together, is found in
each window by generalised cross-correlation with phase transform (Knapp & Carter 1976): every voice
gives a peak of its own. For each place that somebody speaks from, the peaks gather at one delay.
Over a minute, with the drift of the clocks taken out, these places can be told apart. Nobody's
sound can reach the first microphone earlier, against the second, than that of somebody right at it:
so the two outermost places belong to the two speakers, if both have spoken. Loudness has to agree,
as each speaker is louder at their own microphone. If it tells nothing, a voice from one end is at
least not that of the other end's speaker. If only one place has been heard, nothing is said.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from node.core.model import SAMPLE_RATE, TICK
from node.core.room.hearing import BAND_EDGES_HZ, HOP, HOPS_PER_TICK, KEPT_TICKS, bin_hz
from node.core.room.lags import LONGEST_LAG, drifts

if TYPE_CHECKING:
    import numpy.typing as npt

    from node.core.room.hearing import Hearing

    Doubles = npt.NDArray[np.float64]
    Ticks = npt.NDArray[np.int64]
    Flags = npt.NDArray[np.bool_]

WINDOW_SAMPLES = 4096
"""Samples (256 ms) that are correlated: about a syllable, and ten times the longest path."""

STEP_TICKS = 2
"""Ticks (64 ms) from one window to the next."""

HALF_WINDOW_TICKS = WINDOW_SAMPLES // TICK // 2
"""Ticks from the middle of a window to either end."""

KEPT_WINDOWS = KEPT_TICKS // STEP_TICKS
"""Windows kept: as far back as sound is."""

REACH_SAMPLES = 640
"""Samples (40 ms) searched on each side of the delay known in hops: a hop, 5 m of air, and drift.
"""

MOST_PEAKS = 4
"""Voices heard at once whose delays are kept."""

PEAKS_APART = 12
"""Samples (0.75 ms, 0.26 m of air) around a peak, or a place, in which there is no other."""

CLEAR_PEAK = 7.0
"""Height of a peak over the spread of its correlation. In simulated rooms (0.25 to 0.5 s of
reverberation) speech gave 10 to 20, noise less than 5."""

WHITENING = 0.85
"""Exponent of the phase transform: with 1, a frequency without any voice would count like the
others."""

REMEMBERED_S = 60.0

LEAST_SEEN = 12
"""Windows (0.8 s) with a clear peak from which places are looked for."""

LEAST_MASS, LEAST_SHARE = 5, 0.04
"""Windows in which a place must be heard: this many, and this share of all."""

BIN_SAMPLES = 4
"""Samples in a bin of the histogram of delays; three bins make one place."""

LOUDER_DB = 0.7
"""How far the level difference of two microphones must differ between their two speakers, for both
to be known: two places of one voice, heard directly and by way of a wall, differ by nothing. On 32
tuning meetings of -2 and -3 dB 24.2 % of the words are wrong with it, and 25.6 % with 1.5 dB, with
which one of eight pairs at -2 dB was never told apart."""

CLOSEST_DB = 3.0
"""How much louder a voice must be at a microphone, gains taken out, than at one whose speaker has
not been heard yet: it may be that speaker, who sits behind this microphone as seen from the others.
And how much louder a voice from this one's end may be at the other before it is taken for an echo.
"""

PLACE_RADIUS = 10
"""Samples by which a peak may miss its place: a head that moves by 0.2 m."""

PEAKS_BETWEEN_ESTIMATES = 32
"""Clear peaks (of one pair, 2 s of speech) after which places are found anew."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where delays gather: in samples at second 0, and the median level difference in dB."""

    delay: float
    level_db: float


class Arrivals:
    """Delays of voices between all pairs of microphones, in the order of `Hearing`.

    A delay is how many samples later the second microphone of a pair is, as if no clock had been
    corrected. Arrays are symmetric in their first two axes, except `_place`: [a, b] is the
    outermost place on a's side, [b, a] the one on b's. Two such places are `_apart`; they are
    `_known` to be those of the two speakers if loudness agrees.
    """

    def __init__(self) -> None:
        self._fresh = 0
        self._since: Ticks = np.zeros(0, np.int64)
        self._begin(0)

    def add(self) -> None:
        self._since = np.append(self._since, 0)
        self._begin(len(self._known) + 1)

    def forget(self, index: int, tick: int) -> None:
        """Find a microphone's places anew: from `tick` on, its delay may be another."""
        self._since[index] = tick + HALF_WINDOW_TICKS + LONGEST_LAG // HOPS_PER_TICK + 1
        for flags in (self._apart, self._known):
            flags[index], flags[:, index] = False, False
        for pair, seen in self._seen.items():
            if index in pair:
                seen.clear()

    def learn(self, hearing: Hearing, lags: npt.NDArray[np.int64], middle: int) -> None:
        """Take the window around tick `middle`, a multiple of STEP_TICKS, with the sound `lags`
        later.
        """
        spectra, power = _heard(hearing, lags, middle)
        at = middle // STEP_TICKS % KEPT_WINDOWS
        self._middle[at] = middle
        first, second = _pairs(len(lags))
        delay, height = _peaks(spectra[first], spectra[second])
        late = lags * HOP - _shifts(hearing, lags, middle)
        delay += (late[second] - late[first])[:, None]
        for kept, found in ((self._delay, delay), (self._height, height)):
            kept[first, second, at] = kept[second, first, at] = found
        level = 10 * np.log10(power[first] / power[second])
        self._level[first, second, at], self._level[second, first, at] = level, -level
        clear = (height[:, 0] >= CLEAR_PEAK) & (middle >= self._from()[first, second])
        self._note(middle * TICK / SAMPLE_RATE, delay[:, 0], clear, level)

    def estimate(self) -> bool:
        """Find all places anew if enough has been heard; returns whether it did."""
        if self._fresh < PEAKS_BETWEEN_ESTIMATES:
            return False
        self._fresh = 0
        for (a, b), seen in self._seen.items():
            if len(seen) >= LEAST_SEEN:
                self._place_voices(a, b, np.array(seen))
        return True

    @property
    def known_pairs(self) -> int:
        """The number of pairs of microphones whose speakers' places are both known."""
        return int(self._known.sum()) // 2

    def whose(self, ticks: Ticks, gain_db: Doubles) -> npt.NDArray[np.int8]:
        """Who speaks in ticks: 1 if a microphone's speaker alone, -1 if others but not they, 0 if
        unknown.

        Shape (microphones, ticks). `gain_db` says how sensitive each microphone is.
        """
        at = ticks // STEP_TICKS % KEPT_WINDOWS
        held = self._held(ticks)
        known, apart = held & self._known[..., None], held & self._apart[..., None]
        outermost = self._outermost(at, ticks, apart)
        heard = known & outermost
        pairs = np.maximum(known.sum(axis=1), 1)
        louder_db = self._level[:, :, at] - np.subtract.outer(gain_db, gain_db)[..., None]
        ahead = outermost & ~outermost.swapaxes(0, 1) & (louder_db > -CLOSEST_DB)
        closest = known | ahead | (louder_db >= CLOSEST_DB)
        speaks = (heard.sum(axis=1) > pairs / 2) & closest.all(axis=1)
        another = np.where(known, ~heard, ahead.swapaxes(0, 1))
        result = np.zeros(speaks.shape, np.int8)
        result[speaks & (speaks.sum(axis=0) == 1)] = 1
        result[~speaks & (another & speaks[None]).any(axis=1)] = -1
        return result

    def _outermost(self, at: Ticks, ticks: Ticks, apart: Flags) -> Flags:
        """[m, n, tick]: in the pair of m and n a voice is heard from the place nearest to m.

        That is where m's speaker is, if they have spoken, and not n's, who would be heard from the
        other end. It may be an echo of n's, which is louder at n.
        """
        drift = self._drift[..., None] * (ticks * (TICK / SAMPLE_RATE))
        place = self._place[..., None] + drift
        clear = self._height[:, :, at] >= CLEAR_PEAK
        near = np.abs(self._delay[:, :, at] - place[..., None]) <= PLACE_RADIUS
        outermost: Flags = apart & (clear & near).any(axis=-1)
        return outermost

    def _held(self, ticks: Ticks) -> Flags:
        """Of each pair and tick: whether delays are held in the window there, and hold still."""
        windows = ticks // STEP_TICKS
        learned = self._middle[windows % KEPT_WINDOWS] == windows * STEP_TICKS
        held: Flags = np.greater_equal(ticks, self._from()[..., None]) & learned
        return held

    def _from(self) -> Ticks:
        """Of each pair: the first tick at which both microphones have the delays of now."""
        return np.maximum.outer(self._since, self._since)

    def _note(self, second: float, delay: Doubles, clear: Flags, level: Doubles) -> None:
        """Keep the clearest peak of each pair, for a minute."""
        for pair, seen in enumerate(self._seen.values()):
            if clear[pair]:
                seen.append((second, float(delay[pair]), float(level[pair])))
            while seen and seen[0][0] < second - REMEMBERED_S:
                seen.pop(0)
        self._fresh += int(clear.any())

    def _place_voices(self, a: int, b: int, seen: Doubles) -> None:
        """Find the speakers of a pair in what was seen: (windows, 3) seconds, delays and levels."""
        seconds, delay, level = seen.T
        spread = [_sharpness(delay - SAMPLE_RATE * drift * seconds) for drift in DRIFTS]
        drift = SAMPLE_RATE * float(DRIFTS[int(np.argmax(spread))])
        places = sorted(_places(delay - drift * seconds, level), key=lambda place: place.delay)
        apart = known = len(places) > 1
        if apart:
            second, first = places[0], places[-1]
            known = first.level_db - second.level_db >= LOUDER_DB
            self._place[a, b], self._place[b, a] = first.delay, second.delay
            self._drift[a, b] = self._drift[b, a] = drift
        self._apart[a, b] = self._apart[b, a] = apart
        self._known[a, b] = self._known[b, a] = known

    def _begin(self, count: int) -> None:
        self._delay = np.zeros((count, count, KEPT_WINDOWS, MOST_PEAKS))
        self._height = np.zeros((count, count, KEPT_WINDOWS, MOST_PEAKS))
        self._level = np.zeros((count, count, KEPT_WINDOWS))
        self._level[np.arange(count), np.arange(count)] = np.inf  # no other microphone
        self._middle = np.full(KEPT_WINDOWS, -1, np.int64)
        self._seen: dict[tuple[int, int], list[tuple[float, float, float]]] = {
            (a, b): [] for a, b in zip(*_pairs(count), strict=True)
        }
        self._fresh = 0
        self._apart, self._known = np.zeros((2, count, count), np.bool_)
        self._drift = np.zeros((count, count))
        self._place = np.zeros((count, count))


@cache
def _pairs(count: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    first, second = np.triu_indices(count, 1)
    return first, second


def _heard(
    hearing: Hearing, lags: npt.NDArray[np.int64], middle: int
) -> tuple[npt.NDArray[np.complex64], Doubles]:
    """Spectra and powers of all microphones in the window around a tick."""
    begin = (middle - HALF_WINDOW_TICKS) * TICK
    indices = enumerate(lags.tolist())
    sound = np.stack(
        [hearing.sound(index, begin + lag * HOP, WINDOW_SAMPLES) for index, lag in indices]
    )
    sound *= _HANN
    power = np.einsum("ij,ij->i", sound, sound).astype(np.float64) + 1e-12
    return np.fft.rfft(sound).astype(np.complex64), power


def _shifts(hearing: Hearing, lags: npt.NDArray[np.int64], middle: int) -> npt.NDArray[np.int64]:
    """How much later the clocks' corrections have made all microphones in that window."""
    at = enumerate(middle * TICK + lags * HOP)
    return np.array([hearing.slips.shift(index, sample) for index, sample in at])


def _peaks(
    first: npt.NDArray[np.complex64], second: npt.NDArray[np.complex64]
) -> tuple[Doubles, Doubles]:
    """Delays in samples and heights of the highest peaks of each pair: (pairs, MOST_PEAKS)."""
    cross = first.conj() * second
    cross *= _IN_BAND / (np.abs(cross) ** np.float32(WHITENING) + np.float32(1e-20))
    curve = np.fft.irfft(cross, WINDOW_SAMPLES)
    curve = np.concatenate([curve[:, -REACH_SAMPLES:], curve[:, : REACH_SAMPLES + 1]], axis=1)
    curve /= curve.std(axis=1, keepdims=True) + 1e-12
    pairs = np.arange(len(curve))
    delay, height = np.zeros((2, len(curve), MOST_PEAKS))
    for peak in range(MOST_PEAKS):
        at = curve.argmax(axis=1)
        delay[:, peak], height[:, peak] = at - REACH_SAMPLES, curve[pairs, at]
        around = np.clip(at[:, None] + _BESIDE_PEAK, 0, curve.shape[1] - 1)
        curve[pairs[:, None], around] = -np.inf
    return delay, height


def _histogram(delay: Doubles) -> tuple[npt.NDArray[np.int64], int]:
    """How many delays lie in each bin and its neighbours, and which bin is the first."""
    bins = np.rint(delay / BIN_SAMPLES).astype(np.int64)
    first = int(bins.min()) - 1
    counts = np.bincount(bins - first, minlength=int(bins.max()) - first + 2)
    return np.convolve(counts, np.ones(3, np.int64), "same"), first


def _sharpness(delay: Doubles) -> int:
    return int(np.square(_histogram(delay)[0]).sum())


def _places(delay: Doubles, level: Doubles) -> list[_Place]:
    """Where delays gather, each with its median level difference."""
    counts, first = _histogram(delay)
    least = max(LEAST_MASS, LEAST_SHARE * len(delay))
    places = []
    while counts.max() >= least:
        at = int(counts.argmax())
        members = np.abs(np.rint(delay / BIN_SAMPLES) - (at + first)) <= 1
        places.append(_Place(float(np.median(delay[members])), float(np.median(level[members]))))
        counts[max(0, at - PEAKS_APART // BIN_SAMPLES) : at + PEAKS_APART // BIN_SAMPLES + 1] = 0
    return places


DRIFTS = drifts(step_ppm=10)

_HANN = np.hanning(WINDOW_SAMPLES).astype(np.float32)
_BIN_HZ = bin_hz(WINDOW_SAMPLES)
_IN_BAND = ((BAND_EDGES_HZ[0] <= _BIN_HZ) & (BAND_EDGES_HZ[-1] >= _BIN_HZ)).astype(np.float32)
_BESIDE_PEAK = np.arange(-PEAKS_APART, PEAKS_APART + 1)
