"""Whose speech a microphone hears, when every microphone of a room hears everybody.

Every 32 ms each microphone's band powers are explained by what the other speakers leak into it.
What exceeds that by 3 dB is its own (6 dB would lose real speech, see corti #107). A tick is owned
if that share, over all bands and about a syllable each way, is large enough. The expected leak
decays no faster than sound does in a room. Before two microphones are known to hear the same sound,
nothing counts as a leak: rather twice than not at all. When an utterance ends it is judged once
more, with all that has been learned by then.

Sources: Dugan 1975 (shares of the total), Pfau, Ellis & Stolcke 2001 and Boakye & Stolcke 2006
(level differences between channels, normalised), Wrigley et al. 2005 (correlation).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from node.core.model import SAMPLE_RATE
from node.core.room.arrival import HALF_WINDOW_TICKS, STEP_TICKS, Arrivals
from node.core.room.coupling import COMPARED_LOUD, LEAK_MARGIN, Coupling, Levels, one_voice
from node.core.room.doubletalk import DoubleTalk
from node.core.room.hearing import (
    BANDS,
    HOP,
    HOPS_PER_TICK,
    KEPT_TICKS,
    LEAST_POWER,
    SPEECH,
    SYLLABLE_HOPS,
    Hearing,
)
from node.core.room.lags import LONGEST_LAG, Lags

if TYPE_CHECKING:
    import numpy.typing as npt

    from node.core.room.doubletalk import Cleaned
    from node.core.room.endpointing import Samples
    from node.core.room.hearing import Floats

LEARN_AFTER_TICKS = LONGEST_LAG // HOPS_PER_TICK + 2
"""Ticks (256 ms) after which a tick is learned from: the longest lag, and one more."""

OWNED, STILL_OWNED = 0.15, 0.08
"""Own share from which speech becomes its microphone's, and above which it stays so.

Measured on the tuning meetings (-3 to -10 dB): leaks alone stay below 0.07 to 0.12 in 95 % of
ticks; where people speak at once, 95 to 98 % are above. 0.2 and 0.1 lost twice as much speech; 0.12
and 0.05 kept half as much again of others' speech."""

BEYOND_DOUBT = 0.5
"""Share from which a tick is the microphone's own even if only others were heard to arrive: of two
voices at once, one can hide the other's peak."""

DECAY_DB = 60 * HOP / SAMPLE_RATE / 0.6
"""How far others' leaks fall from one hop to the next: 60 dB in 0.6 s, as in a meeting room."""

HELD_HOPS = 12
"""Hops after which a decaying leak no longer matters (19 dB)."""

AUDIBLE_OVER_FLOOR = 2.0
"""Power over the noise floor, as a factor, from which a band takes part."""

GROUP_TICKS = 8
"""Ticks (256 ms) that are learned from at a time; then lags, gains and couplings are estimated
anew."""

POSSIBLE_SPEECH = 0.15
"""Probability of speech from which somebody may be speaking: less than half of `SPEECH`."""

ECHO_TICKS = 16
"""Ticks (0.5 s) for which a room may still echo after speech."""

RELEARNED_TICKS = 256
"""Ticks (8 s) that are learned from again once lags are found: more than a first utterance."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of a stretch of sound: how many ticks are the microphone's own, who is loudest in the rest,
    and which microphone, if any, heard the same voice better. Of somebody without a microphone,
    that is the nearest one.
    """

    owned_ticks: int
    loudest: str | None
    heard_better: str | None


