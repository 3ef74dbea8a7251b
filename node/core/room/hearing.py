"""What every microphone of a room heard lately: its sound, and its band powers every 16 ms.

Bands rather than whole levels, because two people who speak at once are mostly loud in different
bands: each microphone then still shows its own speaker.
"""

from __future__ import annotations

import functools
import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from node.core.model import SAMPLE_RATE, TICK
from node.core.room.slips import Slips

if TYPE_CHECKING:
    import numpy.typing as npt

    from node.core.room.endpointing import Samples

    Floats = npt.NDArray[np.float32]
    Doubles = npt.NDArray[np.float64]

HOP = TICK // 2
"""Samples between two power measurements (16 ms): half of their window, so that no sound is missed.
"""

HOPS_PER_TICK = TICK // HOP

BAND_EDGES_HZ = (200, 400, 630, 920, 1270, 1720, 2700, 4400, 7000)
"""Every second to fourth edge of Zwicker's critical bands (1961), without the hum below 200 Hz."""

BANDS = len(BAND_EDGES_HZ) - 1

KEPT_TICKS = 1024
"""Ticks kept (33 s): an utterance of at most 29 s is judged once more when it ends."""

KEPT_HOPS = KEPT_TICKS * HOPS_PER_TICK

SYLLABLE_HOPS = 8
"""Hops before and after one that are judged with it (128 ms): about a syllable each way."""

SPEECH = 0.35
"""Probability of speech from which a hop counts as spoken: Silero's threshold for speech that goes
on."""

NEVER = -(1 << 40)
"""A tick before any other."""

LEAST_POWER = 1e-12
"""Lowest power of a band: what rounding to 16 bits leaves in it."""

FLOOR_SMOOTHING = 0.15
"""Weight of a new hop in the level whose minimum is the noise floor: about 0.1 s of memory."""

FLOOR_TICKS = 8
FLOOR_BLOCKS = 9
"""Ticks in a block (0.26 s), and blocks whose lowest level is the noise floor. They make 2.3 s, in
which every band of speech pauses (minimum statistics, Martin 2001, take 1.5 s; rooms echo longer).
"""


