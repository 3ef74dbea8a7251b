"""Subtracts from a microphone's sound what the other microphones explain of it.

While its own speaker is silent, a microphone hears the others' speakers through the room: a filter
from their microphones to this one. It is found there by least squares, one frequency at a time over
several frames (the convolutive transfer function of Talmon, Cohen & Gannot 2009), and subtracted
where all speak at once. Room, gains and delays may be anything that holds for half a minute. The
drift of the clocks is found from the phase of what the microphones share. What the filter leaves of
the others, measured where it was learned, is taken out as power (Boll 1979, per frequency).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from node.core.model import SAMPLE_RATE
from node.core.room.coupling import LEAK_MARGIN
from node.core.room.hearing import BANDS, HOP, band_of_bin, bin_hz, periodic_hann
from node.core.room.lags import drifts, vertex

if TYPE_CHECKING:
    import numpy.typing as npt

    from node.core.room.hearing import Floats

    Indices = npt.NDArray[np.int64]
    Spectra = npt.NDArray[np.complex64]

STFT_SAMPLES = 1024
"""Samples of a window (64 ms), four hops."""

EDGE = STFT_SAMPLES // 2
"""Samples needed before the first hop and after the last: windows are centred on hops."""

FRAMES_BEFORE, FRAMES_AFTER = 5, 2
"""Frames before and after one whose sound takes part in it: reverberation, and delays that are
known to 16 ms only. Measured on the tuning meetings: 3 and 2 left a tenth more errors."""

LEAST_GAIN = 0.1
"""Lowest gain (-20 dB) of a frequency within own speech: below it words lose their shape, and what
is left begins to ring."""

FOREIGN_SHARE = 0.1
"""Own share of a band from which it teaches nothing about what the others leak into it."""

SPOKEN_SHARE = 0.3
"""Own share, mean of the bands, above which a microphone's speaker counts as speaking."""

SPREAD_HOPS = 2
"""Hops on each side that a window reaches into."""

INDEPENDENT_HOPS = 2
"""Hops to the next window that adds information: windows are half over each other. Learning from
fewer frames than all would be cheaper, and leave a quarter more errors at -3 dB."""

LEAST_FRAMES = 60
"""Frames (1 s) below which nothing is learned: more than three times what the filters of one other
microphone can fit by chance."""

REGULARISATION = 1e-2
"""Share of the mean power of what a filter is learned from. Measured on the tuning meetings: 0.001
and 0.03 left a tenth more errors."""

BINS_AT_ONCE = 8
"""Frequencies worked on at a time: together they fit a cache of a megabyte or two."""

PRODUCT_SIZE = 60_000
"""Most multiplications in a product of two matrices, and 16 times those in a product with a vector.
Above 65,535 and 4,095 of them, OpenBLAS starts threads that busy-wait on every processor, which
takes seven times as long (measured)."""

PHASE_HOPS = 32
"""Hops (0.5 s) over which the phase between two microphones counts as constant."""