class Ownership:
    """Shares of all microphones of a room. Owned by the thread that feeds it."""

    def __init__(self) -> None:
        self._hearing = Hearing()
        self._lags = Lags()
        self._coupling = Coupling()
        self._arrivals = Arrivals()
        self._learned = 0
        self._arrived = 0
        self._known_pairs = 0
        self._voiced: set[int] = set()
        self._done = (0, 0)
        self._shares: Floats = np.zeros((0, 0, BANDS), np.float32)
        self._weights: Floats = np.zeros((0, 0, BANDS), np.float32)

    def add(self, mic: str) -> None:
        for part in (self._lags, self._coupling, self._arrivals):
            part.add()
        self._hearing.add(mic)
        self._done = (0, 0)

    def restarted(self, mic: str, tick: int) -> None:
        """A microphone starts again at `tick`, perhaps plugged in again: with another delay."""
        self._lags.restart()
        self.moved(mic, tick)

    def moved(self, mic: str, tick: int) -> None:
        """Before `tick`, lost sound was made up for by about as much silence: the delay may differ
        by a little from there on.
        """
        self._arrivals.forget(self._hearing.mics.index(mic), tick)

    def slipped(self, mic: str, end: int, samples: int) -> None:
        """Before sample `end`, `samples` were doubled (+) or left out (-), as the clock drifts."""
        self._hearing.slips.note(self._hearing.mics.index(mic), end, samples)

    def hear(self, first: int, sound: dict[str, Samples], voices: dict[str, Floats]) -> None:
        """Take ticks that several microphones heard together (see `Hearing.hear`)."""
        self._hearing.hear(first, sound, voices)
        loudest = np.max(np.stack(list(voices.values())), axis=0)
        self._voiced.update((first + np.flatnonzero(loudest >= POSSIBLE_SPEECH)).tolist())
        if first * HOPS_PER_TICK < self._done[1] + self._lags.hops.max(initial=0):
            self._done = (0, 0)  # what was computed lacked this

    def learn(self, end: int) -> None:
        """Learn from the ticks before `end`: every microphone has had its chance to hear them.

        Where nobody speaks there is nothing to learn, and no time is spent.
        """
        begin = max(self._learned, end // GROUP_TICKS * GROUP_TICKS - KEPT_TICKS // 2)
        for first in range(begin, end - GROUP_TICKS + 1, GROUP_TICKS):
            self._learned = first + GROUP_TICKS
            if len(self._hearing.mics) > 1 and not self.quiet(first, first + GROUP_TICKS):
                self._learn_group(first, first + GROUP_TICKS)
        if len(self._voiced) > 2 * KEPT_TICKS:
            self._voiced = {tick for tick in self._voiced if tick >= end - KEPT_TICKS}
        self._learn_arrivals(
            end - HALF_WINDOW_TICKS - -(-int(self._lags.hops.max(initial=0)) // HOPS_PER_TICK)
        )

    def _learn_arrivals(self, end: int) -> None:
        """Find who speaks, by when sound arrives, in the windows centred before tick `end`."""
        if not self._lags.known.any():
            return
        first = max(self._arrived, end - KEPT_TICKS // 2)
        for middle in range(-(-first // STEP_TICKS) * STEP_TICKS, end, STEP_TICKS):
            self._arrived = middle + STEP_TICKS
            if not self.quiet(middle, middle + 1):
                self._arrivals.learn(self._hearing, self._lags.hops, middle)
        self._arrivals.estimate()

    def knows_more(self) -> bool:
        """Whether more pairs of microphones can be told apart than at the last call."""
        before, self._known_pairs = self._known_pairs, self._arrivals.known_pairs
        return self._known_pairs > before

    def _learn_group(self, first: int, last: int) -> None:
        self._lags.learn(self._hearing, first, last)
        before = self._lags.hops
        if self._lags.estimate():
            self._coupling.forget()
            self._learn_couplings(first - RELEARNED_TICKS, first)
            self._arrived = first - RELEARNED_TICKS
        if (self._lags.hops != before).any():
            self._done = (0, 0)
        self._learn_couplings(first, last)

    def _learn_couplings(self, first: int, last: int) -> None:
        for tick in range(first, last, GROUP_TICKS):
            levels = self._levels(
                (tick - LEARN_AFTER_TICKS) * HOPS_PER_TICK, GROUP_TICKS * HOPS_PER_TICK
            )
            for hop in range(0, GROUP_TICKS * HOPS_PER_TICK, HOPS_PER_TICK):
                self._coupling.learn(levels.part(hop, hop + HOPS_PER_TICK))
            self._coupling.estimate(self._floor_db(tick), self._lags.known)

    def quiet(self, first: int, last: int) -> bool:
        """Whether nobody speaks in ticks `first` to before `last`, or so shortly before that it
        echoes.
        """
        return self._voiced.isdisjoint(range(first - ECHO_TICKS, last))

    @property
    def delay_ticks(self) -> int:
        """Ticks that must follow a tick, of all microphones, before its shares can be asked for."""
        lags = self._lags.hops
        return -(
            -(int(lags.max(initial=0) - lags.min(initial=0)) + SYLLABLE_HOPS + 1) // HOPS_PER_TICK
        )

    def judge(self, tick: int) -> dict[str, float]:
        """The share (0-1) of a tick that is the microphone's own, of every microphone.

        Returns nothing if nobody speaks near it.
        """
        if self.quiet(
            tick, tick + SYLLABLE_HOPS // HOPS_PER_TICK + LONGEST_LAG // HOPS_PER_TICK + 2
        ):
            return {}
        lags = self._lags.hops
        reach = int(np.abs(lags).max()) + SYLLABLE_HOPS
        own, weight = self._recent(tick * HOPS_PER_TICK - reach, HOPS_PER_TICK + 2 * reach)
        indices = np.arange(len(lags))[:, None]
        around = (reach - lags - SYLLABLE_HOPS)[:, None] + np.arange(
            HOPS_PER_TICK + 2 * SYLLABLE_HOPS
        )
        share = _share(own[indices, around], weight[indices, around], axis=(1, 2))
        whose = self._whose(tick)
        share[(whose < 0) & (share < BEYOND_DOUBT)] = 0
        share[whose > 0] = 1
        return dict(zip(self._hearing.mics, share.tolist(), strict=True))

    def _whose(self, tick: int) -> npt.NDArray[np.int8]:
        """Whose a tick of each microphone is by when sound arrived (see `Arrivals.whose`)."""
        lags = self._lags.hops
        return self._by_arrival(tick - lags // HOPS_PER_TICK)[
            np.arange(len(lags)), np.arange(len(lags))
        ]

    def _by_arrival(self, ticks: npt.NDArray[np.int64]) -> npt.NDArray[np.int8]:
        return self._arrivals.whose(ticks, self._coupling.gain_db)

    def review(self, mic: str, first_tick: int, last_tick: int) -> Verdict:
        """Judge ticks `first_tick` to before `last_tick` again, as far back as sound is kept."""
        index = self._hearing.mics.index(mic)
        lag = int(self._lags.hops[index])
        first, count = (
            first_tick * HOPS_PER_TICK - lag - SYLLABLE_HOPS,
            (last_tick - first_tick) * HOPS_PER_TICK,
        )
        own, weight = self._own(first, count + 2 * SYLLABLE_HOPS)
        parts = np.stack([(own * weight)[index].sum(axis=1), weight[index].sum(axis=1)])
        width = HOPS_PER_TICK + 2 * SYLLABLE_HOPS
        parts = np.lib.stride_tricks.sliding_window_view(parts, width, axis=1).sum(axis=2)[
            :, ::HOPS_PER_TICK
        ]
        share = np.where(parts[1] > 0, parts[0] / np.maximum(parts[1], 1e-9), 1)
        levels = self._levels(first + SYLLABLE_HOPS, count)
        voiced = levels.voice[index][::HOPS_PER_TICK] >= SPEECH
        whose = self._by_arrival(np.arange(first_tick, last_tick) - lag // HOPS_PER_TICK)[index]
        share = np.where(whose > 0, 1, share[: len(whose)])
        share[(whose < 0) & (share < BEYOND_DOUBT)] = 0
        owned = int((voiced & (share >= OWNED)).sum())
        alone = int((voiced & (whose > 0)).sum())
        better = None if 2 * alone > voiced.sum() else self._heard_better(index, levels)
        return Verdict(owned, self._loudest(index, levels), better)

    def cleaned(self, mic: str, utterance: range, speech: tuple[int, int]) -> Cleaned | None:
        """A finished utterance without what others said in it (see `DoubleTalk.cleaned`)."""
        talk = DoubleTalk(
            self._hearing, self._lags.hops, self._lags.known, self._told, self._whose_hops
        )
        return talk.cleaned(self._hearing.mics.index(mic), utterance, speech)

    def raw(self, mic: str, utterance: range) -> Samples:
        """What a microphone heard in an utterance, with whatever others said in it.

        Zeros in a last silence that has not been taken in yet.
        """
        return self._hearing.samples(self._hearing.mics.index(mic), utterance.start, len(utterance))

    def lags_s(self) -> dict[str, float | None]:
        """Delay of each microphone against the earliest one; None where it is unknown."""
        lags = zip(self._hearing.mics, self._lags.seconds, self._lags.known, strict=True)
        return {mic: round(float(lag), 4) if known else None for mic, lag, known in lags}

    def _levels(self, first: int, count: int) -> Levels:
        power, floor, voice = self._hearing.window(first, count, self._lags.hops)
        above_floor = np.where(power > AUDIBLE_OVER_FLOOR * floor, power - floor, 0)
        sounds = np.logical_or.reduce(power > 2 * LEAST_POWER, axis=2)
        return Levels(above_floor, floor, voice, sounds)

    def _recent(self, first: int, count: int) -> tuple[Floats, Floats]:
        """The same as `_own`, but only new hops are computed."""
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
        levels = self._levels(first - HELD_HOPS, count + HELD_HOPS + 1)
        power = levels.above_floor
        voices = np.matmul(self._coupling.inverse.transpose(0, 2, 1), power.transpose(2, 0, 1))
        voices = np.minimum(np.maximum(voices, 0), power.transpose(2, 0, 1))
        held = _held(voices)
        leak = LEAK_MARGIN * np.matmul(self._off_diagonal().transpose(2, 1, 0), held).transpose(
            1, 2, 0
        )
        power, leak = power[:, HELD_HOPS:-1], leak[:, HELD_HOPS:-1]
        floor = levels.floor[:, HELD_HOPS:-1]
        own = np.maximum(power - leak, 0) / np.maximum(power, 1e-12)
        weight = np.where(power > 0, np.log(np.maximum(power / floor, 1)), 0)
        return np.where(power > 0, own, 1), weight

    def _told(self, first: int, count: int) -> tuple[Floats, Floats]:
        """The same as `_own`, with what is known from when sound arrived."""
        own, weight = self._own(first, count)
        whose = self._whose_hops(first, count)
        foreign = (whose < 0) & (_share(own, weight, axis=(2,)) < BEYOND_DOUBT)
        own[whose > 0], own[foreign] = 1, 0
        return own, weight

    def _whose_hops(self, first: int, count: int) -> npt.NDArray[np.int8]:
        return self._by_arrival((first + np.arange(count)) // HOPS_PER_TICK)

    def _off_diagonal(self) -> Floats:
        count = len(self._hearing.mics)
        return self._coupling.matrix * (1 - np.eye(count, dtype=np.float32))[..., None]

    def _loudest(self, index: int, levels: Levels) -> str | None:
        level = 10 ** ((levels.level_db() - self._coupling.gain_db[:, None]) / 10)
        heard = (level * (levels.voice[index] >= SPEECH)).sum(axis=1)
        heard[index] = 0
        return self._hearing.mics[int(np.argmax(heard))] if heard.any() else None

    def _heard_better(self, index: int, levels: Levels) -> str | None:
        """The loudest other microphone that heard the same voice, and heard it better; None if none
        did.
        """
        speech = levels.voice[index] >= SPEECH
        if not speech.any() or not self._lags.known[index]:
            return None
        power = levels.above_floor[:, speech] + levels.floor[:, speech]
        loud = levels.above_floor[:, speech] > COMPARED_LOUD * levels.floor[:, speech]
        loudness = power.sum(axis=(1, 2)) / 10 ** (self._coupling.gain_db / 10)
        louder = (loudness > loudness[index]) & self._lags.known
        alike = [
            m
            for m in np.flatnonzero(louder).tolist()
            if one_voice(power[[index, m]], loud[index] | loud[m])
        ]
        return self._hearing.mics[max(alike, key=lambda m: loudness[m])] if alike else None

    def _floor_db(self, tick: int) -> npt.NDArray[np.float64]:
        floor = self._hearing.window(
            tick * HOPS_PER_TICK, 1, np.zeros(len(self._hearing.mics), int)
        )[1]
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