class Hearing:
    """Band powers, noise floors and speech probabilities of the last half minute.

    The first axis is microphones: `power` and `floor` have shape (microphones, hops, bands) and
    hold hop `h` at `h % KEPT_HOPS`.
    """

    def __init__(self) -> None:
        self.mics: list[str] = []
        self.slips = Slips()
        self.power: Floats = np.zeros((0, KEPT_HOPS, BANDS), np.float32)
        self.floor: Floats = np.zeros((0, KEPT_HOPS, BANDS), np.float32)
        self.voice: Floats = np.zeros((0, KEPT_TICKS), np.float32)
        self._sound: Samples = np.zeros((0, KEPT_TICKS, TICK), np.int16)
        self._tick: npt.NDArray[np.int64] = np.zeros((0, KEPT_TICKS), np.int64)
        self._last: Floats = np.zeros((0, HOP), np.float32)
        self._smooth: Floats = np.zeros((0, BANDS), np.float32)
        self._least: Floats = np.zeros((0, FLOOR_BLOCKS, BANDS), np.float32)
        self._block = -1

    def add(self, mic: str) -> None:
        """Add a microphone, which has heard nothing yet."""
        self.mics.append(mic)
        self.slips.add()
        self.power = _grown(self.power, LEAST_POWER)
        self.floor = _grown(self.floor, LEAST_POWER)
        self.voice = _grown(self.voice, 0)
        self._sound = _grown(self._sound, 0)
        self._tick = _grown(self._tick, NEVER)
        self._last = _grown(self._last, 0)
        self._smooth = _grown(self._smooth, 0)
        self._least = _grown(self._least, np.inf)

    def hear(self, first: int, sound: dict[str, Samples], voices: dict[str, Floats]) -> None:
        """Take what microphones heard of consecutive ticks, the same ticks for all of them.

        Args:
            first: the first of n ticks.
            sound: 512 n samples of each microphone.
            voices: n probabilities of speech of each microphone.
        """
        indices = np.array([self.mics.index(mic) for mic in sound])
        heard = np.stack([samples.ravel() for samples in sound.values()])
        wide = heard.astype(np.float32)
        wide /= np.float32(32768)
        powers = band_powers(np.concatenate([self._last[indices], wide], axis=1))
        self._last[indices] = wide[:, -HOP:]
        count = wide.shape[1] // TICK
        ticks = np.arange(first, first + count)
        at = np.ix_(indices, ticks % KEPT_TICKS)
        self.voice[at] = np.stack([voices[mic] for mic in sound])
        self._sound[at] = heard.reshape(len(indices), count, TICK)
        self._tick[at] = ticks
        at = np.ix_(
            indices, np.arange(first * HOPS_PER_TICK, (first + count) * HOPS_PER_TICK) % KEPT_HOPS
        )
        self.power[at] = powers
        self.floor[at] = self._floors(indices, powers, first)

    def window(
        self, first: int, count: int, lags: npt.NDArray[np.int64]
    ) -> tuple[Floats, Floats, Floats]:
        """Powers, floors (microphones, count, bands) and voice (microphones, count).

        `first` counts hops. Microphone m is read `lags[m]` hops later, and is silent where it has
        no tick.
        """
        hops = (first + np.arange(count))[None, :] + lags[:, None]
        indices = np.arange(len(self.mics))[:, None]
        heard = self._tick[indices, hops // HOPS_PER_TICK % KEPT_TICKS] == hops // HOPS_PER_TICK
        power = np.where(heard[..., None], self.power[indices, hops % KEPT_HOPS], LEAST_POWER)
        voice = np.where(heard, self.voice[indices, hops // HOPS_PER_TICK % KEPT_TICKS], 0)
        return power, self.floor[indices, hops % KEPT_HOPS], voice

    def sound(self, index: int, first: int, count: int) -> Floats:
        """`count` samples of a microphone in [-1, 1]; zeros where it has heard nothing."""
        return self.samples(index, first, count).astype(np.float32) / np.float32(32768)

    def samples(self, index: int, first: int, count: int) -> Samples:
        """The same as int16."""
        ticks = np.arange(first // TICK, -(-(first + count) // TICK))
        heard = self._tick[index, ticks % KEPT_TICKS] == ticks
        sound = np.where(heard[:, None], self._sound[index, ticks % KEPT_TICKS], 0).ravel()
        begin = first % TICK
        heard_there: Samples = sound[begin : begin + count]
        return heard_there

    def _floors(self, indices: npt.NDArray[np.int64], powers: Floats, first: int) -> Floats:
        """Noise floors of hops; a block of the minimum ends where its ticks do."""
        floors = []
        tick, last = first, first + powers.shape[1] // HOPS_PER_TICK
        while tick < last:
            if tick // FLOOR_TICKS > self._block:
                self._block = tick // FLOOR_TICKS
                self._end_floor_block()
            end = min(last, (tick // FLOOR_TICKS + 1) * FLOOR_TICKS)
            part = powers[:, (tick - first) * HOPS_PER_TICK : (end - first) * HOPS_PER_TICK]
            floors.append(self._follow_floor(indices, part))
            tick = end
        return np.concatenate(floors, axis=1)

    def _follow_floor(self, indices: npt.NDArray[np.int64], power: Floats) -> Floats:
        """Noise floors of hops of one block.

        Zeros are not quiet sound but no sound: a filled gap, a padded recording, a muted device.
        """
        sound = power > 2 * LEAST_POWER
        if not sound.all() and power.shape[1] > 1:
            hops = [self._follow_floor(indices, hop) for hop in np.split(power, power.shape[1], 1)]
            return np.concatenate(hops, axis=1)
        last = self._smooth[indices]
        last = np.where(last == 0, power[:, 0], last)
        smooth = _smoothed(last, power)
        self._smooth[indices] = np.where(sound[:, -1], smooth[:, -1], self._smooth[indices])
        least = self._least[indices]
        heard = np.where(sound, smooth, np.float32(np.inf))
        lowest = np.minimum(np.minimum.accumulate(heard, axis=1), least[:, :1])
        self._least[indices, 0] = lowest[:, -1]
        floor: Floats = np.minimum(lowest, least[:, 1:].min(axis=1)[:, None])
        return np.where(np.isfinite(floor), floor, np.maximum(power, np.float32(LEAST_POWER)))

    def _end_floor_block(self) -> None:
        self._least = np.roll(self._least, 1, axis=1)
        self._least[:, 0] = np.inf


def _grown(array: npt.NDArray[Any], value: float) -> npt.NDArray[Any]:
    """An array with one more microphone, filled with a value."""
    return np.concatenate([array, np.full((1, *array.shape[1:]), value, array.dtype)])


def _smoothed(last: Floats, power: Floats) -> Floats:
    """Exponential mean of hops, shape (n, hops, bands), continuing from `last` (n, bands)."""
    kept, weight = _smoothing(power.shape[1])
    smooth: Floats = kept * last[:, None] + weight @ power
    return smooth


@functools.cache
def _smoothing(hops: int) -> tuple[Floats, Floats]:
    """What is left of the mean (hops, 1), and what each hop adds to each later one (hops, hops)."""
    kept = (1 - FLOOR_SMOOTHING) ** np.arange(hops + 1)
    back = np.subtract.outer(np.arange(hops), np.arange(hops))
    weight = np.where(back >= 0, FLOOR_SMOOTHING * kept[np.abs(back)], 0)
    return kept[1:, None].astype(np.float32), weight.astype(np.float32)


def band_powers(sound: Floats) -> Floats:
    """Band powers of each hop: sound (n, HOP + samples) gives (n, hops, BANDS)."""
    windows = np.lib.stride_tricks.sliding_window_view(sound, TICK, axis=1)[:, ::HOP]
    spectrum = np.fft.rfft(windows * _ANALYSIS_WINDOW)
    density = spectrum.real**2 + spectrum.imag**2
    powers: Floats = (density @ _BINS_OF_BAND).astype(np.float32) + np.float32(LEAST_POWER)
    return powers


def bin_hz(size: int) -> Doubles:
    """Frequency of each bin of a Fourier transform of so many samples."""
    return np.fft.rfftfreq(size, 1 / SAMPLE_RATE).astype(np.float64)


def band_of_bin(size: int) -> npt.NDArray[np.int64]:
    """Band of each bin of a Fourier transform of so many samples; outer bins join the end bands."""
    bands = np.searchsorted(BAND_EDGES_HZ, bin_hz(size), side="right") - 1
    return np.clip(bands, 0, BANDS - 1)


def periodic_hann(size: int) -> Doubles:
    """A window whose copies, each half over the last, add up to one."""
    window: Doubles = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    return window


_ANALYSIS_WINDOW = (np.hanning(TICK) / TICK).astype(np.float32)
_BINS_OF_BAND = np.stack(
    [
        (low <= bin_hz(TICK)) & (high > bin_hz(TICK))
        for low, high in itertools.pairwise(BAND_EDGES_HZ)
    ],
    axis=1,
).astype(np.float32)
