"""The language expected of a microphone's next utterance."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.core.model import Transcription
from node.core.text.prior import ENGLISH_EXCESS, SWITCH, LanguagePrior, Prior, calibrated, weighed

languages = st.sampled_from(["en", "fr", "de"])
probabilities = st.floats(0, 1)
histories = st.lists(st.tuples(languages, probabilities))
MAX_ODDS = (1 - SWITCH) / SWITCH
SURE = MAX_ODDS / (MAX_ODDS + 1)


def heard(language: str, probability: float, text: str = "OK") -> Transcription:
    return Transcription(text, language, probability, 0.9)


def after(*history: tuple[str, float]) -> Prior | None:
    priors = LanguagePrior()
    for language, probability in history:
        priors.learn("mic", "Alice", heard(language, probability))
    return priors.of("mic", "Alice")


def chosen(detected: dict[str, float], prior: Prior | None) -> str:
    shares = weighed(detected, prior)
    return max(shares, key=shares.__getitem__)


def test_an_unsure_utterance_is_in_the_language_of_the_last_one() -> None:
    unsure = {"en": 0.6, "fr": 0.4}
    assert chosen(unsure, None) == "en"
    assert chosen(unsure, after(("fr", 0.99))) == "fr"


def test_english_is_believed_where_it_is_sure() -> None:
    sure, unsure = {"en": 0.95, "fr": 0.05}, {"en": 0.8, "fr": 0.2}
    assert chosen(calibrated(sure), None) == "en"
    assert chosen(calibrated(unsure), None) == "fr"
    assert calibrated({"de": 0.5, "fr": 0.5}) == {"de": 0.5, "fr": 0.5}
    assert calibrated({"en": 1.0})["en"] == 1 / ENGLISH_EXCESS


@given(history=histories, language=languages)
def test_no_past_holds_a_sure_detection(history: list[tuple[str, float]], language: str) -> None:
    others = {"en", "fr", "de"} - {language}
    detected = {language: SURE + 0.001, **dict.fromkeys(others, 0.0), others.pop(): 0.999 - SURE}
    assert chosen(detected, after(*history)) == language


@given(history=histories)
def test_odds_are_bounded_and_favour_somebody(history: list[tuple[str, float]]) -> None:
    prior = after(*history)
    assert prior is None or 1 < prior.odds <= MAX_ODDS * (1 + 1e-9)


@given(
    detected=st.dictionaries(languages, st.floats(1e-9, 1), min_size=1),
    prior=st.none() | st.builds(Prior, languages, st.floats(1, MAX_ODDS)),
)
def test_probabilities_add_up(detected: dict[str, float], prior: Prior | None) -> None:
    shares = weighed(detected, prior)
    assert set(shares) == set(detected)
    assert sum(shares.values()) == pytest.approx(1)


def test_what_is_expected_fades_while_nothing_tells_the_language() -> None:
    priors = LanguagePrior()
    odds = []
    priors.learn("mic", "Alice", heard("fr", 1.0))
    for _ in range(5):
        prior = priors.of("mic", "Alice")
        assert prior is not None
        odds.append(prior.odds)
        share = weighed({"en": 0.5, "fr": 0.5}, prior)["fr"]
        priors.learn("mic", "Alice", heard("fr", share))
    assert odds == sorted(odds, reverse=True)
    assert odds[0] == pytest.approx(MAX_ODDS)
    assert odds[-1] < MAX_ODDS / 2


def test_two_utterances_turn_the_expectation_of_a_speaker_who_changes_language() -> None:
    priors = LanguagePrior()
    for language in ("fr", "fr", "fr", "en", "en"):
        detected = {"en": 0.02, "fr": 0.02, language: 0.98}
        shares = weighed(detected, priors.of("mic", "Alice"))
        assert max(shares, key=shares.__getitem__) == language
        priors.learn("mic", "Alice", heard(language, shares[language]))
    last = priors.of("mic", "Alice")
    assert last is not None
    assert last.language == "en"


def test_each_mic_and_speaker_has_its_own() -> None:
    priors = LanguagePrior()
    priors.learn("one", "Alice", heard("fr", 0.9))
    assert priors.of("two", "Alice") is None
    assert priors.of("one", "Bruno") is None
    assert priors.of("one", "Alice") is not None


def test_silence_teaches_nothing() -> None:
    priors = LanguagePrior()
    priors.learn("mic", "Alice", heard("fr", 0.9))
    expected = priors.of("mic", "Alice")
    priors.learn("mic", "Alice", heard("en", 1.0, text=""))
    assert priors.of("mic", "Alice") == expected
