"""Whose speech it is that a microphone hears, when every microphone of a room hears everybody.

Every 32 ms each microphone's band powers are explained by what the speakers of the others leak
into it; the share that is left is its own. A tick is owned where that share is at least a half:
where the power exceeds what is expected of the others by 3 dB (6 dB would lose real speech, see
corti #107). What is expected decays no faster than sound does in a room. Nothing is known of the
couplings at first, so a tick is then rather owned twice than by nobody; an utterance is judged once
more when it ends, with what has been learnt until then.

Sources: Dugan 1975 (shares of the total), Pfau, Ellis & Stolcke 2001 and Boakye & Stolcke 2006
(level differences between channels, normalised), Wrigley et al. 2005 (correlation).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from node.core.coupling import Coupling, Levels
from node.core.hearing import HOP, HOPS, Hearing
from node.core.lags import LONGEST, Lags
from node.core.model import SAMPLE_RATE

if TYPE_CHECKING:
    import numpy.typing as npt

    from node.core.hearing import Floats
    from node.core.segmenter import Samples

LEARN_AFTER = LONGEST // HOPS + 2
"""Ticks (256 ms) after which a tick is learnt from: the longest lag, and a tick more."""

OWNED, STILL_OWNED = 0.35, 0.2
"""Share that is a microphone's own where speech becomes, and where it stays, its speaker's."""

AROUND = 3
"""Hops before and after a tick that are judged with it (48 ms): a single syllable."""

DECAY_DB = 60 * HOP / SAMPLE_RATE / 0.6
"""Fall of what others leak, from one hop to the next: a meeting room's 60 dB in 0.6 s."""

HELD = 12
"""Hops after which a decaying leak no longer matters (19 dB)."""

AUDIBLE = 2.0
"""Power over the noise floor, as a factor, from which a band takes part."""

ESTIMATE_EVERY = 8
"""Ticks (256 ms) between new estimates of lags, gains and couplings."""


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

    def add(self, mic: str) -> None:
        for part in (self._lags, self._coupling):
            part.add()
        self._hearing.add(mic)

    def remove(self, mic: str) -> None:
        row = self._hearing.remove(mic)
        self._lags.remove(row)
        self._coupling.remove(row)

    def hear(self, tick: int, frames: dict[str, Samples], voices: dict[str, float]) -> None:
        """Take the frames (512 samples) and speech probabilities that mics have for a tick."""
        self._hearing.hear(tick, frames, voices)

    def learn(self, tick: int) -> None:
        """Learn from a tick that all microphones have had their chance to deliver."""
        if len(self._hearing.mics) < 2 or tick <= self._learnt:
            return
        self._learnt = tick
        self._lags.learn(self._hearing, tick)
        if tick >= LEARN_AFTER:
            self._coupling.learn(self._levels((tick - LEARN_AFTER) * HOPS, HOPS))
        if tick % ESTIMATE_EVERY == 0:
            self._lags.estimate()
            self._coupling.estimate(self._floor_db(tick))

    @property
    def delay_ticks(self) -> int:
        """Ticks of all microphones wanted after one before its shares are asked for."""
        lags = self._lags.hops
        return -(-(int(lags.max(initial=0) - lags.min(initial=0)) + AROUND + 1) // HOPS)

    def shares(self, tick: int) -> dict[str, float]:
        """Share of each microphone's power around its tick that is its own (0 to 1)."""
        if len(self._hearing.mics) < 2:
            return dict.fromkeys(self._hearing.mics, 1.0)
        lags = self._lags.hops
        reach = int(np.abs(lags).max()) + AROUND
        first = tick * HOPS - reach
        own, weight = self._own(first, HOPS + 2 * reach)
        starts = reach - lags - AROUND
        columns = starts[:, None] + np.arange(HOPS + 2 * AROUND)
        rows = np.arange(len(lags))[:, None]
        total = weight[rows, columns].sum(axis=1)
        share = (own * weight)[rows, columns].sum(axis=1) / np.maximum(total, 1e-9)
        share = np.where(total > 0, share, 1.0)
        return dict(zip(self._hearing.mics, share.tolist(), strict=True))

    def review(self, mic: str, first_tick: int, last_tick: int) -> Verdict:
        """Judge ticks `first_tick` to before `last_tick` again, as far back as sound is kept."""
        row = self._hearing.mics.index(mic)
        lag = int(self._lags.hops[row])
        first, count = first_tick * HOPS - lag - AROUND, (last_tick - first_tick) * HOPS
        own, weight = self._own(first, count + 2 * AROUND)
        width = HOPS + 2 * AROUND
        view = np.lib.stride_tricks.sliding_window_view
        total = view(weight[row], width).sum(axis=1)[::HOPS]
        share = view(own[row] * weight[row], width).sum(axis=1)[::HOPS] / np.maximum(total, 1e-9)
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

    def _own(self, first: int, count: int) -> tuple[Floats, Floats]:
        """Own share of each hop and its weight, both (microphones, hops)."""
        levels = self._levels(first - HELD, count + HELD + 1)
        power = levels.above_floor
        voices = np.matmul(self._coupling.inverse.transpose(0, 2, 1), power.transpose(2, 0, 1))
        voices = np.minimum(np.maximum(voices, 0), power.transpose(2, 0, 1))
        held = _held(voices)
        leak = np.matmul(self._off_diagonal().transpose(2, 1, 0), held).transpose(1, 2, 0)
        power, leak = power[:, HELD:-1], leak[:, HELD:-1]
        floor = levels.floor[:, HELD:-1]
        own = np.maximum(power - leak, 0) / np.maximum(power, 1e-12)
        weight = np.where(power > 0, np.log(np.maximum(power / floor, 1)), 0)
        total = weight.sum(axis=2)
        return (own * weight).sum(axis=2) / np.maximum(total, 1e-9), total

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


def _held(voices: Floats) -> Floats:
    """Each power, or what reverberation may have left of an earlier one; hops are the last axis."""
    slope = np.float32(DECAY_DB / 10) * np.arange(voices.shape[-1], dtype=np.float32)
    levels = np.log10(voices + np.float32(1e-12)) + slope
    ahead = np.concatenate([levels[..., 1:], levels[..., -1:]], axis=-1)
    held: Floats = 10 ** (np.maximum.accumulate(np.maximum(levels, ahead), axis=-1) - slope)
    return held
