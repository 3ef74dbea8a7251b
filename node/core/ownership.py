"""Whose speech it is that a microphone hears, when every microphone of a room hears everybody.

Every 32 ms each microphone's band powers are explained by what the speakers of the others leak
into it; what exceeds that by 3 dB is its own (6 dB would lose real speech, see corti #107), and a
tick is owned where that share, over all bands and about a syllable each way, is large enough. What
is expected decays no faster than sound does in a room. Before two microphones are known to hear
the same, nothing is taken for a leak: rather twice than not at all. An utterance is judged once
more when it ends, with what has been learnt until then.

Sources: Dugan 1975 (shares of the total), Pfau, Ellis & Stolcke 2001 and Boakye & Stolcke 2006
(level differences between channels, normalised), Wrigley et al. 2005 (correlation).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from node.core.coupling import Coupling, Levels
from node.core.hearing import BANDS, HOP, HOPS, Hearing
from node.core.lags import LONGEST, Lags
from node.core.masking import WINDOWS, gains
from node.core.model import SAMPLE_RATE

if TYPE_CHECKING:
    import numpy.typing as npt

    from node.core.hearing import Floats
    from node.core.segmenter import Samples

LEARN_AFTER = LONGEST // HOPS + 2
"""Ticks (256 ms) after which a tick is learnt from: the longest lag, and a tick more."""

MARGIN = 2.0
"""Factor by which power must exceed what is expected of the others (3 dB) to count as own."""

OWNED, STILL_OWNED = 0.15, 0.08
"""Share that is a microphone's own where speech becomes, and where it stays, its speaker's.

Measured on the tuning meetings (-3 to -10 dB): leaks alone stay below 0.07 to 0.12 in 95 % of
ticks, of people who speak at once 95 to 98 % are above. 0.2 and 0.1 lost twice as much speech,
0.12 and 0.05 kept half as much again of others'.
"""

AROUND = 8
"""Hops before and after a tick that are judged with it (128 ms): about a syllable each way."""

DECAY_DB = 60 * HOP / SAMPLE_RATE / 0.6
"""Fall of what others leak, from one hop to the next: a meeting room's 60 dB in 0.6 s."""

HELD = 12
"""Hops after which a decaying leak no longer matters (19 dB)."""

AUDIBLE = 2.0
"""Power over the noise floor, as a factor, from which a band takes part."""

ESTIMATE_EVERY = 8
"""Ticks (256 ms) between new estimates of lags, gains and couplings."""

RELEARNT = 256
"""Ticks (8 s) looked at again when lags have been found: more than a first utterance."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """Of one tick: the share (0-1) that is the microphone's own, and the gains (3, BANDS) that
    leave its own speech over (see `masking`).
    """

    share: float
    gains: Floats


@dataclass(frozen=True, slots=True)
class Verdict:
    """How much of a stretch of sound is a microphone's own, and who is loudest in the rest."""

    owned_ticks: int
    loudest: str | None


