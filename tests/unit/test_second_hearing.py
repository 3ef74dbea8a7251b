"""When an utterance is heard again in its raw sound, and which text is taken."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from node.adapters.store import Utterance, raw_sounds
from node.adapters.store.raw_sounds import RawSounds
from node.adapters.whisper import Clip, Engine, EngineSettings
from node.core.model import SAMPLE_RATE, Transcription
from node.core.text.second_hearing import SURER, UNSURE, is_surer, is_unsure
from node.service.transcribing.segments import Recogniser

CLEANED = np.zeros(SAMPLE_RATE, np.int16)
RAW = np.ones(SAMPLE_RATE, np.int16)
FOLDER = Path("nowhere")


def heard(text: str, confidence: float) -> Transcription:
    return Transcription(text, "en", 0.9, confidence)


class TwoSounds(Engine):
    """Hears one text in the cleaned sound, and another in the raw one."""

    def __init__(self, cleaned: Transcription, raw: Transcription) -> None:
        super().__init__(EngineSettings("none", FOLDER, FOLDER, languages=("en",)))
        self._texts = {0: cleaned, 1: raw}
        self.looked: list[int] = []

    def transcribe(self, clip: Clip, **_: object) -> Transcription:
        self.looked.append(int(clip.samples[0]))
        return self._texts[int(clip.samples[0])]


@pytest.mark.parametrize(
    ("cleaned", "raw", "looked", "text"),
    [
        (heard("Clear.", 0.9), heard("Raw.", 0.99), [0], "Clear."),
        (heard("Garbled.", 0.3), heard("Raw.", 0.7), [0, 1], "Raw."),
        (heard("Garbled.", 0.3), heard("Raw.", 0.3), [0, 1], "Garbled."),
        (heard("Garbled.", 0.3), heard("", 0.0), [0, 1], "Garbled."),
        (heard("", 0.0), heard("Raw.", 0.9), [0], ""),
    ],
)
def test_the_raw_sound_is_heard_only_where_the_cleaned_one_is_garbled(
    cleaned: Transcription, raw: Transcription, looked: list[int], text: str
) -> None:
    engine = TwoSounds(cleaned, raw)
    clip, said = Recogniser(engine).hear(Clip(CLEANED), RAW)
    assert (engine.looked, said.text) == (looked, text)
    assert (clip.samples is RAW) == (text == "Raw."), "what is learned has the sound of the text"


@pytest.mark.parametrize("raw", [None, CLEANED.copy()])
def test_nothing_is_heard_twice_from_which_nothing_was_taken(raw: np.ndarray | None) -> None:
    engine = TwoSounds(heard("Unsure.", 0.2), heard("Raw.", 0.9))
    assert Recogniser(engine).hear(Clip(CLEANED), raw)[1].text == "Unsure."
    assert engine.looked == [0]


def test_a_text_is_unsure_below_a_confidence() -> None:
    assert is_unsure(heard("Words.", UNSURE - 0.01))
    assert not is_unsure(heard("Words.", UNSURE))


def test_the_other_text_must_be_clearly_surer() -> None:
    assert is_surer(heard("Raw.", 0.31 * SURER), heard("Words.", 0.3))
    assert not is_surer(heard("Raw.", 0.3 * SURER), heard("Words.", 0.3))


def named(session: str, number: int) -> str:
    return Utterance(session, number, "desk", "Anna", None, 0, SAMPLE_RATE).id


def test_the_oldest_raw_sound_goes_where_there_is_too_much(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(raw_sounds, "MOST_SAMPLES", 2 * SAMPLE_RATE)
    kept = RawSounds()
    for number in range(3):
        kept.put(named("a", number), RAW)
    assert [kept.get(named("a", number)) is RAW for number in range(3)] == [False, True, True]


def test_raw_sound_is_forgotten_one_by_one_and_by_session() -> None:
    kept = RawSounds()
    for session in ("a", "ab"):
        for number in (1, 2):
            kept.put(named(session, number), RAW)
    kept.drop(named("a", 1))
    kept.drop(named("a", 1))
    assert kept.get(named("a", 1)) is None
    kept.forget("a")
    assert kept.get(named("a", 2)) is None
    assert kept.get(named("ab", 2)) is RAW
