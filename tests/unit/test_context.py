"""What a speaker said before: remembered while it helps, forgotten when it may harm."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.core.model import SAMPLE_RATE, Transcription
from node.core.text.context import (
    FORGET,
    LEAD_WORDS,
    LEARNED,
    MAX_AGE_S,
    MAX_LENGTH_S,
    MAX_SPEAKERS,
    Contexts,
    Earlier,
    as_sentence,
    echoes,
    gone_on_from,
    newest_fitting,
)

ALICE = ("20261122T100000Z-3f9c", "desk", "Alice")
BRUNO = ("20261122T100000Z-3f9c", "desk", "Bruno")


def heard(text: str = "Bonjour.", confidence: float = 0.9, **changes: Any) -> Transcription:
    values = {"text": text, "language": "fr", "language_probability": 0.99, **changes}
    return Transcription(confidence=confidence, **values)


def samples(seconds: float) -> Any:
    return np.zeros(round(seconds * SAMPLE_RATE), np.int16)


class Talk:
    """A speaker who says one thing after another, a second apart."""

    def __init__(self) -> None:
        self.contexts, self.at = Contexts(), 0

    def say(self, said: Transcription, seconds: float = 2.0) -> None:
        self.at += round(seconds * SAMPLE_RATE)
        self.contexts.learn(ALICE, self.at, samples(seconds), said)
        self.at += SAMPLE_RATE

    def before(self) -> list[str]:
        return [earlier.text for earlier in self.contexts.of(ALICE, self.at)]


@pytest.fixture
def talk() -> Talk:
    return Talk()


def test_what_was_said_is_remembered_in_its_order(talk: Talk) -> None:
    talk.say(heard("Un."))
    talk.say(heard("Deux."))
    assert talk.before() == ["Un.", "Deux."]


def test_nobody_hears_what_another_said(talk: Talk) -> None:
    talk.say(heard())
    assert talk.contexts.of(BRUNO, talk.at) == ()
    assert talk.contexts.of(("another session", *ALICE[1:]), talk.at) == ()


def test_what_was_said_later_or_long_ago_is_no_context(talk: Talk) -> None:
    talk.say(heard())
    end = talk.at - SAMPLE_RATE
    assert talk.contexts.of(ALICE, end - 1) == ()
    assert talk.contexts.of(ALICE, end + round(MAX_AGE_S * SAMPLE_RATE))
    assert talk.contexts.of(ALICE, end + round(MAX_AGE_S * SAMPLE_RATE) + 1) == ()


@pytest.mark.parametrize(
    "said",
    [heard(confidence=FORGET - 0.01), heard(doubtful=True), heard("", 0.0, doubtful=True)],
    ids=["unlikely", "doubtful", "nothing"],
)
def test_a_doubtful_text_makes_all_before_it_be_forgotten(talk: Talk, said: Transcription) -> None:
    talk.say(heard())
    talk.say(said)
    assert talk.before() == []


def test_a_text_that_is_neither_sure_nor_doubtful_is_passed_over(talk: Talk) -> None:
    talk.say(heard("Un."))
    talk.say(heard("Deux.", (FORGET + LEARNED) / 2))
    assert talk.before() == ["Un."]


def test_another_language_serves_once_it_is_spoken_twice(talk: Talk) -> None:
    talk.say(heard("Un."))
    talk.say(heard("Two.", language="en"))
    assert talk.before() == []
    talk.say(heard("Three.", language="en"))
    assert talk.before() == ["Two.", "Three."]


def test_who_changes_language_at_every_sentence_has_no_context(talk: Talk) -> None:
    for number in range(6):
        talk.say(heard(language=("fr", "en")[number % 2]))
        assert number == 0 or talk.before() == []


@given(st.lists(st.floats(0.1, 28), min_size=1, max_size=20))
def test_what_is_remembered_has_a_bound(lengths: list[float]) -> None:
    talk = Talk()
    for seconds in lengths:
        talk.say(heard(), seconds)
    kept = talk.contexts.of(ALICE, talk.at)
    seconds = sum(len(earlier.samples) for earlier in kept) / SAMPLE_RATE
    assert seconds <= MAX_LENGTH_S
    assert kept or lengths[-1] > MAX_LENGTH_S - 1 / SAMPLE_RATE


def test_nothing_is_kept_of_a_session_that_is_erased(talk: Talk) -> None:
    talk.say(heard())
    talk.contexts.learn(("another", "desk", "Alice"), 1, samples(1), heard())
    talk.contexts.forget(ALICE[0])
    assert talk.before() == []
    assert talk.contexts.of(("another", "desk", "Alice"), 1)


def test_nothing_is_kept_of_a_speaker_who_was_misheard(talk: Talk) -> None:
    talk.say(heard())
    talk.contexts.learn(BRUNO, 1, samples(1), heard())
    talk.contexts.forget_speaker(ALICE)
    talk.contexts.forget_speaker(ALICE)
    assert talk.before() == []
    assert talk.contexts.of(BRUNO, 1)


def test_the_speaker_who_was_silent_longest_is_forgotten_first() -> None:
    contexts = Contexts()
    for number in range(MAX_SPEAKERS + 1):
        contexts.learn(("session", f"mic {number}", "Alice"), 1, samples(1), heard())
    assert contexts.of(("session", "mic 0", "Alice"), 1) == ()
    assert contexts.of(("session", "mic 1", "Alice"), 1)


def said(*texts: str) -> list[Earlier]:
    return [Earlier(samples(2), text, "fr") for text in texts]


@given(st.integers(0, 6 * SAMPLE_RATE))
def test_the_last_utterances_that_fit_are_heard(room: int) -> None:
    kept = [earlier.text for earlier in newest_fitting(said("a", "b"), room)]
    fits = min(2, room // (2 * SAMPLE_RATE))
    assert kept == ["a", "b"][2 - fits :]


def test_the_decoder_goes_on_from_few_letters_where_none_are_set_apart() -> None:
    japanese = [Earlier(samples(2), "こんにちは、皆さんお元気ですか", "ja")] * 3
    assert len(gone_on_from(japanese)) == 1


def test_the_decoder_goes_on_from_few_words() -> None:
    long = " ".join(["mot"] * LEAD_WORDS)
    assert [x.text for x in gone_on_from(said("Un.", long))] == [long]
    assert [x.text for x in gone_on_from(said(long, "Un.", "Deux."))] == [long, "Un.", "Deux."]


@pytest.mark.parametrize(
    ("text", "before", "expected"),
    [
        ("Cancel all timers.", "Set a timer. cancel all timers", True),
        ("Cancel all timers, please.", "Cancel all lights.", False),
        ("Next.", "Next.", False),
        ("Set a timer. Set the light to green. Set a timer.", "Set the light to green.", True),
        ("Was ist das?", "", False),
    ],
)
def test_a_text_that_says_again_what_stands_before_it(
    text: str, before: str, expected: bool
) -> None:
    assert echoes(text, before) is expected


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("Allume la lumière", "Allume la lumière."),
        ("éteins la lumière.", "Éteins la lumière."),
        ("2 minuten", "2 minuten."),
        ("Allume la chambre à 80%", "Allume la chambre à 80%."),
        ("Well, then, -", "Well, then."),
        ("Quelle heure est-il ?", "Quelle heure est-il ?"),
        ("Il a dit : « Viens ! »", "Il a dit : « Viens ! »"),
        ("Wait…", "Wait…"),
        ("बत्ती जलाओ।", "बत्ती जलाओ।"),
    ],
)
def test_what_was_said_before_is_a_sentence(text: str, sentence: str) -> None:
    assert as_sentence(text) == sentence


def test_a_text_without_spaces_between_words_is_left_as_it_is() -> None:
    assert as_sentence("電気をつけて", spaced=False) == "電気をつけて"


def test_an_echo_without_spaces_between_words() -> None:
    assert echoes("東京です", "ここは東京です", spaced=False)
