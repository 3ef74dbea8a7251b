from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.core.model import SAMPLE_RATE
from node.core.room.front_end import ROW_SAMPLES, HighPass

SECOND = np.arange(SAMPLE_RATE) / SAMPLE_RATE


def filtered(sound: npt.NDArray[np.int16], rate: int = SAMPLE_RATE) -> npt.NDArray[np.int16]:
    return HighPass(rate)(sound)


def tone(hertz: float, rate: int = SAMPLE_RATE) -> npt.NDArray[np.int16]:
    time = np.arange(2 * rate) / rate
    return np.round(8000 * np.sin(2 * np.pi * hertz * time)).astype(np.int16)


def gain_db(hertz: float, rate: int = SAMPLE_RATE) -> float:
    sound = tone(hertz, rate)
    settled = slice(rate, None)
    before, after = sound[settled].astype(float).std(), filtered(sound, rate)[settled].std()
    return float(20 * np.log10(after / before))


@pytest.mark.parametrize("offset", [600, -600, 32767, -32768])
def test_a_constant_is_silence_from_its_first_sample_on(offset: int) -> None:
    assert not filtered(np.full(SAMPLE_RATE, offset, np.int16)).any()


def test_an_offset_makes_no_difference() -> None:
    sound = tone(300)
    assert np.array_equal(filtered(sound + np.int16(600)), filtered(sound))


def test_an_offset_that_comes_later_is_soon_gone() -> None:
    stepped = np.concatenate([np.zeros(SAMPLE_RATE), np.full(SAMPLE_RATE, 600)]).astype(np.int16)
    after = filtered(stepped)[SAMPLE_RATE:]
    assert after[0] == 600
    assert not after[SAMPLE_RATE // 10 :].any()


@pytest.mark.parametrize("rate", [16000, 44100, 48000])
def test_the_cut_off_is_the_same_at_every_rate_and_voices_stay(rate: int) -> None:
    assert gain_db(20, rate) == pytest.approx(-3, abs=0.1)
    assert gain_db(5, rate) < -12
    for voiced in (80, 120, 1000, 7000):
        assert abs(gain_db(voiced, rate)) < 0.3


def test_full_scale_stays_within_it() -> None:
    square = np.where(np.sin(2 * np.pi * 5 * SECOND) > 0, 32767, -32768).astype(np.int16)
    sound = filtered(square)
    assert sound.max() == 32767
    assert sound.min() == -32768
    assert (np.sign(sound[1:][np.diff(square.astype(int)) > 0]) > 0).all()


@given(st.lists(st.integers(0, 3 * ROW_SAMPLES), max_size=12), st.integers(0, 2**32 - 1))
def test_it_does_not_matter_where_blocks_end(lengths: list[int], seed: int) -> None:
    sound = np.random.default_rng(seed).integers(-32768, 32768, sum(lengths), dtype=np.int16)
    stream, ends = HighPass(SAMPLE_RATE), np.cumsum([0, *lengths])
    parts = [stream(sound[a:b]) for a, b in itertools.pairwise(ends)]
    whole = filtered(sound)
    assert np.array_equal(np.concatenate([sound[:0], *parts]), whole)
    assert whole.dtype == np.int16
