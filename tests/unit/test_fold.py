from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from node.core.room.front_end import Fold
from tests.rig.talk import voice

Samples = npt.NDArray[np.int16]


def speech(seed: int = 0, level: float = 8000) -> Samples:
    return (voice(seed, 1.0) * level).astype(np.int16)


def stereo(left: Samples, right: Samples) -> Samples:
    return np.stack([left, right], axis=1)


def noise(seed: int, level: float = 20) -> Samples:
    return (np.random.default_rng(seed).standard_normal(16000) * level).astype(np.int16)


def test_one_channel_is_left_as_it_is() -> None:
    sound = speech()
    assert np.array_equal(Fold()(sound[:, None]), sound)


@pytest.mark.parametrize("channels", [2, 3, 6])
def test_the_same_on_all_channels_stays_the_same(channels: int) -> None:
    fold, sound = Fold(), speech()
    assert np.array_equal(fold(np.stack([sound] * channels, axis=1)), sound)
    assert not fold.cancels


def test_two_that_cancel_each_other_become_their_difference() -> None:
    fold, sound = Fold(), speech()
    assert np.array_equal(fold(stereo(sound, -sound)), sound)
    assert fold.cancels


@pytest.mark.parametrize(
    "right", [speech(1), noise(1), np.zeros(16000, np.int16), -speech(0) // 4], ids=str
)
def test_two_that_do_not_become_their_mean(right: Samples) -> None:
    fold, left = Fold(), speech()
    mean = np.rint((left.astype(float) + right) / 2)
    assert np.array_equal(fold(stereo(left, right)), mean)
    assert not fold.cancels


def test_an_offset_says_nothing_about_the_wiring() -> None:
    fold, sound = Fold(), speech(level=300)
    fold(stereo(sound + np.int16(600), sound - np.int16(600)))
    assert not fold.cancels
    inverted = Fold()
    inverted(stereo(sound + np.int16(600), np.int16(600) - sound))
    assert inverted.cancels


def test_noise_before_speech_does_not_decide() -> None:
    fold, sound = Fold(), speech()
    fold(stereo(noise(1), noise(2)))
    assert np.array_equal(fold(stereo(sound, -sound)), sound)
    assert fold.cancels


def test_nothing_is_nothing() -> None:
    fold = Fold()
    assert len(fold(np.zeros((0, 2), np.int16))) == 0
    assert not fold(np.zeros((100, 2), np.int16)).any()
    assert not fold.cancels


def test_full_scale_does_not_turn_over() -> None:
    square = np.repeat(np.array([32767, -32768, 32767, -32768], np.int16), 4000)
    folded = Fold()(stereo(square, np.invert(square)))
    assert np.abs(folded.astype(int) - square).max() <= 1
