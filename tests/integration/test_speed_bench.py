"""The models and systems of the speed benchmark, on a network of one layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.bench import models
from tests.bench.speed.measure import measure
from tests.bench.speed.meeting import Meeting, meet
from tests.bench.speed.pace import length
from tests.bench.speed.setup import Setup

if TYPE_CHECKING:
    from pathlib import Path

SHAPE = models.Shape(width=384, encoder_layers=1, decoder_layers=1, heads=6)
"""As wide as `tiny`: in fewer dimensions the words' directions would be too close."""


SPOKEN = ("startoftranscript", "en", "transcribe", "notimestamps")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("model")
    models.build(SHAPE, folder)
    return folder


@pytest.fixture(scope="module")
def whisper(folder: Path) -> Any:
    from faster_whisper import WhisperModel  # noqa: PLC0415  # takes a second

    return WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=1)


def test_it_speaks_until_it_is_stopped_and_is_sure_of_it(whisper: Any) -> None:
    encoding = whisper.encode(np.zeros((80, 1000), np.float32))
    assert whisper.model.detect_language(encoding)[0][0][0] == "<|en|>"
    tokens = models.vocabulary()
    start = [tokens.index(f"<|{name}|>") for name in SPOKEN]
    for before, wanted in ((0, 1), (0, 40), (30, 40)):
        prompt = [0] * before + start
        asked = length([prompt], wanted)
        found = whisper.model.generate(
            encoding, [prompt], beam_size=5, max_length=asked, return_scores=True
        )[0]
        assert len(found.sequences_ids[0]) == wanted
        assert found.scores[0] > -0.1


def test_nothing_sends_it_round_again(whisper: Any) -> None:
    """The text is confident, does not repeat itself and contains no silence."""
    segments, info = whisper.transcribe(np.zeros(16000 * 5, np.float32), max_new_tokens=60)
    (segment,) = segments
    assert info.language == "en"
    assert segment.temperature == 0
    assert segment.avg_logprob > -0.5
    assert segment.compression_ratio < 2
    assert segment.no_speech_prob < 0.1


@pytest.fixture(scope="module")
def meeting() -> Meeting:
    return meet(2, 0.5, 20)


LAGS = {"floor": True, "faster-blocks": True, "faster-vad": False, "batched": False}
"""Return whether a system works while people speak."""


@pytest.mark.parametrize("system", LAGS)
def test_a_system_is_measured(system: str, meeting: Meeting, folder: Path, tmp_path: Path) -> None:
    found = measure(system, meeting, Setup("tiny", folder, 1), tmp_path)
    assert found.cpu_s > 0
    assert found.windows >= 1
    heard_s = meeting.speech_s * (1 if system == "floor" else 2)
    assert found.tokens == pytest.approx(3 * heard_s, rel=0.25)
    assert len(found.lags_s) == (len(meeting.turns) if LAGS[system] else 0)


def test_the_node_writes_each_sentence_once_with_as_many_tokens_as_the_floor(
    meeting: Meeting, folder: Path, tmp_path: Path
) -> None:
    setup = Setup("tiny", folder, 1)
    floor, ours = (measure(name, meeting, setup, tmp_path) for name in ("floor", "ours"))
    assert ours.tokens == pytest.approx(floor.tokens, rel=0.3)
    assert 0 < ours.parts_s["engine"] < ours.cpu_s


def test_turns_take_the_share_of_the_time_that_was_asked_for() -> None:
    for share in (0.25, 0.5):
        assert meet(4, share, 120).speech_s / 120 == pytest.approx(share, abs=0.1)
