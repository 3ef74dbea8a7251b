"""Recorded human speech and the real `base`: what synthetic voices do not show.

`SPEECH` names a folder of recordings with a `manifest.jsonl` (see `tests/bench/speech.py`) and a
folder `cases` of tracks that have failed before. Without it these tests are skipped.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from node.adapters import sound_files
from node.adapters.vad import Silero
from node.adapters.whisper import Clip, Engine, EngineSettings
from node.core.model import SAMPLE_RATE, TICK
from node.core.text.context import Contexts, Earlier
from node.core.text.prior import LanguagePrior
from tests.bench.speech import recordings
from tests.bench.texts import errors
from tests.rig.commands import run
from tests.rig.weights import real_base

if TYPE_CHECKING:
    import numpy.typing as npt

    from node.adapters.whisper.decoding import DecodeRequest
    from node.core.text.hallucination import Said
    from tests.bench.speech import Recording

COMMAND = "ohf"


@pytest.fixture(scope="module")
def speech() -> Path:
    folder = os.environ.get("SPEECH")
    if not folder:
        pytest.skip("SPEECH names no folder of recordings; LibriSpeech is at openslr.org/12")
    return Path(folder)


@pytest.fixture(scope="module")
def engine() -> Engine:
    folder = real_base()
    made = Engine(EngineSettings("base", folder, folder, languages=("en", "fr"), threads=1))
    made.load()
    return made


def sound(file: Path) -> npt.NDArray[np.int16]:
    return np.concatenate(list(sound_files.read(file)))


def transcript(*tracks: Path) -> dict[str, Any]:
    done = run("transcribe", *tracks, "--model", real_base(), "--format", "json")
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def heard(engine: Engine, said: list[Recording], *, context: bool) -> tuple[int, int]:
    """Return wrong words and wrong languages in what one speaker says, in order."""
    languages, contexts, at = LanguagePrior(), Contexts(), 0
    wrong = others = 0
    for one in said:
        speaker = ("session", "mic", one.speaker)
        found = engine.transcribe(
            Clip(
                one.samples,
                prior=languages.of("mic", one.speaker),
                earlier=contexts.of(speaker, at) if context else (),
            )
        )
        languages.learn("mic", one.speaker, found)
        contexts.learn(speaker, at + len(one.samples), one.samples, found)
        at += len(one.samples) + SAMPLE_RATE
        wrong += errors(one.text, found.text).wrong
        others += found.language != one.lang
    return wrong, others


def test_short_utterances_are_written_better_behind_what_was_said_before(
    engine: Engine, speech: Path
) -> None:
    alone = behind = others = count = words = 0
    for said in recordings(speech).values():
        if said[0].kind != COMMAND:
            continue
        alone += heard(engine, said, context=False)[0]
        wrong, elsewhere = heard(engine, said, context=True)
        behind, others, count = behind + wrong, others + elsewhere, count + len(said)
        words += sum(len(one.text.split()) for one in said)
    assert behind < 0.85 * alone
    assert behind < 0.25 * words
    assert others <= 0.03 * count


def test_the_decoder_goes_on_behind_a_whole_sentence(
    engine: Engine, speech: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = recordings(speech)["ohf-fr"][:2]
    before = Earlier(first.samples, "allume la chambre", "fr")
    asked: list[str] = []
    decode = engine._decoder.decode

    def noting(encoding: Any, request: DecodeRequest) -> Said:
        asked.append(request.before)
        said: Said = decode(encoding, request)
        return said

    monkeypatch.setattr(engine._decoder, "decode", noting)
    engine.transcribe(Clip(second.samples, "fr", earlier=(before,)))
    assert asked[0] == "Allume la chambre."


def test_the_same_words_said_twice_are_written_twice(engine: Engine, speech: Path) -> None:
    """Earlier speech must not make words disappear or repeat."""
    said = [s for s in recordings(speech)["ohf-fr"] if len(s.text.split()) > 2]
    contexts, at = Contexts(), 0
    texts = []
    for one in [*said[:4], *said[:4]]:
        found = engine.transcribe(Clip(one.samples, "fr", earlier=contexts.of(("s", "m", "p"), at)))
        contexts.learn(("s", "m", "p"), at + len(one.samples), one.samples, found)
        at += len(one.samples) + SAMPLE_RATE
        texts.append(found.text)
    for one, text in zip([*said[:4], *said[:4]], texts, strict=True):
        assert errors(one.text, text).wrong <= len(one.text.split()) / 2, texts


def test_what_was_said_in_another_language_is_no_context(engine: Engine, speech: Path) -> None:
    english, french = (recordings(speech)[f"ohf-{language}"] for language in ("en", "fr"))
    mixed = [one for pair in zip(english[7:15], french[7:15], strict=True) for one in pair]
    whole = [replace(one, speaker="both") for one in mixed]
    alone, behind = (heard(engine, whole, context=context) for context in (False, True))
    assert behind[1] <= alone[1]
    assert behind[0] <= alone[0] + 1


@pytest.mark.parametrize("name", ["ohf-en-08", "2414-128291-0004"])
def test_what_is_said_once_is_written_once(engine: Engine, speech: Path, name: str) -> None:
    text = engine.transcribe(
        Clip(sound(speech / "cases/short-doubled" / f"{name}.flac"), "en")
    ).text
    known = {one.id: one.text for said in recordings(speech).values() for one in said}
    assert len(text.split()) <= len(known[name].split()) + 1, text


@pytest.mark.parametrize("case", ["last-word-torn", "first-seconds", "overlap-cleaned"])
def test_no_line_is_without_length_or_one_torn_off_word(speech: Path, case: str) -> None:
    document = transcript(*sorted((speech / "cases" / case).glob("*.flac")))
    assert document["seglst"]
    for line in document["seglst"]:
        assert line["end_time"] - line["start_time"] > 0.05, line
        last = line.get("part", 1) == line.get("parts", 1) > 1
        assert not last or len(line["words"].split()) > 1, line


def test_speech_after_a_long_fan_begins_where_it_does_after_a_short_one(speech: Path) -> None:
    onsets = []
    for seconds in (1, 25):
        name = f"ohf-en-21-after-{seconds}s.flac"
        samples = sound(speech / "cases/late-after-steady-noise" / name)
        frames = samples[len(samples) % TICK :].reshape(-1, TICK)
        voiced = np.flatnonzero(Silero().detector()(frames) >= 0.5)
        onsets.append(len(frames) - int(voiced[0]))
    soon, late = onsets
    assert late >= soon - 3  # 0.1 s


def test_the_words_of_a_recording_lie_within_its_speech(speech: Path) -> None:
    folder = real_base()
    settings = EngineSettings("base", folder, folder, languages=("en",), word_timestamps=True)
    timed = Engine(settings)
    timed.load()
    samples = sound(speech / "cases/cut-at-0.6s" / "1688-142285-0000.flac")
    said = timed.transcribe(Clip(samples, "en"))
    words = said.words or ()
    assert [word.word for word in words] == said.text.split()
    assert len(words) > 20
    assert all(0.0 <= word.start < word.end <= len(samples) / SAMPLE_RATE for word in words)
