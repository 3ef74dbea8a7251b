"""When recorders that were started one after another began, found from the sound they share.

Every microphone of a room hears the other speakers too, however faintly. So two tracks (a track is
what one recorder heard) rise and fall together in their band powers, at one shift of time and at no
other:

1. *Envelopes*: the logarithms of band powers over the noise floor, every 16 ms, less their mean
   over half a second. A logarithm lets what leaks in at -25 dB count as much as the loud voice
   beside it. Steady noise and hum leave nothing: silence must neither agree nor disagree.
2. *Search*: a minute of one track is compared with all of the other by normalised
   cross-correlation, through Fourier transforms and running sums of energy (Lewis, "Fast Normalized
   Cross-Correlation", 1995). Its peak counts if it stands far above all others.
3. *Following*: from there, every 20 s of the tracks have their own shift, searched no further away
   than clocks can have drifted. The line through these shifts is that of Theil (1950) and Sen
   (1968), which up to 29 % of wrong points do not move; its slope is the difference of the clocks.
4. *Agreement*: along that line the tracks must agree in many seconds, and in a good part of those
   in which both hear something. A phrase or a ringing tone that occurs in two recordings makes as
   high a peak, but agrees only for its own length. The seconds that agree follow from their
   correlations as Kish (1965) computes the effective size of a weighted sample.

The tracks of more than two recorders are placed along the maximum spanning tree of their pairs
(Prim, 1957), so that all shifts fit together.

Envelopes give shifts to 3 ms if there is enough speech; sound takes that long for a metre. Phases
(generalised cross-correlation, Knapp and Carter, 1976) would give more than is needed: ownership
compares hops of 16 ms, and finds what is left of a shift itself (`lags`).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from node.core.model import SAMPLE_RATE
from node.core.room.hearing import BANDS, HOP, band_powers
from node.core.room.lags import vertex

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import numpy.typing as npt

    from node.core.room.endpointing import Samples
    from node.core.room.hearing import Floats

    Doubles = npt.NDArray[np.float64]

HOPS_PER_S = SAMPLE_RATE / HOP
"""Hops a second."""

SAMPLES_AT_ONCE = 256 * HOP
"""Samples (4 s) whose powers are computed at once, however small the pieces of a file are."""

SMOOTH_HOPS, FLOOR_HOPS = 6, 160
"""Hops (0.1 s) that the level is smoothed over, and hops (2.5 s) whose lowest level, or that of
their neighbours, is the noise floor."""

AUDIBLE_NEPERS = 1.0
"""Nepers over that floor from which a band counts: noise alone stays below."""

MEAN_HOPS = 32
"""Hops (0.5 s) of the mean that is taken off: syllables stay; how long each person speaks goes."""

LARGEST_DEVIATION = 3.0
"""Largest distance from that mean, in nepers: sound that begins in digital silence would otherwise
outweigh the rest."""

SEARCH_HOPS = 4096
"""Hops (66 s) searched for at once: drift of 200 ppm blurs them by less than one."""

MOST_SEARCHES = 32
"""Most windows tried, from all over a track: most pairs are found by the first."""

LEAST_ENERGY_SHARE = 0.1
"""Share of a track's mean energy that each of its windows is taken to have at least, against chance
peaks."""

PEAK_HOPS = 31
"""Hops (0.5 s) on each side of a peak that belong to it."""

DISTINCT_SHIFT = 1.5
"""How far a peak must stand above all others to be followed. By chance one in ten does."""

STRETCH_HOPS = 1250
"""Hops (20 s) that are followed at once."""

SLACK_HOPS = 6
"""Hops (0.1 s) that a stretch may lie off the line: echoes, and people who move."""

LARGEST_DRIFT = 300e-6
"""Largest difference of two clocks: crystals keep to 100 ppm, cheap ones in the cold nearly do."""

LEAST_AGREEMENT = 0.15
"""Correlation above which a stretch helps to find the shift."""

AGREEMENT_HOPS = 62
"""Hops (1 s) that agree or disagree together."""

AGREED_S, AGREED_SHARE = 25.0, 1 / 3
"""Seconds in which tracks must agree, and their share of those in which both hear something. Of
recorded meetings with 2 to 25 dB between a voice and its bleed, all had a share above 0.9. What was
followed by chance in recordings of different meetings, and came to 25 s, had a share below 0.2."""

DRIFTED_S = 0.015
"""Smallest drift between clocks that is taken as real; a smaller one is an error of measurement."""

MATTERS_S = 0.05
"""Smaller differences are left alone: those between USB devices are as large."""

TINY = 1e-9
"""Keeps divisors from being zero."""


@dataclass(frozen=True, slots=True)
class Shift:
    """Time in a second track that is time t of a first: `offset_s + rate * t`, in seconds.

    `agreed_s` tells how certain that is: the seconds in which they agree.
    """

    offset_s: float
    rate: float
    agreed_s: float


@dataclass(frozen=True, slots=True)
class Placed:
    """A track's time t on the common timeline: `start_s + rate * t`, in seconds.

    In each group the earliest track starts at 0, and the first in the list has rate 1. Tracks of
    different groups have no sound in common.
    """

    start_s: float
    rate: float
    group: int


def envelopes(pieces: Iterable[Samples]) -> Floats:
    """Envelopes of a track from its int16 samples at 16 kHz: (hops, bands) in nepers."""
    power = np.concatenate([np.empty((0, BANDS), np.float32), *_powers(pieces)])
    if not len(power):
        return power
    above = np.maximum(np.log(power / _floor(power)) - np.float32(AUDIBLE_NEPERS), 0)
    varied: Floats = np.clip(above - _mean(above, MEAN_HOPS), -LARGEST_DEVIATION, LARGEST_DEVIATION)
    return varied


def align(tracks: Sequence[Floats]) -> list[Placed]:
    """Place tracks, given their envelopes, on one timeline."""
    shifts = {
        (a, b): found
        for a, b in itertools.combinations(range(len(tracks)), 2)
        if (found := shift(tracks[a], tracks[b])) is not None
    }
    placed: dict[int, Placed] = {}
    for root in range(len(tracks)):
        if root not in placed:
            placed |= _settled(_group(root, shifts), tracks)
    return [placed[number] for number in range(len(tracks))]


def shift(first: Floats, second: Floats) -> Shift | None:
    """The shift between two tracks, from their envelopes; None if it is uncertain."""
    if not second.any():
        return None
    search = _Search(second)
    for begin in _windows(first):
        at = search.find(first[begin : begin + SEARCH_HOPS])
        if at is None:
            continue
        found = _followed(first, second, begin, at - begin)
        if found is not None:
            return found
    return None


def _powers(pieces: Iterable[Samples]) -> Iterator[Floats]:
    for sound in _together(pieces):
        wide = sound.astype(np.float32) / np.float32(32768)
        yield band_powers(wide[None])[0]


def _together(pieces: Iterable[Samples]) -> Iterator[Samples]:
    """The same sound in pieces of whole hops, each with the hop before it."""
    held: list[Samples] = [np.zeros(HOP, np.int16)]
    count = HOP
    for piece in pieces:
        held.append(piece)
        count += len(piece)
        if count >= SAMPLES_AT_ONCE:
            sound = np.concatenate(held)
            whole = count // HOP * HOP
            yield sound[:whole]
            held = [sound[whole - HOP :]]
            count = len(held[0])
    if count >= 2 * HOP:
        yield np.concatenate(held)[: count // HOP * HOP]


def _floor(power: Floats) -> Floats:
    """The noise floor of each hop: the lowest smoothed power around it."""
    smooth = _mean(power, SMOOTH_HOPS)
    blocks = -(-len(smooth) // FLOOR_HOPS)
    padded = np.pad(
        smooth, ((0, blocks * FLOOR_HOPS - len(smooth)), (0, 0)), constant_values=np.inf
    )
    least = padded.reshape(blocks, FLOOR_HOPS, -1).min(axis=1)
    beside = np.pad(least, ((1, 1), (0, 0)), mode="edge")
    least = np.minimum(np.minimum(beside[:-2], beside[2:]), least)
    floor: Floats = np.repeat(least, FLOOR_HOPS, axis=0)[: len(power)]
    return floor


def _mean(values: Floats, width: int) -> Floats:
    """Mean over the `width` hops around each one, as far as there are any."""
    total = np.pad(np.cumsum(values, axis=0, dtype=np.float64), ((1, 0), (0, 0)))
    at = np.arange(len(values))
    low = np.maximum(at - width // 2, 0)
    high = np.minimum(at + width // 2 + 1, len(values))
    mean: Floats = ((total[high] - total[low]) / (high - low)[:, None]).astype(np.float32)
    return mean


def _windows(track: Floats) -> list[int]:
    """Where the windows of a track begin, those with most sound first."""
    begins = np.arange(0, max(1, len(track) - SEARCH_HOPS // 2), SEARCH_HOPS)
    if len(begins) > MOST_SEARCHES:
        begins = begins[np.linspace(0, len(begins) - 1, MOST_SEARCHES).astype(int)]
    energy = [np.square(track[begin : begin + SEARCH_HOPS]).sum() for begin in begins]
    return [int(begins[n]) for n in np.argsort(energy)[::-1] if energy[n] > 0]


class _Search:
    """Looks for a piece of one track in all of another."""

    def __init__(self, track: Floats) -> None:
        self._length = len(track)
        self._size = 1 << (len(track) + SEARCH_HOPS - 1).bit_length()
        self._spectra = [
            np.fft.rfft(band, self._size).astype(np.complex64) for band in track.T.copy()
        ]
        self._energy = np.pad(np.cumsum(np.square(track).sum(axis=1), dtype=np.float64), (1, 0))

    def find(self, piece: Floats) -> int | None:
        """Hop of the track at which the piece begins, which may be negative; None if not clear."""
        curve = self._correlation(piece)
        at = int(curve.argmax())
        apart = np.concatenate([curve[: max(0, at - PEAK_HOPS)], curve[at + PEAK_HOPS + 1 :]])
        if curve[at] <= 0 or curve[at] < DISTINCT_SHIFT * apart.max(initial=0):
            return None
        return at - len(piece) + 1

    def _correlation(self, piece: Floats) -> Doubles:
        """At i: the correlation if the piece begins at hop i - len(piece) + 1."""
        product = sum(
            np.fft.rfft(band, self._size).conj() * spectrum
            for band, spectrum in zip(piece.T, self._spectra, strict=True)
        )
        count = self._length + len(piece) - 1
        shared = np.roll(np.fft.irfft(product, self._size), len(piece) - 1)[:count]
        begins = np.arange(count) - len(piece) + 1
        ends = np.minimum(begins + len(piece), self._length)
        energy = self._energy[ends] - self._energy[np.maximum(begins, 0)]
        least = LEAST_ENERGY_SHARE * self._energy[-1] / self._length * len(piece)
        own = np.square(piece).sum(dtype=np.float64)
        correlation: Doubles = shared / np.sqrt(own * np.maximum(energy, least) + TINY)
        return correlation


def _followed(first: Floats, second: Floats, begin: int, lag: int) -> Shift | None:
    """The shift all along two tracks, given one place: there hop t is hop t + lag of the second."""
    centre = begin + SEARCH_HOPS / 2
    points = []
    for at in range(max(0, -lag), min(len(first), len(second) - lag), STRETCH_HOPS):
        reach = SLACK_HOPS + round(LARGEST_DRIFT * abs(at + STRETCH_HOPS / 2 - centre))
        local = _local_lag(first[at : at + STRETCH_HOPS], second, at + lag, reach)
        if local is not None:
            points.append((at + STRETCH_HOPS / 2, lag + local))
    if not points:
        return None
    slope, base = _line(np.array(points))
    agreed_s, share = _agreement(first, second, slope, base)
    if agreed_s < AGREED_S or share < AGREED_SHARE:
        return None
    return Shift(base / HOPS_PER_S, 1 + slope, agreed_s)


def _local_lag(piece: Floats, track: Floats, begin: int, reach: int) -> float | None:
    """How many hops after `begin` a piece lies in a track; None if they do not agree."""
    piece = piece[: max(0, len(track) - begin - reach)]
    skipped = max(0, reach - begin)
    piece, begin = piece[skipped:], begin + skipped
    count = len(piece)
    if count < STRETCH_HOPS // 4:
        return None
    around = track[begin - reach : begin + reach + count]
    shared = [float(np.vdot(piece, around[n : n + count])) for n in range(2 * reach + 1)]
    at = int(np.argmax(shared))
    own, other = np.square(piece).sum(), np.square(around[at : at + count]).sum()
    if not 0 < at < 2 * reach or shared[at] <= LEAST_AGREEMENT * np.sqrt(float(own) * float(other)):
        return None
    return vertex(np.array(shared), at) - reach


def _line(points: Doubles) -> tuple[float, float]:
    """Slope and value at 0 of the line through points (t, y), as most of them have it."""
    time, value = points.T
    a, b = np.triu_indices(len(time), 1)
    apart = np.abs(time[a] - time[b]) >= np.ptp(time) / 4
    slopes = (value[b] - value[a])[apart] / (time[b] - time[a])[apart]
    slope = float(np.median(slopes)) if len(slopes) else 0.0
    if abs(slope) * np.ptp(time) < DRIFTED_S * HOPS_PER_S or abs(slope) > LARGEST_DRIFT:
        slope = 0.0
    return slope, float(np.median(value - slope * time))


def _agreement(first: Floats, second: Floats, slope: float, base: float) -> tuple[float, float]:
    """Seconds in which two tracks agree, and their share of those in which both hear something."""
    here = np.arange(len(first))
    there = np.rint(here * (1 + slope) + base).astype(np.int64)
    both = (there >= 0) & (there < len(second))
    one, other = first[both], second[there[both]]
    starts = np.arange(0, len(one), AGREEMENT_HOPS)
    shared, own, heard = (
        np.add.reduceat(np.einsum("tb,tb->t", x, y), starts, dtype=np.float64)
        for x, y in ((one, other), (one, one), (other, other))
    )
    least = LEAST_ENERGY_SHARE * own.mean(), LEAST_ENERGY_SHARE * heard.mean()
    correlation = shared / np.sqrt((own + least[0]) * (heard + least[1]) + TINY)
    heard_s = ((own > least[0]) & (heard > least[1])).sum() * AGREEMENT_HOPS / HOPS_PER_S
    agreed = max(correlation.sum(), 0.0) ** 2 / (np.square(correlation).sum() + TINY)
    agreed_s = float(agreed) * AGREEMENT_HOPS / HOPS_PER_S
    return agreed_s, agreed_s / float(heard_s + TINY)


def _group(root: int, shifts: dict[tuple[int, int], Shift]) -> dict[int, Placed]:
    """All tracks connected with one, on its timeline; the surest pairs come first."""
    placed = {root: Placed(0.0, 1.0, root)}
    while True:
        open_pairs = [pair for pair in shifts if (pair[0] in placed) != (pair[1] in placed)]
        if not open_pairs:
            return placed
        a, b = max(open_pairs, key=lambda pair: shifts[pair].agreed_s)
        found = shifts[a, b]
        if a in placed:
            rate = placed[a].rate / found.rate
            placed[b] = Placed(placed[a].start_s - rate * found.offset_s, rate, root)
        else:
            start = placed[b].start_s + placed[b].rate * found.offset_s
            placed[a] = Placed(start, placed[b].rate * found.rate, root)


def _settled(group: dict[int, Placed], tracks: Sequence[Floats]) -> dict[int, Placed]:
    """The same, from the earliest start on; or all at 0 if no difference is large enough to matter.

    The difference counts at the end of a track too, where clocks have drifted furthest apart.
    """
    zero = min(track.start_s for track in group.values())
    moved = {n: replace(track, start_s=track.start_s - zero) for n, track in group.items()}
    drifted_s = {n: (track.rate - 1) * len(tracks[n]) / HOPS_PER_S for n, track in moved.items()}
    if all(max(m.start_s, abs(m.start_s + drifted_s[n])) < MATTERS_S for n, m in moved.items()):
        return {n: replace(track, start_s=0.0, rate=1.0) for n, track in group.items()}
    return moved