DRIFT_HZ = (200, 4000)
"""Frequencies whose phase tells of drift."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """What some microphones heard: first the one to clean, then those whose speakers leak into it.

    `sound` (microphones, EDGE + hops * HOP + EDGE) in [-1, 1], delays taken out to a hop; `own`
    (microphones, hops, BANDS) is the share (0-1) that is each one's own.
    """

    sound: Floats
    own: Floats


@dataclass(frozen=True, slots=True)
class Residual:
    """What is left: `sound` (hops * HOP), and its share of each hop and band."""

    sound: Floats
    own: Floats


def subtract(stretch: Stretch, first: int, last: int) -> Residual | None:
    """What is left of the first microphone's hops `first` to before `last` without the others'
    speech.

    None if the others have hardly been heard without its own speaker.
    """
    weight = _foreign(stretch.own)
    learn = np.flatnonzero(weight.any(axis=1))
    if len(learn) < LEAST_FRAMES:
        return None
    heard, weight = _spectra(stretch.sound[0]), weight[:, _BAND_OF_BIN]
    others = np.empty((len(stretch.sound) - 1, *heard.shape), np.complex64)
    for other, sound in zip(others, stretch.sound[1:], strict=True):
        other[:] = _in_step(heard, _spectra(sound), weight, first)
    weight = weight / (np.square(np.abs(heard)).mean(axis=1, keepdims=True) + _RESOLUTION)
    frames = np.arange(max(0, first - SPREAD_HOPS), min(len(heard), last + SPREAD_HOPS))
    leak, left = _leaks(others, heard[learn], weight[learn], learn, frames)
    rest, residue = heard[frames] - leak, left * np.square(np.abs(leak))
    power = np.square(np.abs(rest))
    gain = np.sqrt(np.clip(1 - residue / np.maximum(power, 1e-12), LEAST_GAIN**2, 1))
    within = slice(first - frames[0], last - frames[0])
    own = _own(power[within], residue[within], heard[first:last])
    begin = EDGE + (first - frames[0]) * HOP
    return Residual(_sound(rest * gain)[begin : begin + (last - first) * HOP], own)


def _leaks(
    others: Spectra, heard: Spectra, weight: Floats, learn: Indices, frames: Indices
) -> tuple[Spectra, Floats]:
    """What the others leak into some frames (frames, bins), by filters fitted to the frames
    `learn`.

    Also the power the filters leave over what they take out (0-1), of each frequency's band. A few
    bins at a time: all at once would take a hundred times the memory of the sound.
    """
    leak = np.empty((len(frames), heard.shape[1]), np.complex64)
    powers = np.empty((2, heard.shape[1]), np.float32)
    for begin in range(0, heard.shape[1], BINS_AT_ONCE):
        bins = slice(begin, begin + BINS_AT_ONCE)
        known = _around(others[..., bins], learn)
        aim, told = heard[:, bins].T, weight[:, bins].T
        filters = _fitted(known, aim, told)
        taken = _explained(known, filters)
        powers[0, bins] = (told * np.square(np.abs(aim - taken))).sum(axis=1)
        powers[1, bins] = (told * np.square(np.abs(taken))).sum(axis=1)
        leak[:, bins] = _explained(_around(others[..., bins], frames), filters).T
    left, taken = _by_band(powers)
    fitted_by_chance = known.shape[2] / (len(learn) / INDEPENDENT_HOPS)
    share = left / np.maximum(taken, 1e-12) / max(1 - fitted_by_chance, 1 / len(learn))
    return leak, np.minimum(share, 1)[_BAND_OF_BIN].astype(np.float32)


def _foreign(own: Floats) -> Floats:
    """How far each hop and band of the first microphone holds only the others: (hops, BANDS)."""
    padded = np.pad(own[0], ((SPREAD_HOPS, SPREAD_HOPS), (0, 0)), mode="edge")
    mine = np.lib.stride_tricks.sliding_window_view(padded, 2 * SPREAD_HOPS + 1, axis=0).max(axis=2)
    spoken = (own[1:].mean(axis=2) > SPOKEN_SHARE).any(axis=0)
    foreign: Floats = np.clip(1 - mine / FOREIGN_SHARE, 0, 1) * spoken[:, None]
    return foreign.astype(np.float32)


def _in_step(heard: Spectra, other: Spectra, weight: Floats, middle: int) -> Spectra:
    """Another microphone's spectra, as if its clock ran like the first one's."""
    drift = _drift(heard, other, weight)
    seconds = drift * HOP / SAMPLE_RATE * (np.arange(len(other)) - middle)
    angle = np.outer(seconds, -2 * np.pi * _BIN_HZ).astype(np.float32)
    turn = np.empty(angle.shape, np.complex64)
    turn.real, turn.imag = np.cos(angle), np.sin(angle)
    return turn * other


def _drift(heard: Spectra, other: Spectra, weight: Floats) -> float:
    """The drift with which what two microphones share adds up best, in seconds a second."""
    blocks = len(heard) // PHASE_HOPS
    shared = (heard * other.conj() * weight)[: blocks * PHASE_HOPS, _DRIFT_BINS]
    shared = shared.reshape(blocks, PHASE_HOPS, -1).sum(axis=1)
    shared /= np.sqrt(np.abs(shared)) + 1e-9
    fit = np.abs((_turns(blocks) * shared).sum(axis=1)).sum(axis=1)
    return float(np.interp(vertex(fit, int(fit.argmax())), np.arange(len(DRIFTS)), DRIFTS))


@functools.lru_cache(maxsize=2)
def _turns(blocks: int) -> Spectra:
    """What each drift does to the phase of each block and frequency."""
    at = (np.arange(blocks) + 0.5) * PHASE_HOPS * HOP
    cycles = np.outer(DRIFTS, at)[..., None] * (_BIN_HZ[_DRIFT_BINS] / SAMPLE_RATE)
    turns: Spectra = np.exp(2j * np.pi * cycles).astype(np.complex64)
    return turns


def _around(others: Spectra, frames: Indices) -> Spectra:
    """The frames around some frames, zeros beyond the ends: (bins, frames, taps of all others)."""
    padded = np.pad(others, ((0, 0), (FRAMES_BEFORE, FRAMES_AFTER), (0, 0)))
    at = frames[:, None] + np.arange(FRAMES_BEFORE + 1 + FRAMES_AFTER)
    around = padded[:, at].transpose(3, 1, 0, 2)
    return np.ascontiguousarray(around.reshape(*around.shape[:2], -1))


def _fitted(known: Spectra, heard: Spectra, weight: Floats) -> Spectra:
    """Filters (bins, taps, 1) from what is known to what is heard (bins, frames)."""
    taps = known.shape[2]
    normal = np.zeros((len(known), taps, taps), np.complex64)
    aim = np.zeros((len(known), taps, 1), np.complex64)
    for piece in _pieces(known):
        part = known[:, piece]
        weighted = (part * weight[:, piece, None]).conj().transpose(0, 2, 1)
        normal += weighted @ part
        aim += weighted @ heard[:, piece, None]
    level = np.trace(normal, axis1=1, axis2=2).real / taps
    normal += (REGULARISATION * level + 1e-12)[:, None, None] * np.eye(taps, dtype=np.float32)
    filters: Spectra = np.linalg.solve(normal, aim)
    return filters


def _explained(known: Spectra, filters: Spectra) -> Spectra:
    """What filters (bins, taps, 1) make of what is known: (bins, frames)."""
    return np.concatenate([known[:, piece] @ filters for piece in _pieces(known)], axis=1)[..., 0]


def _pieces(known: Spectra) -> list[slice]:
    """The frames of `known`, as many at a time as multiply fastest."""
    _, frames, taps = known.shape
    count = PRODUCT_SIZE // (taps * max(taps, 16))
    return [slice(begin, begin + count) for begin in range(0, frames, count)]


def _own(power: Floats, residue: Floats, heard: Spectra) -> Floats:
    """Share of the sound, hop by hop and band by band, that exceeds what others have left in it."""
    total = _by_band(np.square(np.abs(heard)))
    above = _by_band(power - LEAK_MARGIN * residue)
    own: Floats = np.clip(above / np.maximum(total, 1e-12), 0, 1)
    return own


def _by_band(bins: Floats) -> Floats:
    """Sums of the frequencies of each band."""
    return np.add.reduceat(bins, _FIRST_BINS, axis=-1)


def _spectra(sound: Floats) -> Spectra:
    windows = np.lib.stride_tricks.sliding_window_view(sound, STFT_SAMPLES)[::HOP]
    spectra: Spectra = np.fft.rfft(windows * _STFT_WINDOW).astype(np.complex64)
    return spectra[:-1]


def _sound(spectra: Spectra) -> Floats:
    """Sound of frames; the first window begins it."""
    pieces = np.fft.irfft(spectra, STFT_SAMPLES) * _STFT_WINDOW
    whole = np.zeros(((len(pieces) - 1) * HOP + STFT_SAMPLES), np.float32)
    for number, piece in enumerate(pieces):
        whole[number * HOP : number * HOP + STFT_SAMPLES] += piece
    whole /= _WINDOW_SUM
    return whole


DRIFTS = drifts(step_ppm=4)

# Once for analysis and once for synthesis; four of their squares lie over each sample.
_STFT_WINDOW = np.sqrt(periodic_hann(STFT_SAMPLES)).astype(np.float32)
_WINDOW_SUM = np.float32(STFT_SAMPLES / HOP / 2)
_RESOLUTION = np.float32(1e-7)
_BIN_HZ = bin_hz(STFT_SAMPLES)
_DRIFT_BINS = np.flatnonzero((DRIFT_HZ[0] <= _BIN_HZ) & (DRIFT_HZ[1] >= _BIN_HZ))[::2]
_BAND_OF_BIN = band_of_bin(STFT_SAMPLES)
_FIRST_BINS = np.searchsorted(_BAND_OF_BIN, np.arange(BANDS))
