"""Others' leaks are removed from a microphone's sound, and its own speech stays."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from node.core.model import SAMPLE_RATE
from node.core.room.hearing import BANDS, HOP
from node.core.room.subtraction import EDGE, LEAST_FRAMES, Stretch, subtract
from tests.rig import talk

Floats = npt.NDArray[np.float32]

HOPS = 600
ALONE = 300
"""Hops in which the other speaks alone; in those that follow both speak."""


def room(seed: int) -> Floats:
    """Impulse response: 20 ms of travel, then 0.1 s of reverberation, 10 dB below the voice."""
    rng = np.random.default_rng(seed)
    path = rng.standard_normal(1600) * np.exp(-np.arange(1600) / 400)
    path = np.concatenate([np.zeros(320), path / np.sqrt(np.square(path).sum())])
    return (path * 10 ** (-10 / 20)).astype(np.float32)


def heard(drift: float = 0.0) -> tuple[Floats, Floats, Floats]:
    """Own voice, what the other leaks, and the other's voice as its own microphone hears it."""
    count = HOPS * HOP + 2 * EDGE
    mine, other = (
        talk.voice(seed, count / SAMPLE_RATE + 1)[: count + 8000].copy() for seed in (1, 2)
    )
    mine[: EDGE + ALONE * HOP] = 0
    leak = np.convolve(other, room(3))[: len(other)]
    at = np.arange(count) * (1 + drift)
    drifted = np.interp(at, np.arange(len(other)), other)
    noise = np.random.default_rng(4).standard_normal((2, count)) * talk.NOISE
    return mine[:count], (leak[:count] + noise[0]), (drifted + noise[1]).astype(np.float32)


def shares() -> Floats:
    own = np.zeros((2, HOPS, BANDS), np.float32)
    own[1], own[0, ALONE:] = 1, 1
    return own


def level_db(sound: npt.NDArray[np.floating]) -> float:
    return float(10 * np.log10(np.square(sound).mean()))


@pytest.mark.parametrize(("drift", "least_db"), [(0.0, 10), (150e-6, 7), (-150e-6, 7)])
def test_the_others_voice_goes_and_ones_own_stays(drift: float, least_db: float) -> None:
    mine, leak, other = heard(drift)
    sound = np.stack([mine + leak, other]).astype(np.float32)
    rest = subtract(Stretch(sound, shares()), ALONE + 10, HOPS - 10)
    assert rest is not None
    part = slice(EDGE + (ALONE + 10) * HOP, EDGE + (HOPS - 10) * HOP)
    assert len(rest.sound) == part.stop - part.start
    before, after = level_db(leak[part]), level_db(rest.sound - mine[part])
    assert after < before - least_db
    assert rest.own.mean() > 0.5


def test_nothing_is_left_where_only_the_other_speaks() -> None:
    _, leak, other = heard()
    sound = np.stack([leak, other]).astype(np.float32)
    rest = subtract(Stretch(sound, shares()), ALONE, HOPS)
    assert rest is not None
    assert level_db(rest.sound) < level_db(leak[EDGE + ALONE * HOP :]) - 17  # 15.6 by the filter
    assert rest.own.min(axis=1).mean() < 0.05  # in the band in which the other speaks


def test_unrelated_sound_stays_as_it_is() -> None:
    mine, _, other = heard()
    noise = np.random.default_rng(5).standard_normal(len(mine)) * talk.NOISE
    sound = np.stack([mine + noise, other]).astype(np.float32)
    rest = subtract(Stretch(sound, shares()), ALONE + 10, HOPS - 10)
    assert rest is not None
    part = slice(EDGE + (ALONE + 10) * HOP, EDGE + (HOPS - 10) * HOP)
    assert level_db(rest.sound - mine[part]) < level_db(mine[part]) - 20


def test_nothing_is_done_before_the_other_has_been_heard_alone() -> None:
    _, leak, other = heard()
    own = shares()
    own[0, LEAST_FRAMES - 10 :] = 1
    assert subtract(Stretch(np.stack([leak, other]).astype(np.float32), own), ALONE, HOPS) is None
