"""Loops at the end of a text."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from node.core.text.hallucination import deloop, is_doubled, repeats

WORDS = ["a", "b", "ab", "A,", "no", "non.", "c!"]
texts = st.binary(max_size=14).map(lambda drawn: " ".join(WORDS[n % len(WORDS)] for n in drawn))
unlike = st.binary(max_size=20).map(lambda drawn: [f"w{n}" for n in dict.fromkeys(drawn)])


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("", ""),
        ("oui oui", "oui oui"),
        ("no no no", "no"),
        ("So thank you, Mr. President, thank you, Mr. President, thank you, Mr. President", None),
        ("and he said go home go home go home go", "and he said go home"),
        ("I am going going going goi", "I am going"),
        ("I am am a", "I am am a"),
        ("a b a b a c", "a b a b a c"),
        ("b a a a b a a a b a a a", "b a"),
        ("Merci. Merci ! merci", "Merci."),
        ("1,5,5,5,5,5", "1,5"),
        ("À 3,5 % non,non,non", "À 3,5 % non"),
    ],
)
def test_a_loop_is_left_once(text: str, kept: str | None) -> None:
    assert deloop(text) == (kept if kept is not None else "So thank you, Mr. President")


def test_characters_stand_for_words_where_none_are_set_apart() -> None:
    assert deloop("好的多谢多谢多谢多", spaced=False) == "好的多谢"
    assert deloop("ありがとう", spaced=False) == "ありがとう"


@given(texts)
@example("b a a a b a a a b a a a")
def test_it_ends_where_it_is(text: str) -> None:
    once = deloop(text)
    assert deloop(once) == once


@given(texts)
def test_what_is_left_is_the_beginning(text: str) -> None:
    left, all_words = deloop(text).split(), text.split()
    assert [w.rstrip(",;:") for w in left] == [w.rstrip(",;:") for w in all_words[: len(left)]]


@given(unlike)
def test_a_text_without_a_loop_is_untouched(found: list[str]) -> None:
    text = " ".join([*found, *found])  # said twice: no loop
    assert deloop(text) == text


@given(st.lists(st.sampled_from(["x", "y"]), max_size=3), unlike.filter(bool), st.integers(3, 8))
def test_any_phrase_three_times_is_found(before: list[str], phrase: list[str], times: int) -> None:
    left = deloop(" ".join([*before, *phrase * times])).split()
    assert left == [*before, *phrase]


@pytest.mark.parametrize(
    ("text", "second_look"),
    [
        ("oui oui oui", False),
        ("yes yes yes yes", True),
        ("go home go home", False),
        ("go home go home go home", True),
        ("Increase that limit. Increase that limit.", True),
        ("the meeting starts at nine", False),
        ("1,5,5,5,5", True),
        ("", False),
    ],
)
def test_a_second_look_is_taken_at_longer_repetitions(text: str, *, second_look: bool) -> None:
    assert repeats(text) is second_look


@pytest.mark.parametrize(
    ("text", "doubled"),
    [
        ("", False),
        ("next", False),
        ("Next. Next.", True),
        ("Bonjour ! Bonjour !", True),
        ("Set the timer. Sets the timer.", True),
        ("I do not know if it is right, I do not now if it is right.", True),
        ("Yes, it is.", False),
        ("The cat sat on the mat.", False),
    ],
)
def test_a_text_that_is_one_phrase_twice(text: str, doubled: bool) -> None:
    assert is_doubled(text) is doubled


def test_characters_said_twice() -> None:
    assert is_doubled("こんにちはこんにちは", spaced=False)
    assert not is_doubled("こんにちは", spaced=False)
