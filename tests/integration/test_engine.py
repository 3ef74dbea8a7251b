"""The engine with the demonstration model: no words from noise, bounded work, language, prompt."""

from __future__ import annotations

import json
import logging
import math
import re
import subprocess
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from node.adapters.whisper import Clip, Engine, EngineSettings
from node.adapters.whisper.decoding import DecodeRequest
from node.adapters.whisper.encoding import FLOOR_WINDOW, FULL_WINDOW
from node.adapters.whisper.engine import DIVISIBLE
from node.config.transcription import TranscriptionConfig
from node.core.model import SAMPLE_RATE
from node.core.text.hallucination import Said, judged
from node.core.text.prior import SWITCH, Prior
from tests.bench.engine.sounds import NOISES, as_int16
from tests.model.say import say, write_wav
from tests.model.sentences import SENTENCES
from tests.rig.commands import run
from tests.rig.node import MODEL, ROOT, spoken

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt


NOISE_S = 15
PIECE_S = 3

SURE_OF_ENGLISH = Prior("en", (1 - SWITCH) / SWITCH)
"""The strongest expectation that the past can give."""


def loaded(**settings: Any) -> Engine:
    engine = Engine(
        EngineSettings(
            model=str(MODEL),
            folder=MODEL,
            download_root=MODEL,
            languages=("en", "fr"),
            threads=1,
            **settings,
        )
    )
    engine.load()
    return engine


@pytest.fixture(scope="module")
def engine() -> Engine:
    return loaded()


