"""Somebody interjects in a long utterance: three lines, from recordings and live."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import yaml

from tests.model.say import say, write_wav
from tests.model.sentences import SENTENCES
from tests.rig.node import MODEL, ROOT, TOPIC

if TYPE_CHECKING:
    import numpy.typing as npt

    from tests.model.sentences import Sentence
    from tests.rig.node import Room

    Samples = npt.NDArray[np.int16]

RATE = 16000
BEGIN_S = 1.0
BREATH_S = 0.4
"""Shorter than the pause that ends an utterance, so that two sentences make one."""

ENGLISH = {sentence.text: sentence for sentence in SENTENCES if sentence.language == "en"}
FIRST = ENGLISH["The meeting starts at nine."]
SECOND = ENGLISH["The budget is forty thousand euros."]
INTERJECTED = ENGLISH["What time is the lesson?"]
LINES = [f"Alice: {FIRST.text}", f"Bruno: {INTERJECTED.text}", f"Alice: {SECOND.text}"]


def spoken(sentence: Sentence, voice: str) -> Samples:
    return say(sentence.text, sentence.language, voice)


def quiet(seconds: float) -> Samples:
    return np.zeros(round(seconds * RATE), np.int16)


def tracks() -> tuple[Samples, Samples, float]:
    """Alice's and Bruno's track, and the second at which he begins, while she takes a breath."""
    first, second = spoken(FIRST, "en-us+f3"), spoken(SECOND, "en-us+f3")
    alice = [quiet(BEGIN_S), first, quiet(BREATH_S), second, quiet(1.5)]
    begins = BEGIN_S + len(first) / RATE + BREATH_S / 4
    bruno = [quiet(begins), spoken(INTERJECTED, "en-gb+m3"), quiet(2.5)]
    return np.concatenate(alice), np.concatenate(bruno), begins


def transcribed(
    folder: Path, form: str, *, word_timestamps: bool, answer: Sentence | None = None
) -> str:
    """Transcribe both tracks; Bruno may answer 0.3 s after Alice."""
    alice, bruno, _ = tracks()
    if answer is not None:
        bruno = np.concatenate([bruno[: len(alice) - round(1.2 * RATE)], spoken(answer, "en-gb")])
    files = [folder / "alice.wav", folder / "bruno.wav"]
    write_wav(files[0], alice, RATE)
    write_wav(files[1], bruno, RATE)
    config = folder / "node.yaml"
    transcription = {"model": str(MODEL), "word_timestamps": word_timestamps}
    vad = {"hangover_ms": 1000 if answer else 600}
    sections = {"transcription": transcription, "vad": vad}
    config.write_text(yaml.safe_dump(sections), encoding="utf-8")
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "node",
        "transcribe",
        *files,
        "--config",
        config,
    ]
    command += ["--speaker", "Alice", "--speaker", "Bruno", "--format", form]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def untimed(text: str) -> list[str]:
    return [re.sub(r"^\[[\d:]+\] ", "", line) for line in text.splitlines()]


@pytest.mark.parametrize("word_timestamps", [True, False])
def test_an_interjection_stands_where_it_was_spoken(
    tmp_path: Path, *, word_timestamps: bool
) -> None:
    assert untimed(transcribed(tmp_path, "text", word_timestamps=word_timestamps)) == LINES


def test_an_interjection_before_the_latest_utterance_is_not_forgotten(tmp_path: Path) -> None:
    """Bruno speaks again before the pause that ends Alice's utterance is over."""
    text = transcribed(tmp_path, "text", word_timestamps=False, answer=FIRST)
    assert untimed(text) == [*LINES, f"Bruno: {FIRST.text}"]


@pytest.mark.parametrize("word_timestamps", [True, False])
def test_each_line_names_its_segment(tmp_path: Path, *, word_timestamps: bool) -> None:
    document = json.loads(transcribed(tmp_path, "json", word_timestamps=word_timestamps))
    whole, interjected = document["segments"]
    assert whole["text"] == f"{FIRST.text} {SECOND.text}"
    assert ("words" in whole) == ("words" in interjected) == word_timestamps
    traced = [(line["segment"], line["part"], line["parts"]) for line in document["seglst"]]
    assert traced == [(whole["id"], 1, 2), (interjected["id"], 1, 1), (whole["id"], 2, 2)]
    starts = [line["start_time"] for line in document["seglst"]]
    begins = tracks()[2]
    assert starts == pytest.approx([BEGIN_S, begins, begins + 3 * BREATH_S / 4], abs=0.3)


def test_each_line_is_a_cue(tmp_path: Path) -> None:
    cues = transcribed(tmp_path, "srt", word_timestamps=False).split("\n\n")
    assert [cue.split("\n")[2] for cue in cues] == LINES
    begun = [cue.split("\n")[1].partition(" --> ")[0] for cue in cues]
    assert begun == sorted(begun)


def test_live_segments_stay_whole_and_the_transcript_has_three_lines(room: Room) -> None:
    alice, bruno, _ = tracks()
    session = room.start(desk="Alice", door="Bruno")
    room.mics.play("desk", alice, RATE)
    room.mics.play("door", bruno, RATE)
    segments = room.segments(session, 2)
    assert {s["text"] for s in segments} == {f"{FIRST.text} {SECOND.text}", INTERJECTED.text}
    assert not any("words" in segment for segment in segments)
    answer = room.stop()
    assert answer["segments_total"] == 2
    final: dict[str, Any] = room.watcher.wait_for(
        lambda m: m.topic == f"{TOPIC}/transcript/final", 10
    ).json()
    assert untimed(final["text"]) == LINES
    assert untimed(Path(answer["file_path"]).read_text(encoding="utf-8")) == LINES
    pages = [room.do("transcript/get", session_id=session, offset=n, limit=1) for n in range(3)]
    assert untimed("".join(page["text"] for page in pages)) == LINES
    assert [(page["total"], page["next_offset"]) for page in pages] == [(3, 1), (3, 2), (3, None)]
    whole = room.do("transcript/get", session_id=session, format="json")
    assert whole["total"] == 2
