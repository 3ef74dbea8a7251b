from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.core.clocks import ClockState, SessionClock
from node.core.model import SAMPLE_RATE, Segment, Word
from node.core.text.transcript import MAX_TEXT_BYTES, clip, final_body, merge, plain, speech_start
from node.core.text.turns import turns
from tests.unit.spoken import (
    PARIS,
    STARTED,
    line_text,
    segment,
    segments,
    session,
    transcript,
)

if TYPE_CHECKING:
    import random


def test_a_line_tells_the_time_of_day_in_the_zone_who_and_what() -> None:
    spoken = segment(1, 61.9, "Bonjour tout le monde.")
    written = plain(session(), turns([spoken]), PARIS)
    assert written == "[11:01:01] Alice: Bonjour tout le monde.\n"


def test_text_is_one_line_a_segment() -> None:
    merged = transcript(segment(1, 0, "Un."), segment(2, 1, "Deux.", speaker="Bob"))
    assert merged.text() == "[11:00:00] Alice: Un.\n[11:00:01] Bob: Deux.\n"
    assert transcript().text() == ""


def test_merge_is_by_the_first_word_and_not_by_the_pre_roll() -> None:
    slow = segment(1, 0.0, words=(Word("Euh", 0.9, 1.0, 0.5),))
    quick = segment(2, 0.3, words=(Word("Oui", 0.1, 0.3, 0.9),), mic="wall")
    assert merge([slow, quick]) == (quick, slow)
    assert speech_start(slow) == pytest.approx(0.9)
    assert speech_start(segment(3, 2.5, words=())) == pytest.approx(2.5)


def test_merge_of_simultaneous_segments_is_by_seq() -> None:
    one, two = segment(1, 1.0), segment(2, 1.0, mic="wall")
    assert merge([two, one]) == (one, two)


def test_merge_keeps_each_id_once() -> None:
    spoken = segment(1)
    assert merge([spoken, replace(spoken, replayed=True)]) == (replace(spoken, replayed=True),)


def test_merge_leaves_out_what_was_said_into_another_mic() -> None:
    own, heard = segment(1), segment(2, mic="wall", crosstalk_of="desk")
    assert merge([own, heard]) == (own,)


@settings(max_examples=25, deadline=None)
@given(st.lists(segments(), max_size=8, unique_by=lambda s: s.seq), st.randoms())
def test_merge_does_not_depend_on_the_order_of_arrival(
    spoken: list[Segment], chance: random.Random
) -> None:
    shuffled = spoken + spoken[:3]
    chance.shuffle(shuffled)
    merged = merge(shuffled)
    assert merged == merge(spoken)
    assert {s.id for s in merged} == {s.id for s in spoken if s.crosstalk_of is None}
    starts = [speech_start(s) for s in merged]
    assert starts == sorted(starts)


@settings(max_examples=100, deadline=None)
@given(st.lists(line_text, max_size=8), st.integers(0, 60))
def test_clip_keeps_whole_lines_within_the_limit(lines: list[str], limit: int) -> None:
    text = "".join(f"{spoken}\n" for spoken in lines)
    kept, cut = clip(text, limit)
    assert len(kept.encode()) <= limit
    assert text.startswith(kept)
    assert kept == "" or kept.endswith("\n")
    assert cut == (kept != text) == (len(text.encode()) > limit)
    following = text[len(kept) :].partition("\n")[0]
    assert not cut or len(f"{kept}{following}\n".encode()) > limit


def test_clip_counts_bytes_and_not_characters() -> None:
    assert clip("ééé\nab\n", 8) == ("ééé\n", True)
    assert clip("ééé\nab\n", 10) == ("ééé\nab\n", False)
    assert clip("ééé\nab\n", 6) == ("", True)


def test_final_body_of_a_session() -> None:
    files = {"txt": "/var/lib/t.txt", "json": "/var/lib/t.json"}
    spoken = (
        segment(1, 0, "Hello there my friends", language="en", speaker="Bob", mic="wall"),
        segment(2, 1, "Bonjour à tous"),
        segment(3, 2.5, "Au revoir", end=round(4.25 * SAMPLE_RATE)),
    )
    ended = STARTED + timedelta(seconds=4.5)
    given = {"title": "Réunion", "ended_at": ended, "files": files}
    where = {"node": "kitchen", "group": "monday", "clock": SessionClock(ClockState(True, 12.345))}
    assert final_body(transcript(*spoken, **given, **where)) == {
        "schema": 1,
        "event_type": "transcript",
        "session_id": "20261122T100000Z-3f9c",
        "node": "kitchen",
        "group": "monday",
        "title": "Réunion",
        "started_at": "2026-11-22T10:00:00.000Z",
        "ended_at": "2026-11-22T10:00:04.500Z",
        "duration_s": 4.5,
        "clock": {
            "start": {"synchronised": True, "max_error_ms": 12.3},
            "stop": None,
            "shift_ms": None,
        },
        "languages": ["fr", "en"],
        "speakers": [
            {"speaker": "Bob", "mic": "wall", "segments": 1, "words": 4, "speaking_s": 1.0},
            {"speaker": "Alice", "mic": "desk", "segments": 2, "words": 5, "speaking_s": 2.75},
        ],
        "segments_total": 3,
        "text": "[11:00:00] Bob: Hello there my friends\n[11:00:01] Alice: Bonjour à tous\n"
        "[11:00:02] Alice: Au revoir\n",
        "truncated": False,
        "file_path": "/var/lib/t.txt",
        "files": files,
    }


def test_final_body_of_a_session_in_which_nothing_was_said() -> None:
    body = final_body(transcript())
    assert (body["text"], body["languages"], body["speakers"]) == ("", [], [])
    assert (body["duration_s"], body["file_path"]) == (0.0, None)


def test_a_speaker_who_changed_the_mic_is_counted_for_each() -> None:
    body = final_body(transcript(segment(1), segment(2, 1, mic="wall"), segment(3, 2)))
    assert [(s["mic"], s["segments"]) for s in body["speakers"]] == [("desk", 2), ("wall", 1)]


def test_a_long_transcript_is_cut_on_mqtt_and_says_so() -> None:
    body = final_body(transcript(*(segment(n, n, "é" * 2000) for n in range(100))))
    assert body["truncated"]
    assert MAX_TEXT_BYTES - 4100 < len(body["text"].encode()) <= MAX_TEXT_BYTES
    assert body["segments_total"] == 100
