"""The recorded meeting of the demo is what its files say it is."""

import itertools
import json
from pathlib import Path
from typing import TypedDict

import numpy as np
import numpy.typing as npt
import pytest

from config.demo.make_recordings import RATE, load_conversation
from config.demo.speech import read_wav
from tests.model.grammar import GRAMMARS

DEMO = Path(__file__).parents[2] / "config" / "demo"
MICS = ("mic-alice", "mic-bruno", "mic-chloe")
SPOKEN_DBFS = -30  # RMS of a sentence, at least; its peak is at -6
SILENT_DBFS = -50
BLOCK_S = 0.05

Recording = npt.NDArray[np.int16]


class Entry(TypedDict):
    speaker: str
    mic: str
    language: str
    start: float
    end: float
    text: str


@pytest.fixture(scope="module")
def reference() -> list[Entry]:
    entries: list[Entry] = json.loads((DEMO / "reference.json").read_text(encoding="utf-8"))
    return entries


@pytest.fixture(scope="module", params=MICS)
def mic(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def recording(mic: str) -> Recording:
    samples, rate = read_wav(DEMO / f"{mic}.wav")
    assert rate == RATE
    return samples


def dbfs(samples: Recording) -> float:
    return float(20 * np.log10(np.sqrt(np.mean((samples / 32768) ** 2))))


def span(entry: Entry) -> slice:
    return slice(round(entry["start"] * RATE), round(entry["end"] * RATE))


def test_the_reference_says_what_the_conversation_says(reference: list[Entry]) -> None:
    _, utterances = load_conversation()
    planned = [u.model_dump(exclude={"voice", "speed", "pitch"}) for u in utterances]
    assert [{**entry, "end": None} for entry in reference] == [
        {**utterance, "end": None} for utterance in planned
    ]


def test_utterances_begin_late_enough_and_end_within_the_recording(
    reference: list[Entry],
) -> None:
    duration, _ = load_conversation()
    assert min(entry["start"] for entry in reference) >= 1.5
    assert all(entry["start"] < entry["end"] < duration for entry in reference)


def test_a_person_pauses_between_sentences(reference: list[Entry], mic: str) -> None:
    own = [entry for entry in reference if entry["mic"] == mic]
    pauses = [after["start"] - before["end"] for before, after in itertools.pairwise(own)]
    assert min(pauses) >= 0.8


def test_different_people_speak_at_once_in_several_places(reference: list[Entry]) -> None:
    overlaps = [
        (one["text"], other["text"])
        for one in reference
        for other in reference
        if one["mic"] < other["mic"]
        and min(one["end"], other["end"]) - max(one["start"], other["start"]) > 0.3
    ]
    assert len(overlaps) >= 5


def test_recordings_are_equally_long_mono_files_of_16_bit(recording: Recording) -> None:
    duration, _ = load_conversation()
    assert len(recording) == round(duration * RATE)


def test_the_model_knows_every_word(reference: list[Entry]) -> None:
    for entry in reference:
        known = {word.lower() for word in GRAMMARS[entry["language"]].words()}
        assert set(entry["text"].lower().rstrip(".?").split()) <= known


def test_a_microphone_hears_its_own_utterances_and_nothing_else(
    reference: list[Entry], mic: str, recording: Recording
) -> None:
    spoken = np.zeros(len(recording), bool)
    for entry in (entry for entry in reference if entry["mic"] == mic):
        assert dbfs(recording[span(entry)]) > SPOKEN_DBFS
        spoken[span(entry)] = True
    silence = recording[~spoken]
    blocks = np.array_split(silence, round(len(silence) / RATE / BLOCK_S))
    assert max(dbfs(block) for block in blocks) < SILENT_DBFS


def test_the_loudest_sample_leaves_6_db_of_headroom(recording: Recording) -> None:
    peak = np.abs(recording.astype(np.int32)).max() / 32768
    assert 20 * np.log10(peak) == pytest.approx(-6, abs=0.2)
