from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.core.model import Word
from node.core.word_times import without_pauses
from tests.unit.spoken import words


def test_a_pause_is_taken_from_the_word_behind_it() -> None:
    aligned = (Word("nine.", 1.4, 1.7, 0.9), Word("Coffee", 1.7, 2.74, 0.8))
    assert without_pauses(aligned) == (aligned[0], Word("Coffee", 2.34, 2.74, 0.8))


@pytest.mark.parametrize("word", [Word("is", 1.0, 1.2, 0.9), Word("is", 1.0, 1.0, 0.9)])
def test_a_word_as_long_as_it_takes_to_say_stays(word: Word) -> None:
    assert without_pauses([word]) == (word,)


@settings(max_examples=50, deadline=None)
@given(st.lists(words, max_size=4))
def test_only_beginnings_move_and_only_later(aligned: list[Word]) -> None:
    for before, after in zip(aligned, without_pauses(aligned), strict=True):
        kept = (before.word, before.end, before.probability)
        assert (after.word, after.end, after.probability) == kept
        assert before.start <= after.start <= max(before.start, before.end)