class Ownership:
    """Shares of all microphones of one room. Owned by the thread that feeds it."""

    def __init__(self) -> None:
        self._hearing = Hearing()
        self._lags = Lags()
        self._coupling = Coupling()
        self._learnt = -1
        self._done = (0, 0)
        self._shares: Floats = np.zeros((0, 0, BANDS), np.float32)
        self._weights: Floats = np.zeros((0, 0, BANDS), np.float32)

    def add(self, mic: str) -> None:
        for part in (self._lags, self._coupling):
            part.add()
        self._hearing.add(mic)
        self._done = (0, 0)

    def remove(self, mic: str) -> None:
        row = self._hearing.remove(mic)
        self._lags.remove(row)
        self._coupling.remove(row)
        self._done = (0, 0)

    def hear(self, tick: int, frames: dict[str, Samples], voices: dict[str, float]) -> None:
        """Take the frames (512 samples) and speech probabilities that mics have for a tick."""
        self._hearing.hear(tick, frames, voices)
        if tick * HOPS < self._done[1] + LONGEST:
            self._done = (0, 0)

    def learn(self, tick: int) -> None:
        """Learn from a tick that all microphones have had their chance to deliver."""
        if len(self._hearing.mics) < 2 or tick <= self._learnt:
            return
        self._learnt = tick
        self._lags.learn(self._hearing, tick)
        if tick % ESTIMATE_EVERY:
            self._coupling.learn(self._levels((tick - LEARN_AFTER) * HOPS, HOPS))
            return
        before = self._lags.hops
        if self._lags.estimate():
            self._relearn(tick)
        if (self._lags.hops != before).any():
            self._done = (0, 0)
        self._coupling.learn(self._levels((tick - LEARN_AFTER) * HOPS, HOPS))
        self._coupling.estimate(self._floor_db(tick), self._lags.known)

    def _relearn(self, tick: int) -> None:
        """Lags have been found: what was heard lately tells of couplings only now."""
        self._coupling.forget()
        for past in range(tick - RELEARNT, tick):
            self._coupling.learn(self._levels((past - LEARN_AFTER) * HOPS, HOPS))
            if past % ESTIMATE_EVERY == 0:
                self._coupling.estimate(self._floor_db(tick), self._lags.known)

    @property
    def delay_ticks(self) -> int:
        """Ticks of all microphones wanted after one before its shares are asked for."""
        lags = self._lags.hops
        return -(-(int(lags.max(initial=0) - lags.min(initial=0)) + AROUND + 1) // HOPS)

    def judge(self, tick: int) -> dict[str, Judgement]:
        """Whose a tick of every microphone is, and how its own speech is told from the rest."""
        lags = self._lags.hops
        reach = int(np.abs(lags).max()) + AROUND
        own, weight = self._recent(tick * HOPS - reach, HOPS + 2 * reach)
        rows = np.arange(len(lags))[:, None]
        around = (reach - lags - AROUND)[:, None] + np.arange(HOPS + 2 * AROUND)
        share = _share(own[rows, around], weight[rows, around], axis=(1, 2))
        close = (reach - lags)[:, None] + np.arange(WINDOWS)
        near = (own[rows, close - 1] + own[rows, close] + own[rows, close + 1]) / 3
        told = zip(self._hearing.mics, share.tolist(), gains(near), strict=True)
        return {mic: Judgement(part, mask) for mic, part, mask in told}

    def review(self, mic: str, first_tick: int, last_tick: int) -> Verdict:
        """Judge ticks `first_tick` to before `last_tick` again, as far back as sound is kept."""
        row = self._hearing.mics.index(mic)
        lag = int(self._lags.hops[row])
        first, count = first_tick * HOPS - lag - AROUND, (last_tick - first_tick) * HOPS
        own, weight = self._own(first, count + 2 * AROUND)
        parts = np.stack([(own * weight)[row].sum(axis=1), weight[row].sum(axis=1)])
        width = HOPS + 2 * AROUND
        parts = np.lib.stride_tricks.sliding_window_view(parts, width, axis=1).sum(axis=2)[
            :, ::HOPS
        ]
        share = np.where(parts[1] > 0, parts[0] / np.maximum(parts[1], 1e-9), 1)
        levels = self._levels(first + AROUND, count)
        voiced = levels.voice[row][::HOPS] >= 0.35
        owned = int((voiced & (share[: len(voiced)] >= OWNED)).sum())
        return Verdict(owned, self._loudest(row, levels))

    def lags_s(self) -> dict[str, float | None]:
        """Delay of each microphone against the earliest one; None where it is not known."""
        lags = zip(self._hearing.mics, self._lags.seconds, self._lags.known, strict=True)
        return {mic: round(float(lag), 4) if known else None for mic, lag, known in lags}

    def _levels(self, first: int, count: int) -> Levels:
        power, floor, voice = self._hearing.window(first, count, self._lags.hops)
        return Levels(np.where(power > AUDIBLE * floor, power - floor, 0), floor, voice)

    def _recent(self, first: int, count: int) -> tuple[Floats, Floats]:
        """What `_own` gives, of which only the hops that are new are worked out."""
        begin, end = self._done
        if not begin <= first <= end:
            begin = end = first
        if end < first + count:
            own, weight = self._own(end, first + count - end)
            if begin < end:
                kept = slice(max(0, first - begin), None)
                own = np.concatenate([self._shares[:, kept], own], axis=1)
                weight = np.concatenate([self._weights[:, kept], weight], axis=1)
            self._shares, self._weights = own, weight
            self._done = begin, end = max(begin, first), first + count
        span = slice(first - begin, first - begin + count)
        return self._shares[:, span], self._weights[:, span]

    def _own(self, first: int, count: int) -> tuple[Floats, Floats]:
        """Own share of each hop and band, and its weight, both (microphones, hops, bands)."""
        levels = self._levels(first - HELD, count + HELD + 1)
        power = levels.above_floor
        voices = np.matmul(self._coupling.inverse.transpose(0, 2, 1), power.transpose(2, 0, 1))
        voices = np.minimum(np.maximum(voices, 0), power.transpose(2, 0, 1))
        held = _held(voices)
        leak = MARGIN * np.matmul(self._off_diagonal().transpose(2, 1, 0), held).transpose(1, 2, 0)
        power, leak = power[:, HELD:-1], leak[:, HELD:-1]
        floor = levels.floor[:, HELD:-1]
        own = np.maximum(power - leak, 0) / np.maximum(power, 1e-12)
        weight = np.where(power > 0, np.log(np.maximum(power / floor, 1)), 0)
        return np.where(power > 0, own, 1), weight

    def _off_diagonal(self) -> Floats:
        count = len(self._hearing.mics)
        return self._coupling.matrix * (1 - np.eye(count, dtype=np.float32))[..., None]

    def _loudest(self, row: int, levels: Levels) -> str | None:
        level = 10 ** ((levels.level_db() - self._coupling.gain_db[:, None]) / 10)
        heard = (level * (levels.voice[row] >= 0.35)).sum(axis=1)
        heard[row] = 0
        return self._hearing.mics[int(np.argmax(heard))] if heard.any() else None

    def _floor_db(self, tick: int) -> npt.NDArray[np.float64]:
        floor = self._hearing.window(tick * HOPS, 1, np.zeros(len(self._hearing.mics), int))[1]
        result: npt.NDArray[np.float64] = 10 * np.log10(floor[:, 0].mean(axis=1)).astype(float)
        return result


def _share(own: Floats, weight: Floats, axis: tuple[int, ...]) -> Floats:
    total = weight.sum(axis=axis)
    share: Floats = np.where(total > 0, (own * weight).sum(axis=axis) / np.maximum(total, 1e-9), 1)
    return share


def _held(voices: Floats) -> Floats:
    """Each power, or what reverberation may have left of an earlier one; hops are the last axis."""
    slope = np.float32(DECAY_DB / 10) * np.arange(voices.shape[-1], dtype=np.float32)
    levels = np.log10(voices + np.float32(1e-12)) + slope
    ahead = np.concatenate([levels[..., 1:], levels[..., -1:]], axis=-1)
    held: Floats = 10 ** (np.maximum.accumulate(np.maximum(levels, ahead), axis=-1) - slope)
    return held
