"""What is removed from a microphone's sound, and what stays as it was."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.core.model import SAMPLE_RATE, TICK
from node.core.room.hearing import BAND_EDGES_HZ, BANDS, HOP
from node.core.room.masking import FOREIGN, LEAST_GAIN, UNTOUCHED, WINDOWS_PER_FRAME, gains, masked

Samples = npt.NDArray[np.int16]
Gains = npt.NDArray[np.float32]

ALL = np.ones((WINDOWS_PER_FRAME, BANDS), np.float32)
FRAMES = 20


def noise(seed: int, loudness: float = 3000) -> Samples:
    rng = np.random.default_rng(seed)
    return np.rint(loudness * rng.uniform(-1, 1, FRAMES * TICK)).astype(np.int16)


def tone(band: int) -> Samples:
    """A sine in the middle of a band."""
    low, high = BAND_EDGES_HZ[band : band + 2]
    phase = np.pi * (low + high) / SAMPLE_RATE * np.arange(FRAMES * TICK)
    sine: Samples = np.rint(4000 * np.sin(phase)).astype(np.int16)
    return sine


def taken_out(sound: Samples, band_gains: Gains) -> Samples:
    """Every frame is masked alike; the first and the last one are next to silence."""
    padded = np.pad(sound, HOP)
    frames = [
        masked(
            padded[begin : begin + HOP],
            padded[begin + HOP : begin + HOP + TICK],
            padded[begin + HOP + TICK : begin + 2 * TICK],
            band_gains,
        )
        for begin in range(0, len(sound), TICK)
    ]
    return np.concatenate(frames)


def level_db(sound: Samples) -> float:
    """Away from both ends of the tone."""
    middle = sound[2 * TICK : -2 * TICK].astype(np.float64)
    return 10 * float(np.log10(np.mean(middle**2)))


def test_what_is_a_microphones_own_is_left_as_it_is() -> None:
    assert (taken_out(noise(1), ALL) == noise(1)).all()


def test_what_is_wholly_anothers_is_40_db_fainter() -> None:
    faint = taken_out(noise(1), FOREIGN)
    assert level_db(faint) == pytest.approx(level_db(noise(1)) - 40, abs=0.1)
    assert np.abs(faint - noise(1) / 100).max() <= 0.5


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 99), st.floats(0, 32767))
def test_a_gain_next_to_one_changes_nothing(seed: int, loudness: float) -> None:
    """Cut into windows, filtered and put back together, sound is unchanged."""
    sound = noise(seed, loudness)
    parts = taken_out(sound, ALL * np.float32(1 - 1e-6)).astype(int)
    assert np.abs(parts - sound).max() <= 1


@pytest.mark.parametrize("band", range(1, BANDS - 1))
def test_a_bands_gain_concerns_that_band(band: int) -> None:
    only = ALL.copy()
    only[:, band] = LEAST_GAIN
    sound = {b: tone(b) for b in (band - 1, band, band + 1)}
    fainter = {b: level_db(taken_out(s, only)) - level_db(s) for b, s in sound.items()}
    assert fainter == pytest.approx({band - 1: 0, band: -20, band + 1: 0}, abs=1.5)


def test_gains_change_within_a_frame() -> None:
    """Each of the three windows has its own mask."""
    early = ALL.copy()
    early[2] = 0
    sound = tone(3)
    heard = masked(sound[:HOP], sound[HOP : HOP + TICK], sound[HOP + TICK : 2 * TICK], early)
    before, after = (np.abs(half[HOP // 2 :]).max() for half in np.split(heard, 2))
    assert before > 3800
    assert after < 2200


def test_gains_follow_the_own_share() -> None:
    own = np.array([0, LEAST_GAIN**2 / 8, UNTOUCHED / 4, UNTOUCHED, 1], np.float32)
    assert gains(own) == pytest.approx([LEAST_GAIN, LEAST_GAIN, 0.5, 1, 1])
