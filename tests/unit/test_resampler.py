from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from node.core.model import SAMPLE_RATE
from node.core.resampler import Resampler

HERTZ = 440.0


def tone(rate: int) -> npt.NDArray[np.int16]:
    time = np.arange(rate) / rate
    return np.round(8000 * np.sin(2 * np.pi * HERTZ * time)).astype(np.int16)


@pytest.mark.parametrize("rate", [8000, 44100, 48000])
def test_a_tone_keeps_its_pitch_its_loudness_and_its_length(rate: int) -> None:
    resampler, sound = Resampler(rate), tone(rate)
    pieces = [resampler(piece) for piece in np.array_split(sound, 20)]
    resampled = np.concatenate([*pieces, resampler.rest()])
    assert len(resampled) == SAMPLE_RATE
    settled = slice(SAMPLE_RATE // 10, -SAMPLE_RATE // 10)
    error = resampled[settled].astype(float) - tone(SAMPLE_RATE)[settled]
    assert np.abs(error).max() < 8  # -60 dB of the tone


def test_what_is_at_16_khz_passes_untouched() -> None:
    resampler, sound = Resampler(SAMPLE_RATE), tone(SAMPLE_RATE)
    assert resampler(sound) is sound
    assert len(resampler.rest()) == 0


def test_a_column_of_channels_will_do() -> None:
    """Folding one channel gives a view whose samples are not contiguous."""
    wide = np.stack([tone(48000), np.zeros(48000, np.int16)], axis=1)
    assert len(Resampler(48000)(wide[:, 0])) > 0
