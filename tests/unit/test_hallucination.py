"""What removes words that nobody said, and what it leaves alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.core.text.hallucination import (
    Said,
    is_courtesy,
    is_credit,
    is_inaudible,
    judged,
    quietest,
)

SURE = Said("", "en", 4.0, log_probability=-0.1, no_speech=0.01, capped=False)
LOOPED = "So I said I'm going to be a bad person, " + "I'm going to be a bad person, " * 9


def said(text: str, **changes: object) -> Said:
    return replace(SURE, text=text, **changes)  # type: ignore[arg-type]  # checked by its use


@pytest.mark.parametrize(
    "text",
    [
        "Turn on the kitchen light please.",
        "Thank you.",
        "Thanks for watching!",
        "No no no no, that is not what I mean.",
        "Non, non, non, non, non.",
        "Sous-titres réalisés par la communauté d'Amara.org",
    ],
)
def test_what_is_heard_for_sure_is_left_as_it_is(text: str) -> None:
    assert judged(said(text)) == (text, None)


def test_what_is_as_short_as_a_cough_needs_to_be_likely() -> None:
    cough = said("Thank you.", seconds=1.6, log_probability=-0.9)
    assert judged(cough) == ("", "brief")
    assert judged(replace(cough, log_probability=-0.5)) == ("Thank you.", None)
    assert judged(replace(cough, seconds=2.0)) == ("Thank you.", None)


def test_more_words_than_a_cough_makes_may_be_as_short_and_as_unlikely() -> None:
    order = said("Set a timer for five minutes.", seconds=1.6, log_probability=-0.9)
    assert judged(order) == (order.text, None)
    assert judged(replace(order, text="Set a timer now.")) == ("", "brief")
    assert judged(replace(order, log_probability=-1.2)) == ("", "brief")


def test_what_is_short_needs_to_be_likelier_than_one_in_three() -> None:
    laugh = said("I got it!", seconds=2.9, log_probability=-1.2)
    assert judged(laugh) == ("", "brief")
    assert judged(replace(laugh, log_probability=-1.05)) == ("I got it!", None)
    assert judged(replace(laugh, seconds=3.1)) == ("I got it!", None)


def test_a_phrase_said_twice_is_worth_a_second_look_and_left() -> None:
    assert said("Bonjour ! Bonjour !").faults == 1
    assert judged(said("Bonjour ! Bonjour !")) == ("Bonjour ! Bonjour !", None)


def test_silence_needs_both_of_its_signs() -> None:
    assert judged(said("Six", no_speech=0.9, log_probability=-1.5)) == ("", "no speech")
    assert judged(said("Six", no_speech=0.9)) == ("Six", None)
    assert judged(said("Six", log_probability=-1.5)) == ("Six", None)


@pytest.mark.parametrize(
    "text",
    [
        "Thanks for watching!",
        "Thanks for watching! Thanks for watching! Thanks for watching!",
        "Merci d'avoir regardé cette vidéo !",
        "Sous-titrage ST' 501",
        "Sous-titrage Société Radio-Canada",
        "❤️ par SousTitreur.com",
        "Sous-titres faits par la communauté d'Amara.org",
        "Subtitles by the Amara.org community",
        "Untertitel der Amara.org-Community",
    ],
)
@pytest.mark.parametrize("doubt", [{"log_probability": -0.6}, {"no_speech": 0.4}])
def test_a_credit_goes_where_there_is_doubt(text: str, doubt: dict[str, float]) -> None:
    assert judged(said(text, **doubt)) == ("", "phrase")


@pytest.mark.parametrize("text", ["Thank you.", "Merci beaucoup !", "you", "À bientôt"])
def test_thanks_go_where_there_is_more_doubt(text: str) -> None:
    assert judged(said(text, log_probability=-0.9, no_speech=0.5)) == (text, None)
    assert judged(said(text, log_probability=-1.1)) == ("", "phrase")
    assert judged(said(text, no_speech=0.7)) == ("", "phrase")


@pytest.mark.parametrize(
    "text",
    [
        "Thank you Paul.",
        "Merci Marie.",
        "I said thanks for watching.",
        "Le sous-titrage de ce film est bon.",
        "Les sous-titres d'Amara.org ne me plaisent pas du tout, il faut les refaire demain.",
    ],
)
def test_a_phrase_of_silence_within_a_sentence_is_left(text: str) -> None:
    assert not is_credit(text)
    assert not is_courtesy(text)
    assert judged(said(text, log_probability=-0.9, no_speech=0.5)) == (text, None)


def test_a_loop_is_left_once_where_it_cannot_have_been_said() -> None:
    text, guard = judged(said(LOOPED, seconds=20.0))
    assert (text, guard) == ("So I said I'm going to be a bad person", "loop")
    spoken = "I want it now. I want it now. I want it now."
    assert judged(said(spoken)) == (spoken, None)
    assert judged(said(spoken, capped=True)) == ("I want it now.", "loop")
    assert judged(said(spoken, seconds=0.8)) == ("I want it now.", "loop")


def test_repetition_that_is_no_loop_at_the_end_goes_as_a_whole() -> None:
    assert judged(said("la " * 60 + "fin", seconds=20.0)) == ("", "compression")


def test_more_words_than_a_mouth_can_say_go() -> None:
    words = "one two three four five six seven eight nine ten eleven"
    assert judged(said(words, seconds=1.0)) == ("", "rate")
    assert judged(said(words, seconds=1.2)) == (words, None)


@pytest.mark.parametrize(
    ("text", "changes", "signs"),
    [
        ("Turn on the kitchen light please.", {}, 0),
        ("Turn on the kitchen light please.", {"no_speech": 0.9}, 0),
        ("Turn on the kitchen light please.", {"capped": True}, 1),
        ("Turn on the kitchen light please.", {"log_probability": -1.1}, 1),
        ("Turn on the kitchen light please.", {"seconds": 0.3}, 1),
        ("非常感谢。非常感谢。非常感谢。", {"language": "zh"}, 1),
        (LOOPED, {"seconds": 30.0}, 2),
        (LOOPED, {"seconds": 3.0, "capped": True, "log_probability": -1.1}, 5),
    ],
)
def test_signs_that_a_text_is_wrong_are_counted(
    text: str, changes: dict[str, object], signs: int
) -> None:
    """Silence is not a fault: it is judged separately."""
    assert said(text, **changes).faults == signs


def test_nothing_said_needs_no_guard() -> None:
    assert judged(said("", capped=True)) == ("", None)


def test_characters_are_not_counted_as_words() -> None:
    text = "今 日 は と て も い い 天 気 で す ね え"
    assert judged(said(text, seconds=0.5, language="ja")) == (text, None)


@given(
    st.builds(
        Said,
        st.text(max_size=80),
        st.just("en"),
        st.floats(0.1, 28),
        st.floats(-3, 0),
        st.floats(0, 1),
        st.booleans(),
    )
)
def test_no_guard_adds_anything(heard: Said) -> None:
    left, guard = judged(heard)
    assert " ".join(heard.text.split()).startswith(" ".join(left.split()))
    assert left == heard.text or guard is not None


def test_digital_silence_is_inaudible_and_a_whisper_is_not() -> None:
    rng = np.random.default_rng(1)
    dither = rng.integers(-1, 2, 16_000).astype(np.int16)
    whisper = dither.copy()
    whisper[8000:8600] += (30 * np.sin(np.arange(600) / 5)).astype(np.int16)  # -64 dBFS
    assert is_inaudible(np.zeros(16_000, np.int16))
    assert is_inaudible(np.zeros(0, np.int16))
    assert is_inaudible(dither)
    assert not is_inaudible(whisper)
    assert not is_inaudible(whisper[8000:8300])


@given(st.integers(30_000, 60_000))
def test_a_sound_is_cut_where_it_is_quietest(pause: int) -> None:
    sound = np.random.default_rng(1).integers(-9000, 9000, 96_000, dtype=np.int16)
    sound[pause : pause + 4000] = 0
    assert pause <= quietest(sound) <= pause + 4000


def test_the_cut_leaves_a_quarter_on_either_side() -> None:
    sound = np.zeros(96_000, np.int16)
    assert 23_500 <= quietest(sound) <= 72_500
