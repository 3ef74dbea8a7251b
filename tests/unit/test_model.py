from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given, settings
from hypothesis import strategies as st

from node.core.model import (
    SAMPLE_RATE,
    Transcription,
    Word,
    at_sample,
    iso,
    joined,
    new_session_id,
    parse_iso,
    started_at_of,
)

MOMENT = datetime(2026, 11, 22, 10, 0, 1, 200_900, tzinfo=UTC)


def test_times_are_utc_with_milliseconds() -> None:
    assert iso(MOMENT) == "2026-11-22T10:00:01.200Z"
    assert iso(MOMENT.astimezone(timezone(timedelta(hours=5, minutes=30)))) == iso(MOMENT)
    assert iso(MOMENT.replace(microsecond=0)) == "2026-11-22T10:00:01.000Z"


@settings(max_examples=30, deadline=None)
@given(st.datetimes(min_value=datetime(1970, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001  # st adds it
def test_a_time_is_read_as_it_was_written(moment: datetime) -> None:
    written = iso(moment)
    assert iso(parse_iso(written)) == written
    assert timedelta() <= moment - parse_iso(written) < timedelta(milliseconds=1)


def test_a_sample_has_a_wall_time() -> None:
    assert at_sample(MOMENT, 0) == MOMENT
    assert at_sample(MOMENT, 3600 * SAMPLE_RATE) == MOMENT + timedelta(hours=1)
    assert at_sample(MOMENT, 1) == MOMENT + timedelta(microseconds=62)


def test_the_id_of_a_session_tells_the_second_in_which_it_began() -> None:
    session_id = new_session_id(MOMENT.astimezone(timezone(timedelta(hours=1))), "3f9c")
    assert session_id == "20261122T100001Z-3f9c"
    assert started_at_of(session_id) == MOMENT.replace(microsecond=0)


def test_words_are_timed_from_where_speech_begins() -> None:
    words = (Word("Oui", 0.1, 0.35, 0.9), Word("merci", 0.5, 0.9, 0.8))
    heard = Transcription("Oui merci", "fr", 1.0, 0.9, words)
    assert heard.words_after(0.3) == (
        Word("Oui", 0.0, 0.05, 0.9),
        Word("merci", 0.2, 0.6, 0.8),
    )
    assert Transcription("Oui merci", "fr", 1.0, 0.9).words_after(0.3) is None


def half(text: str, confidence: float, *words: Word) -> Transcription:
    return Transcription(text, "fr", 0.9, confidence, words or None)


def test_two_halves_are_one_utterance_that_helps_nobody() -> None:
    first = half("Un.", 0.8, Word("Un.", 0.1, 0.4, 0.9))
    second = half("Deux.", 0.6, Word("Deux.", 0.2, 0.5, 0.7))
    whole = joined([first, second], 2.0, 0.95)
    assert (whole.text, whole.language, whole.language_probability) == ("Un. Deux.", "fr", 0.95)
    assert whole.confidence == 0.6
    assert whole.doubtful
    assert whole.words == (Word("Un.", 0.1, 0.4, 0.9), Word("Deux.", 2.2, 2.5, 0.7))


def test_a_half_without_words_adds_nothing() -> None:
    whole = joined([half("Un.", 0.8), half("", 0.0)], 2.0, 0.95)
    assert (whole.text, whole.confidence, whole.words) == ("Un.", 0.8, None)
    assert joined([half("", 0.0), half("", 0.0)], 2.0, 0.95).text == ""


def test_word_times_that_are_not_asked_for_stay_hidden() -> None:
    hidden = Transcription(
        "Deux.", "fr", 0.9, 0.8, (Word("Deux.", 0.1, 0.4, 0.9),), hidden_words=True
    )
    assert joined([half("", 0.0), hidden], 2.0, 0.95).hidden_words
