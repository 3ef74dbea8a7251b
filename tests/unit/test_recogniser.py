"""What the engine is given besides the sound, and what is learned from its results."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from node.adapters.store import Utterance
from node.adapters.whisper import Engine, EngineSettings
from node.core.model import SAMPLE_RATE, Transcription
from node.service.transcribing.segments import Recogniser, segment_of, speaker_of

SESSION = "20261122T100000Z-aaaa"
SOUND = np.zeros(SAMPLE_RATE, np.int16)
HEARD = Transcription("Bonjour.", "fr", 0.98, 0.9)
FOLDER = Path("nowhere")


def said(number: int = 1, **changes: Any) -> Utterance:
    """Return an utterance of one second, ten seconds after the one before."""
    start = 10 * number * SAMPLE_RATE
    utterance = Utterance(SESSION, number, "desk", "Alice", None, start, start + SAMPLE_RATE)
    return replace(utterance, **changes)


@pytest.fixture
def recogniser() -> Recogniser:
    """A recogniser whose engine is never used."""
    return Recogniser(Engine(EngineSettings("none", FOLDER, FOLDER, languages=("en", "fr"))))


def learn(recogniser: Recogniser, utterance: Utterance, *, overlapped: bool = False) -> None:
    clip = recogniser.clip(utterance, SOUND, overlapped=overlapped)
    recogniser.learn(utterance, clip, HEARD)


def test_a_first_utterance_has_only_what_is_known_of_itself(recogniser: Recogniser) -> None:
    clip = recogniser.clip(said(language="fr"), SOUND, hotwords="Alice, Bruno", overlapped=True)
    assert clip.samples is SOUND
    assert (clip.language, clip.hotwords, clip.overlapped) == ("fr", "Alice, Bruno", True)
    assert (clip.prior, clip.earlier) == (None, ())


def test_the_next_one_has_its_language_and_what_was_said_before(recogniser: Recogniser) -> None:
    learn(recogniser, said())
    clip = recogniser.clip(said(2), SOUND)
    assert clip.prior is not None
    assert clip.prior.language == "fr"
    assert [earlier.text for earlier in clip.earlier] == ["Bonjour."]


@pytest.mark.parametrize("other", [{"speaker": "Bruno"}, {"mic": "door"}])
def test_another_speaker_has_nothing_of_it(recogniser: Recogniser, other: dict[str, str]) -> None:
    learn(recogniser, said())
    clip = recogniser.clip(said(2, **other), SOUND)
    assert (clip.prior, clip.earlier) == (None, ())


def test_another_s_speech_is_heard_without_what_was_said_before(recogniser: Recogniser) -> None:
    learn(recogniser, said())
    clip = recogniser.clip(said(2, crosstalk_of="door"), SOUND)
    assert clip.earlier == ()


def test_what_was_said_before_is_left_out_where_time_is_short(recogniser: Recogniser) -> None:
    learn(recogniser, said())
    clip = recogniser.clip(said(2), SOUND, alone=True)
    assert clip.prior is not None
    assert clip.earlier == ()


def test_of_overlapped_speech_only_the_language_is_learned(recogniser: Recogniser) -> None:
    learn(recogniser, said(), overlapped=True)
    clip = recogniser.clip(said(2), SOUND)
    assert clip.prior is not None
    assert clip.earlier == ()


def test_a_speaker_s_words_are_forgotten_if_they_were_another_s(recogniser: Recogniser) -> None:
    learn(recogniser, said())
    learn(recogniser, said(speaker="Bruno", mic="door"))
    recogniser.forget_speaker(speaker_of(said()))
    assert recogniser.clip(said(2), SOUND).earlier == ()
    assert recogniser.clip(said(2, speaker="Bruno", mic="door"), SOUND).earlier


def test_an_erased_session_is_forgotten(recogniser: Recogniser) -> None:
    learn(recogniser, said())
    recogniser.forget(SESSION)
    assert recogniser.clip(said(2), SOUND).earlier == ()


def test_a_segment_has_the_times_of_its_speech() -> None:
    utterance = said(speech=(161_000, 170_000), crosstalk_of="door", recovered=True)
    segment = segment_of(utterance, HEARD, 7, 1.5)
    assert (segment.id, segment.seq) == (f"{SESSION}/desk/1", 7)
    assert (segment.start, segment.end) == (161_000, 170_000)
    assert (segment.crosstalk_of, segment.replayed, segment.latency_s) == ("door", True, 1.5)
    assert (segment.text, segment.language, segment.speaker) == ("Bonjour.", "fr", "Alice")
