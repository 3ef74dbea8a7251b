from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.core.model import Word
from node.core.text.word_times import audible, within_speech
from tests.unit.spoken import words

LOUD, QUIET = 1.0, -0.5
"""Of a log spectrum as Whisper computes it."""


def spectrum(*parts: tuple[float, float]) -> npt.NDArray[np.float32]:
    """Loudness and seconds of each part, in 80 bands."""
    frames = np.concatenate([np.full(round(100 * seconds), level) for level, seconds in parts])
    return np.tile(frames, (80, 1)).astype(np.float32)


def heard(*parts: tuple[bool, float]) -> npt.NDArray[np.bool_]:
    return np.concatenate([np.full(round(100 * seconds), loud) for loud, seconds in parts])


def test_sound_is_told_from_the_quiet_around_it() -> None:
    sound = spectrum((QUIET, 0.5), (LOUD, 1.0), (QUIET, 0.5))
    assert (audible(sound) == heard((False, 0.5), (True, 1.0), (False, 0.5))).all()


@pytest.mark.parametrize(("seconds", "loud"), [(0.06, True), (0.3, False)])
def test_the_closure_of_a_consonant_is_no_pause(seconds: float, loud: bool) -> None:
    sound = spectrum((QUIET, 0.5), (LOUD, 1.0), (QUIET, seconds), (LOUD, 1.0), (QUIET, 0.5))
    assert audible(sound)[150] == loud


def test_a_click_is_no_speech() -> None:
    sound = spectrum((QUIET, 0.5), (LOUD, 0.02), (QUIET, 0.5), (LOUD, 1.0))
    assert not audible(sound)[:100].any()


def test_nothing_is_told_in_noise_as_loud_as_the_voice() -> None:
    assert audible(spectrum((0.9, 1.0), (1.0, 1.0))).all()


def test_a_pause_belongs_to_no_word() -> None:
    aligned = (Word("nine.", 1.4, 1.7, 0.9), Word("Coffee", 1.7, 2.74, 0.8))
    sound = heard((True, 1.7), (False, 0.64), (True, 0.4))
    assert within_speech(aligned, sound) == (aligned[0], Word("Coffee", 2.34, 2.74, 0.8))


def test_the_last_word_ends_where_the_sound_does() -> None:
    aligned = [Word("dry", 1.0, 1.4, 0.9), Word("toast.", 1.4, 2.6, 0.9)]
    last = within_speech(aligned, heard((True, 1.9), (False, 0.8)))[-1]
    assert (last.start, last.end) == (1.4, 1.9)


def test_a_word_aligned_behind_all_sound_shares_the_time_of_the_one_before() -> None:
    aligned = [Word("dry", 1.0, 1.9, 0.9), Word("toast.", 1.9, 2.6, 0.9)]
    placed = within_speech(aligned, heard((True, 1.9), (False, 0.8)))
    assert placed == (Word("dry", 1.0, 1.3, 0.9), Word("toast.", 1.3, 1.9, 0.9))


def test_a_word_in_silence_alone_keeps_its_place_and_has_a_length() -> None:
    assert within_speech([Word("is", 1.0, 1.0, 0.9)], heard((False, 2.0)))[0].end > 1.0


def test_words_that_share_one_frame_are_apart_all_the_same() -> None:
    aligned = [Word("a", 1.0, 1.1, 0.9), Word("b", 1.1, 1.1, 0.9), Word("c", 1.1, 1.1, 0.9)]
    placed = within_speech(aligned, heard((False, 1.0), (True, 0.01), (False, 1.0)))
    assert [word.start for word in placed] == sorted({word.start for word in placed})


@given(st.lists(words, max_size=6), st.lists(st.booleans(), max_size=40))
def test_words_keep_their_order_and_have_a_length(aligned: list[Word], tenths: list[bool]) -> None:
    ordered = sorted(aligned, key=lambda word: word.start)
    placed = within_speech(ordered, np.repeat(np.array(tenths, bool), 10))
    assert [word.word for word in placed] == [word.word for word in ordered]
    assert all(word.start < word.end for word in placed)
    for before, after in itertools.pairwise(placed):
        assert before.end <= after.start
