"""Folders of recordings as the benchmarks read them, and texts as they compare them."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING

import av
import numpy as np
import pytest

from config.demo.speech import write_wav
from node.core.model import SAMPLE_RATE
from node.core.room.front_end import HighPass
from tests.bench.accuracy.meeting import Plan, converse
from tests.bench.markdown import put
from tests.bench.speech import SpeechError, digest, level, recordings, seats
from tests.bench.speed.meeting import crowd, meet
from tests.bench.texts import Errors, errors, words

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt


def tone(seconds: float) -> npt.NDArray[np.int16]:
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return np.round(8000 * np.sin(2 * np.pi * 220 * time)).astype(np.int16)


def listed(folder: Path, said: list[tuple[str, str, float]]) -> Path:
    """Make a folder with a manifest; each utterance has its language, speaker and seconds."""
    lines = []
    for number, (lang, speaker, seconds) in enumerate(said):
        name = f"{number}.wav"
        write_wav(folder / name, tone(seconds), SAMPLE_RATE)
        entry = {"id": f"u{number}", "lang": lang, "speaker": speaker, "text": f"text {number}"}
        lines.append(json.dumps({**entry, "kind": "tones", "file": name, "more": 1}))
    (folder / "manifest.jsonl").write_text("\n".join([*lines, ""]), encoding="utf-8")
    return folder


def flac(path: Path, samples: npt.NDArray[np.int16]) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("flac", rate=SAMPLE_RATE, layout="mono", format="s16")
        frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate = SAMPLE_RATE
        container.mux([*stream.encode(frame), *stream.encode(None)])


def test_a_folder_with_a_manifest(tmp_path: Path) -> None:
    found = recordings(listed(tmp_path, [("en", "ann", 0.5), ("fr", "bob", 1), ("en", "ann", 2)]))
    assert {name: [r.id for r in said] for name, said in found.items()} == {
        "ann": ["u0", "u2"],
        "bob": ["u1"],
    }
    first = found["ann"][0]
    assert (first.lang, first.text, first.kind, first.seconds) == ("en", "text 0", "tones", 0.5)
    assert np.array_equal(first.samples, HighPass(SAMPLE_RATE)(tone(0.5)))


def test_librispeech_as_it_is_unpacked(tmp_path: Path) -> None:
    for chapter in ("LibriSpeech/test-clean/61/70970", "LibriSpeech/test-clean/121/1"):
        folder = tmp_path / chapter
        folder.mkdir(parents=True)
        name = "-".join(chapter.split("/")[-2:])
        lines = [f"{name}-{number:04} HELLO THERE {number}" for number in range(2)]
        (folder / f"{name}.trans.txt").write_text("\n".join([*lines, ""]), encoding="utf-8")
        for line in lines:
            flac(folder / f"{line.split()[0]}.flac", tone(0.3))
    found = recordings(tmp_path)
    assert sorted(found) == ["121", "61"]
    assert [r.text for r in found["61"]] == ["hello there 0", "hello there 1"]
    assert {r.lang for said in found.values() for r in said} == {"en"}
    assert np.array_equal(found["61"][1].samples, HighPass(SAMPLE_RATE)(tone(0.3)))


def test_a_folder_without_recordings_says_where_to_get_some(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(SpeechError, match=r"holds no recordings.*openslr\.org/12"):
            recordings(folder)


@pytest.mark.parametrize("line", ["{", "[]", '{"id": "1"}'])
def test_a_faulty_line_is_named(line: str, tmp_path: Path) -> None:
    (tmp_path / "manifest.jsonl").write_text(f"\n{line}\n", encoding="utf-8")
    with pytest.raises(SpeechError, match="line 2: must be JSON with id, lang"):
        recordings(tmp_path)


def test_a_recording_that_is_not_there_is_named(tmp_path: Path) -> None:
    (listed(tmp_path, [("en", "ann", 0.5)]) / "0.wav").unlink()
    with pytest.raises(SpeechError, match=r"u0: .*0\.wav is not there"):
        recordings(tmp_path)


def test_the_digest_is_of_texts_and_sound_wherever_they_are(tmp_path: Path) -> None:
    (here := tmp_path / "here").mkdir()
    (there := tmp_path / "there").mkdir()
    said = [("en", "ann", 0.5)]
    first = digest(recordings(listed(here, said)))
    assert first == digest(recordings(listed(there, said)))
    write_wav(there / "0.wav", tone(0.6), SAMPLE_RATE)
    assert first != digest(recordings(there))


def test_languages_take_turns_among_those_with_enough_to_say(tmp_path: Path) -> None:
    said = [("en", "brief", 3.0), ("en", "ann", 11.0), ("en", "ann", 11.0), ("en", "ann", 13.0)]
    said += [("fr", "bob", 11.0), ("fr", "bob", 11.0), ("en", "cy", 11.0), ("en", "cy", 11.0)]
    found = recordings(listed(tmp_path, said))
    seated = seats(found, 4)
    assert [r[0].speaker for r in seated] == ["ann", "bob", "cy", "brief"]
    assert [len(r) for r in seated] == [2, 2, 2, 1]
    drawn = {seats(found, 1, random.Random(seed))[0][0].speaker for seed in range(9)}
    assert drawn == {"ann", "cy"}
    with pytest.raises(SpeechError, match="5 people are needed; there are 4"):
        seats(found, 5)


def test_speech_is_made_equally_loud_and_freed_from_silence() -> None:
    silence = np.zeros(SAMPLE_RATE, np.int16)
    found = level(np.concatenate([silence, tone(1.0), silence]))
    assert len(found) / SAMPLE_RATE == pytest.approx(1.2, abs=0.02)
    assert np.abs(found).max() == pytest.approx(0.5, abs=0.01)
    assert not level(silence).any()


def test_a_meeting_has_each_utterance_once_and_in_order(tmp_path: Path) -> None:
    said = [("en", "ann", 1.0)] * 5 + [("fr", "bob", 5.0)] * 4
    people = seats(recordings(listed(tmp_path, said)), 2)
    spoken = converse(Plan(1, 2, 0.1, 1000.0), people)
    for seat in range(2):
        texts = [s.text for s in spoken if s.speaker == seat]
        expected = [r.text for r in people[seat]]
        begin = expected.index(texts[0])
        assert texts == [*expected[begin:], *expected[:begin]]
    ends = dict.fromkeys(range(2), 0.0)
    for one in spoken:
        assert one.start >= ends[one.speaker]
        ends[one.speaker] = one.end


def test_a_meeting_ends_at_its_time(tmp_path: Path) -> None:
    said = [("en", "ann", 2.0)] * 20 + [("fr", "bob", 2.0)] * 20
    people = seats(recordings(listed(tmp_path, said)), 2)
    assert 10 <= converse(Plan(1, 2, 0.0, 10.0), people)[-1].end < 20


def test_the_meetings_of_speed_are_of_the_recordings(tmp_path: Path) -> None:
    speech = recordings(listed(tmp_path, [("en", "ann", 1.0), ("fr", "bob", 2.0)]))
    lengths = {0: 1.0, 1: 2.0, 2: 1.0}
    for meeting in (meet(3, 0.5, 60, speech=speech), crowd(3, 10, speech=speech)):
        assert {turn.mic for turn in meeting.turns} == {0, 1, 2}
        for turn in meeting.turns:
            assert len(turn.samples) / SAMPLE_RATE == pytest.approx(lengths[turn.mic], abs=0.02)
        assert meeting.turns[-1].end <= meeting.tracks.shape[1]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Turn it to 50%, please.", "turn it to 50 percent please"),
        ("À 80 % ?", "à 80 pourcent"),
        ("50 per cent", "50 percent"),
        ("le rez-de-chaussée", "le rez de chaussée"),
        ("L\u2019entrée", "l'entrée"),
        ("e\u0301teins", "éteins"),
        ("Mr. Hale and Mrs Hale", "mister hale and missus hale"),
        ("« Il a dit : 'non' »", "il a dit non"),
    ],
)
def test_what_may_be_written_in_two_ways_is_one(one: str, other: str) -> None:
    assert words(one) == words(other)


def test_errors_are_wrong_missing_and_surplus_words() -> None:
    assert errors("one two three four", "One, too three, four, five!") == Errors(2, 4)
    assert errors("one two", "") == Errors(2, 2)
    assert errors("", "one two") == Errors(2, 0)
    assert (Errors(1, 2) + Errors(2, 4)).rate == 0.5


def test_a_table_goes_between_its_marks() -> None:
    text = "a\n<!-- words -->\nold\n<!-- end of words -->\nb\n"
    assert put(text, "words", "new\n") == text.replace("old", "new")
    with pytest.raises(ValueError, match="no place for the table"):
        put("a\n", "words", "new\n")
