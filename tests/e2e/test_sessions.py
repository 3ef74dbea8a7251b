"""Whole sessions: people speak, the node listens, a client on the broker reads who said what."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.model.sentences import SENTENCES
from tests.rig.node import TOPIC
from tests.rig.processes import wait_until

if TYPE_CHECKING:
    from tests.rig.node import Room

ENGLISH = [sentence for sentence in SENTENCES if sentence.language == "en"]
FRENCH = [sentence for sentence in SENTENCES if sentence.language == "fr"]
NAMES = {"desk": "Alice", "door": "Bruno", "wall": "Chloé", "sofa": "David"}


def texts(segments: list[dict[str, Any]], mic: str) -> list[str]:
    return [segment["text"] for segment in segments if segment["mic"] == mic]


def spoken_lines(transcript: str) -> list[str]:
    return [re.sub(r"^\[\d\d:\d\d:\d\d\] ", "", line) for line in transcript.splitlines()]


def test_two_mics_by_turns_and_together(room: Room) -> None:
    session = room.start(desk="Alice", door="Bruno")
    first, second, third, fourth = ENGLISH[0], FRENCH[3], ENGLISH[5], FRENCH[6]
    room.say("desk", first)
    room.segments(session, 1)
    room.say("door", second)
    room.segments(session, 2)
    room.say("desk", third)
    room.say("door", fourth)
    segments = room.segments(session, 4)
    answer = room.stop()
    assert texts(segments, "desk") == [first.text, third.text]
    assert texts(segments, "door") == [second.text, fourth.text]
    assert {(s["mic"], s["speaker"]) for s in segments} == {("desk", "Alice"), ("door", "Bruno")}
    assert {s["text"]: s["language"] for s in segments}[second.text] == "fr"
    assert [segment["seq"] for segment in segments] == [1, 2, 3, 4]
    assert answer["segments_total"] == 4
    lines = spoken_lines(Path(answer["file_path"]).read_text(encoding="utf-8"))
    assert lines[:2] == [f"Alice: {first.text}", f"Bruno: {second.text}"]
    assert sorted(lines[2:]) == [f"Alice: {third.text}", f"Bruno: {fourth.text}"]


def test_four_mics_at_once(room: Room) -> None:
    session = room.start(**NAMES)
    said = {mic: [ENGLISH[2 * i + 6], FRENCH[2 * i + 5]] for i, mic in enumerate(NAMES)}
    for mic, sentences in said.items():
        room.say(mic, *sentences)
    segments = room.segments(session, 8)
    room.stop()
    for mic, sentences in said.items():
        assert texts(segments, mic) == [sentence.text for sentence in sentences]
        assert {s["speaker"] for s in segments if s["mic"] == mic} == {NAMES[mic]}


def test_mics_keep_their_own_rate(room: Room) -> None:
    room.start(**NAMES)
    mics = {mic["mic"]: mic for mic in room.do("mics/detect")["mics"]}
    room.stop()
    rates = {name: mic["sample_rate"] for name, mic in mics.items()}
    assert rates == {"desk": 16000, "door": 16000, "wall": 48000, "sofa": 44100}
    assert all(mic["recording"] for mic in mics.values())


def test_assignment_by_index_id_and_other_names(room: Room) -> None:
    listed = room.do("mics/detect")["mics"]
    assert [mic["index"] for mic in listed] == [1, 2, 3, 4]
    answer = room.do(
        "mics/assign",
        assignments=[
            {"mic": 1, "speaker": "Alice"},
            {"mic_id": "door", "person_name": "Bruno", "language": "fr"},
            {"mic": "3", "speaker": "Chloé"},
        ],
    )
    speakers = {mic["mic"]: (mic["speaker"], mic["language"]) for mic in answer["mics"]}
    assert speakers["desk"] == ("Alice", None)
    assert speakers["door"] == ("Bruno", "fr")
    assert speakers["wall"] == ("Chloé", None)
    started = room.do("session/start")
    room.stop()
    assert started["speakers"]["desk"] == "Alice"
    answer = room.do("mics/assign", assignments=[{"mic": 2, "speaker": ""}])
    assert answer["mics"][1]["speaker"] is None


def test_rename_while_recording(room: Room) -> None:
    session = room.start(desk="Alice")
    room.say("desk", ENGLISH[1])
    room.segments(session, 1)
    room.do("mics/assign", assignments=[{"mic": "desk", "speaker": "Zoé"}])
    room.say("desk", FRENCH[1])
    segments = room.segments(session, 2)
    room.stop()
    assert [segment["speaker"] for segment in segments] == ["Alice", "Zoé"]


def test_a_name_with_quotes_accents_and_emoji(room: Room) -> None:
    name = 'Zoë "JJ" O\'Neil 🎤 <b>'
    session = room.start(desk=name)
    room.say("desk", ENGLISH[0])
    (segment,) = room.segments(session, 1)
    files = room.stop()["files"]
    assert segment["speaker"] == name
    assert f"] {name}: {ENGLISH[0].text}" in Path(files["txt"]).read_text(encoding="utf-8")
    assert "&lt;b&gt;" in Path(files["vtt"]).read_text(encoding="utf-8")


def test_the_mute_of_a_mic_outside_of_the_session_does_not_bring_it_in(room: Room) -> None:
    named = [{"mic": "desk", "speaker": "Alice"}, {"mic": "door", "speaker": "Bruno"}]
    room.do("mics/assign", assignments=named)
    session = room.start(desk="Alice")
    for switch in ("OFF", "ON", "ON"):
        after = room.watcher.count()
        room.watcher.publish(f"{TOPIC}/mic/door/enabled/set", switch)
        room.do("health/check")  # answered after the switch
    room.say("door", FRENCH[2])
    room.say_to_the_end("desk", ENGLISH[0])
    room.stop()
    assert [segment["mic"] for segment in room.segments(session, 1)] == ["desk"]
    shown = room.watcher.messages(f"{TOPIC}/session", after)
    assert all(message.json()["speakers"].keys() <= {"desk"} for message in shown)


def test_muted_mic_keeps_nothing(room: Room) -> None:
    session = room.start(desk="Alice", door="Bruno")
    after = room.watcher.count()
    room.watcher.publish(f"{TOPIC}/mic/desk/enabled/set", "OFF")
    room.watcher.wait_for(
        lambda m: m.topic == f"{TOPIC}/mic/desk/state" and not m.json()["enabled"], after=after
    )
    room.say("desk", ENGLISH[4])
    room.say("door", FRENCH[2])
    room.segments(session, 1)
    after = room.watcher.count()
    room.watcher.publish(f"{TOPIC}/mic/desk/enabled/set", "on")
    room.watcher.wait_for(
        lambda m: m.topic == f"{TOPIC}/mic/desk/state" and m.json()["enabled"], after=after
    )
    room.say("desk", ENGLISH[0])
    segments = room.segments(session, 2)
    room.stop()
    assert [(s["mic"], s["text"]) for s in segments] == [
        ("door", FRENCH[2].text),
        ("desk", ENGLISH[0].text),
    ]


def test_stop_in_mid_sentence_keeps_the_last_words(room: Room) -> None:
    session = room.start(desk="Alice")
    sentence = ENGLISH[6]
    length_s = room.say("desk", sentence, pause_s=0)
    spool = room.node.storage / "spool"
    # Speech is on the disk while it is spoken: the size of its file shows how far it is.
    wait_until(
        lambda: any(f.stat().st_size > (length_s - 0.5) * 32000 for f in spool.iterdir()),
        10,
        "the sentence has nearly been heard",
    )
    answer = room.stop()
    (segment,) = room.segments(session, 1)
    assert segment["text"].split()[-1] == sentence.text.split()[-1]
    assert answer["segments_total"] == 1
    assert not list(spool.iterdir())


def test_transcript_is_had_at_any_moment(room: Room) -> None:
    session = room.start(desk="Alice")
    assert room.do("transcript/get")["total"] == 0
    after = room.watcher.count()
    room.say("desk", ENGLISH[0], FRENCH[0])
    room.segments(session, 2)
    live = room.watcher.wait_for(
        lambda m: m.topic == f"{TOPIC}/transcript/live" and m.json()["segments_total"] == 2,
        10,
        after,
    )
    assert live.json()["text"].count("Alice: ") == 2
    page = room.do("transcript/get", format="text", limit=1)
    assert (page["total"], page["next_offset"]) == (2, 1)
    assert spoken_lines(page["text"]) == [f"Alice: {ENGLISH[0].text}"]
    assert room.do("transcript/get", format="json", offset=1)["segments"][0]["seq"] == 2
    assert room.do("transcript/get", format="srt", offset=1)["text"].startswith("2\n")
    first = room.do("transcript/get", format="md", limit=1)["text"]
    assert re.match(
        r"# [-\d]{10} \d\d:\d\d\n\n\*\*Alice\*\*\n\n\*\*Alice\*\* \([\d:]{8}\): ", first
    )
    assert room.do("transcript/get", format="md", offset=1)["text"].startswith("**Alice** (")
    room.stop()
    saved = room.do("transcript/save", session_id=session, formats=["md"])
    assert saved["file_path"] == saved["files"]["md"]
    assert (
        Path(saved["files"]["md"]).read_text(encoding="utf-8").startswith(first.partition("(")[0])
    )
    assert set(room.do("transcript/save", session_id=session)["files"]) == {
        *("txt", "json", "srt", "vtt")
    }
    saved = room.do("transcript/save", session_id=session, formats=["vtt"])
    assert Path(saved["files"]["vtt"]).read_text(encoding="utf-8").startswith("WEBVTT")


def test_final_transcript_on_its_topics_and_as_files(room: Room) -> None:
    after = room.watcher.count()
    session = room.start(desk="Alice")
    room.say("desk", ENGLISH[0])
    room.segments(session, 1)
    answer = room.stop()
    final = room.watcher.wait_for(f"{TOPIC}/transcript/final", 10, after)
    last = room.watcher.wait_for(
        lambda m: m.topic == f"{TOPIC}/transcript/last" and m.json()["session_id"] == session
    )
    assert last.json() == final.json()
    body = final.json()
    assert not final.retain
    assert body["files"] == answer["files"]
    assert set(body["files"]) == {"txt", "json", "srt", "vtt"}
    assert body["text"] == Path(body["file_path"]).read_text(encoding="utf-8")
    assert re.fullmatch(r"full_transcription_\d{8}_\d{6}(_\d+)?\.txt", Path(body["file_path"]).name)
    assert body["speakers"][0]["words"] == len(ENGLISH[0].text.split())


def test_max_duration_stops_by_itself(room: Room) -> None:
    after = room.watcher.count()
    assignments = [{"mic": "desk", "speaker": "Alice"}]
    room.do("session/start", assignments=assignments, max_duration_s=1.5)
    final = room.watcher.wait_for(f"{TOPIC}/transcript/final", 20, after)
    assert 1.5 <= final.json()["duration_s"] < 5
    assert room.refused("session/stop")["code"] == "not_recording"


def test_silence_gives_no_segment(room: Room) -> None:
    room.start(**NAMES)
    levels = room.watcher.count()
    room.watcher.wait_for(  # five seconds of silence on every mic
        lambda m: m.topic == f"{TOPIC}/mic/sofa/state" and m.json()["level_dbfs"] is not None,
        15,
        levels,
    )
    answer = room.stop()
    assert answer["segments_total"] == 0
    assert Path(answer["file_path"]).read_text(encoding="utf-8") == ""


def test_noise_gives_no_segment(room: Room) -> None:
    """A fan, and somebody typing: loud enough for any level threshold."""
    noise = np.random.default_rng(7)
    fan = np.cumsum(noise.normal(0, 60, 6 * 16000))
    fan = 3000 * (fan - np.convolve(fan, np.ones(400) / 400, "same")) / np.abs(fan).max()
    keys = np.zeros(6 * 16000)
    for at in noise.integers(0, len(keys) - 400, 40):
        keys[at : at + 400] += noise.normal(0, 6000, 400) * np.exp(-np.arange(400) / 60)
    session = room.start(desk="Fan", door="Keys", wall="Alice")
    room.mics.play("desk", fan.clip(-32768, 32767).astype(np.int16), 16000)
    room.mics.play("door", keys.clip(-32768, 32767).astype(np.int16), 16000)
    room.say("wall", ENGLISH[0], FRENCH[0], ENGLISH[1])  # as long as the noise
    room.segments(session, 3)
    answer = room.stop()
    assert answer["segments_total"] == 3
    assert {s["mic"] for s in room.segments(session, 3)} == {"wall"}


@pytest.mark.parametrize("language", ["fr", "auto"])
def test_language_of_the_session(room: Room, language: str) -> None:
    assignments = [{"mic": "desk", "speaker": "Alice"}]
    session = room.do("session/start", assignments=assignments, language=language)["session_id"]
    room.say("desk", FRENCH[4])
    (segment,) = room.segments(session, 1)
    room.stop()
    assert (segment["language"], segment["text"]) == ("fr", FRENCH[4].text)


def test_a_microphones_own_language_counts_before_the_sessions(room: Room) -> None:
    assignments = [{"mic": "desk", "speaker": "Alice", "language": "auto"}]
    session = room.do("session/start", assignments=assignments, language="fr")["session_id"]
    room.say("desk", ENGLISH[0])
    (segment,) = room.segments(session, 1)
    room.stop()
    assert (segment["language"], segment["text"]) == ("en", ENGLISH[0].text)


def test_search_finds_what_was_said_in_all_sessions(room: Room) -> None:
    said = FRENCH[9]
    word = max(said.text.strip(".!?").split(), key=len)
    found: list[dict[str, Any]] = []
    for title in ("First", "Second"):
        session = room.do(
            "session/start", title=title, assignments=[{"mic": "door", "speaker": "Bruno"}]
        )["session_id"]
        room.say("door", said)
        (segment,) = room.segments(session, 1)
        found.insert(0, segment)
        answer = room.do("session/search", query=word.upper())  # while it is recorded
        assert [match["segment_id"] for match in answer["matches"]][: len(found)] == [
            segment["id"] for segment in found
        ]
        room.stop()
    first = answer["matches"][0]
    assert {name: first[name] for name in ("session_id", "mic", "speaker", "start", "text")} == {
        name: found[0][name] for name in ("session_id", "mic", "speaker", "start", "text")
    }
    assert first["title"] == "Second"
    assert first["started_at"] == room.do("session/list", limit=1)["sessions"][0]["started_at"]
    page = room.do("session/search", query=said.text, limit=1, offset=1)
    assert [match["session_id"] for match in page["matches"]] == [found[1]["session_id"]]
    assert page["total"] == answer["total"] >= 2
    assert room.do("session/search", query='"NEAR(')["total"] == 0
    assert "query" in room.refused("session/search", query="")["message"]