@pytest.fixture
def encoded(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Collects the mel frames of every encoding."""
    widths: list[int] = []
    encode = engine._whisper.encode

    def counting(features: npt.NDArray[np.float32]) -> Any:
        widths.append(features.shape[-1])
        return encode(features)

    monkeypatch.setattr(engine._whisper, "encode", counting)
    return widths


def noise(name: str, seconds: float) -> npt.NDArray[np.int16]:
    return as_int16(NOISES[name](round(seconds * SAMPLE_RATE), np.random.default_rng(7)))


def test_recordings_without_speech_have_no_words(tmp_path: Path) -> None:
    sound = np.concatenate([noise(name, NOISE_S) for name in NOISES])
    write_wav(tmp_path / "noise.wav", sound, SAMPLE_RATE)
    done = run("transcribe", tmp_path / "noise.wav", "--model", MODEL, "--format", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["segments"] == []


@pytest.mark.parametrize("name", NOISES)
def test_guards_hold_where_the_detector_does_not(
    name: str, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    engine.removed.clear()
    sound = noise(name, NOISE_S)
    pieces = np.split(sound, NOISE_S // PIECE_S)
    heard = [engine.transcribe(Clip(piece)) for piece in pieces]
    assert [h.text for h in heard] == [""] * len(pieces)
    # The model itself wrote something: without the guards there would be words.
    expected = "level" if name == "digital silence" else "no speech"
    assert engine.removed == {expected: len(pieces)}
    told = [record for record in caplog.records if record.name.startswith("node.")]
    assert {record.levelname for record in told} == {"DEBUG"}
    assert all("Six" not in record.getMessage() for record in told)


@pytest.mark.parametrize(
    ("seconds", "window", "width"),
    [(1, None, FLOOR_WINDOW), (12, None, 1450), (28, None, FULL_WINDOW), (1, "full", FULL_WINDOW)],
)
def test_one_encoding_serves_language_and_text(
    seconds: int, window: Any, width: int, engine: Engine, encoded: list[int]
) -> None:
    engine.transcribe(Clip(noise("pink noise", seconds)), window=window)
    assert encoded == [width]


@pytest.mark.parametrize("times", [2, 3])
def test_what_is_said_again_is_looked_at_twice_and_kept(
    times: int, engine: Engine, encoded: list[int]
) -> None:
    sentence = SENTENCES[10]
    sound = spoken(*[sentence] * times, pause_s=0.3)
    heard = engine.transcribe(Clip(sound))
    assert heard.text == " ".join([sentence.text] * times)
    assert len(encoded) == 2
    assert encoded[0] < FULL_WINDOW
    assert encoded[1] == FULL_WINDOW


@pytest.mark.parametrize(("text", "left"), [(".", ""), (" ?!", ""), (" Six.", "Six.")])
def test_signs_without_a_word_are_no_text(text: str, left: str, engine: Engine) -> None:
    decoder = engine._decoder
    tokens = decoder._tokenizer("en").encode(text)
    result = SimpleNamespace(sequences_ids=[tokens], scores=[-0.1], no_speech_prob=0.1)
    assert decoder._said(result, DecodeRequest("en", 100, 1, None), 0, 200).text == left


@pytest.mark.parametrize(("likely_in_full", "text"), [(0.7, "Pause."), (0.4, "")])
def test_a_doubted_word_is_heard_again_over_the_full_window(
    likely_in_full: float,
    text: str,
    engine: Engine,
    encoded: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """How sure a model is of a word varies by processor: here it is set."""

    def decode(encoding: Any, request: DecodeRequest) -> Said:
        full = 2 * encoding.shape[1] == FULL_WINDOW
        likely = likely_in_full if full else 0.4
        return Said(
            "Pause.", request.language, request.frames / 100, math.log(likely), 0.1, capped=False
        )

    monkeypatch.setattr(engine._decoder, "decode", decode)
    sound = spoken(SENTENCES[10])[:SAMPLE_RATE]
    assert engine.transcribe(Clip(sound, "en")).text == text
    assert encoded == [FLOOR_WINDOW, FULL_WINDOW]


def test_where_the_decoder_is_caught_both_halves_are_heard(
    engine: Engine, encoded: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No sound loops on every processor for certain: here two sentences count as a loop."""

    def caught(said: Said) -> tuple[str, Any]:
        return (said.text[:5], "loop") if said.text.count(".") > 1 else judged(said)

    monkeypatch.setattr("node.adapters.whisper.engine.judged", caught)
    first, second = SENTENCES[6], SENTENCES[11]
    sound = spoken(first, second, pause_s=1.5)
    assert len(sound) > DIVISIBLE
    heard = engine.transcribe(Clip(sound))
    assert heard.text == f"{first.text} {second.text}"
    assert heard.doubtful
    assert len(encoded) == 3


def test_halves_are_not_halved_again(
    engine: Engine, encoded: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.adapters.whisper.engine.judged", lambda said: (said.text, "loop"))
    engine.transcribe(Clip(spoken(*SENTENCES[5:15], pause_s=0.8)))
    assert 3 <= len(encoded) <= 6


def test_an_unsure_word_is_in_the_language_of_the_speaker(engine: Engine) -> None:
    word = np.pad(say("Six.", "en", "en-us+f3"), (4800, 9600))
    alone = engine.transcribe(Clip(word))
    assert alone.language == "fr"
    assert alone.language_probability < 0.8
    assert engine.transcribe(Clip(word, prior=SURE_OF_ENGLISH)).language == "en"


def test_a_sure_sentence_is_not_held_in_the_language_before(engine: Engine) -> None:
    sentence = np.pad(say("Bonjour tout le monde.", "fr"), (4800, 9600))
    heard = engine.transcribe(Clip(sentence, prior=SURE_OF_ENGLISH))
    assert (heard.language, heard.text) == ("fr", "Bonjour tout le monde.")


def test_only_the_languages_configured_are_found() -> None:
    english = Engine(EngineSettings(str(MODEL), MODEL, MODEL, languages=("en",), threads=1))
    english.load()
    heard = english.transcribe(Clip(say("Bonjour tout le monde.", "fr")))
    assert (heard.language, heard.language_probability) == ("en", 1.0)


def test_the_prompt_holds_what_is_asked_for_and_nothing_said_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = loaded(hotwords=("Marie",), initial_prompt="Bonjour Paul.")
    asked: list[str] = []
    get_prompt, tokenizer = engine._whisper.get_prompt, engine._whisper.hf_tokenizer

    def noting(*arguments: Any, **options: Any) -> Any:
        tokens = get_prompt(*arguments, **options)
        asked.append(tokenizer.decode(tokens, skip_special_tokens=False))
        return tokens

    monkeypatch.setattr(engine._whisper, "get_prompt", noting)
    texts = []
    for hotwords in (None, "Anna", None):
        engine.transcribe(Clip(say("Hello everyone.", "en"), "en", hotwords=hotwords))
        texts.append(asked[-1])
    frame = "<|startoftranscript|><|en|><|transcribe|><|notimestamps|>"
    assert texts[0] == f"<|startofprev|> Marie Bonjour Paul.{frame}"
    assert texts[1] == f"<|startofprev|> Marie, Anna Bonjour Paul.{frame}"
    assert texts[2] == texts[0]


def test_the_windows_are_compared_on_ones_own_recording(tmp_path: Path) -> None:
    sentences = [np.pad(spoken(sentence), (8000, 16000)) for sentence in SENTENCES[:2]]
    write_wav(tmp_path / "own.wav", np.concatenate(sentences), SAMPLE_RATE)
    done = run("transcribe", tmp_path / "own.wav", "--model", MODEL, "--compare-window")
    assert done.returncode == 0, done.stderr
    assert "2 utterances" in done.stdout
    assert "0 differ, in 0 of" in done.stdout
    assert "second looks over the full window" in done.stdout


def test_the_window_of_the_command_line_counts(tmp_path: Path) -> None:
    write_wav(tmp_path / "own.wav", np.pad(spoken(SENTENCES[0]), (8000, 16000)), SAMPLE_RATE)
    done = run("transcribe", tmp_path / "own.wav", "--model", MODEL, "--window", "full")
    assert SENTENCES[0].text in done.stdout, done.stderr


def test_the_benchmark_runs() -> None:
    command = [sys.executable, "-m", "tests.bench.engine", "--scale", "0.02"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    for name in NOISES:
        assert re.search(rf"^{name} +0 words   0 of 3", done.stdout, re.MULTILINE), done.stdout
    assert "with the prior" in done.stdout
    assert "names right" in done.stdout


def test_the_longest_hotwords_and_prompt_together_leave_room_for_the_text() -> None:
    """As long as the configuration allows; both need more positions than Whisper has."""
    names = tuple(f"Przemysław Kowalski {number}" for number in range(50))
    prompt = ("Bonjour. Nous parlons de l'école et du jardin. " * 30)[:1000]
    TranscriptionConfig(hotwords=names, initial_prompt=prompt)
    engine = loaded(hotwords=names, initial_prompt=prompt)
    assert engine.transcribe(Clip(say("Hello everyone.", "en"), "en")).text
