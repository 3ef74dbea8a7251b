from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.core.room.front_end import SETTLED_FRAMES, STILL_FRAMES, NoiseFloor, Stillness

NOISE = 1e-6


def still(powers: list[float]) -> list[bool]:
    return Stillness()(powers, NoiseFloor()(powers))


def test_noise_is_still_once_its_floor_is_known() -> None:
    found = still([NOISE] * (SETTLED_FRAMES + 10))
    assert found == [False] * SETTLED_FRAMES + [True] * 10


def test_what_is_louder_is_not_and_leaves_a_while_after_it() -> None:
    found = still([NOISE] * 100 + [NOISE * 2] * 3 + [NOISE] * 30)
    assert found[99]
    assert not any(found[100 : 103 + STILL_FRAMES])
    assert all(found[103 + STILL_FRAMES :])


def test_a_fan_that_is_switched_on_becomes_the_floor() -> None:
    assert still([NOISE] * 100 + [NOISE * 10] * 300)[-1]


def test_speech_without_a_pause_does_not() -> None:
    syllables = [NOISE * 1000 * (1 + np.sin(n / 2)) + NOISE for n in range(600)]
    assert not any(still([NOISE] * 100 + syllables)[100:])


def test_digital_silence_is_still() -> None:
    assert still([0.0] * 100)[-1]


def test_noise_is_still_soon_after_digital_silence() -> None:
    assert still([0.0] * 200 + [NOISE] * (STILL_FRAMES + 1))[-1]


@pytest.mark.parametrize("gain", [1e-3, 1e3])
def test_loudness_does_not_matter(gain: float) -> None:
    powers = (1 + np.random.default_rng(0).exponential(1, 500)) * NOISE
    assert still(powers.tolist()) == still((powers * gain).tolist())


@given(st.lists(st.floats(0, 1), max_size=200), st.integers(0, 200))
def test_pieces_are_told_like_the_whole(powers: list[float], cut: int) -> None:
    floor, parts = NoiseFloor(), Stillness()
    told = [parts(part, floor(part)) for part in (powers[:cut], powers[cut:])]
    assert told[0] + told[1] == still(powers)
