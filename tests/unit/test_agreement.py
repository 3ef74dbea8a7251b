from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.core.text.agreement import Agreement

PASSES = st.lists(
    st.lists(st.sampled_from(["le", "Le", "chat", "chat.", "Chat,", "dort", "…", "夜", "è"])).map(
        " ".join
    )
)


def shown(*passes: str) -> str:
    agreement = Agreement()
    for text in passes:
        agreement.hear(text)
    return agreement.text


def letters(text: str) -> str:
    return "".join(sign for sign in text.casefold() if sign.isalnum())


def test_one_pass_is_not_enough() -> None:
    assert shown("Bonjour tout le monde.") == ""


def test_what_two_passes_begin_with_is_certain() -> None:
    passes = ["Bonjour tout.", "Bonjour tout le mont.", "Bonjour tout le monde, dit"]
    assert shown(*passes[:2]) == "Bonjour tout"
    assert shown(*passes) == "Bonjour tout le"
    assert shown(*passes, "bonjour tout le monde, dit-elle.") == "Bonjour tout le monde,"


def test_a_sign_where_the_sound_ends_is_not_certain() -> None:
    assert shown("Well done.", "Well done.") == "Well done"
    assert (
        shown("Well done.", "Well done.", "Well done, Bob.", "Well done, Bob.") == "Well done Bob"
    )


def test_a_pass_that_errs_takes_nothing_back() -> None:
    agreement = Agreement()
    assert [agreement.hear(text) for text in ("one two", "one two", "won", "", "one two x")] == [
        *(False, True, False, False, False)
    ]
    assert agreement.text == "one two"


def test_a_script_without_spaces_grows_by_letters() -> None:
    assert shown("今日は", "今日は天気") == "今日は"
    assert shown("今日は", "今日は天", "今日は天気") == "今日は天"


def test_a_sign_that_stands_alone_holds_nothing_up() -> None:
    assert shown("Ça va ?", "Ça va ?", "Ça va bien", "Ça va bien") == "Ça va bien"
    assert shown("今日は。", "今日は。", "今日は天気", "今日は天気が") == "今日は天気"
    assert shown("- Oui", "Oui", "Oui, bon") == "Oui"


def test_a_sign_alone_is_no_news() -> None:
    agreement = Agreement()
    passes = ("Ça va", "Ça va", "Ça va ?", "Ça va ?")
    assert [agreement.hear(text) for text in passes] == [False, True, False, False]


@pytest.mark.parametrize("text", ["a b c d", "Où est-il ?", "Ça va… oui."])
def test_a_text_that_comes_again_is_shown_but_for_its_last_sign(text: str) -> None:
    assert shown(text, text) == text.rstrip(".? ")


@given(PASSES)
def test_what_is_shown_only_grows_at_its_end(passes: list[str]) -> None:
    agreement, before = Agreement(), ""
    for text in passes:
        grew = agreement.hear(text)
        assert agreement.text.startswith(before)
        assert grew or agreement.text == before
        before = agreement.text


@given(PASSES)
def test_what_is_shown_was_said_by_two_successive_passes(passes: list[str]) -> None:
    agreement, before = Agreement(), ""
    for text in passes:
        if agreement.hear(text):
            assert letters(before).startswith(letters(agreement.text))
            assert letters(text).startswith(letters(agreement.text))
        before = text
