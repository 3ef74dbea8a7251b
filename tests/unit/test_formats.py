from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.adapters.store.reading import segment_from_json, segment_to_json
from node.core.model import SAMPLE_RATE, Segment, Word
from node.core.text.formats import WRITERS, seglst, subrip, to_json, to_srt, to_text, to_vtt
from node.core.text.transcript import final_body
from node.core.text.turns import turns
from tests.unit.spoken import STARTED, segment, segments, transcript

TALK = (
    segment(1, 0.5, "Bonjour tout le monde."),
    segment(2, 3723.25, "Tom & <Jerry> -> fin", speaker="Bob <b> & Co", mic="wall"),
)


def test_text_file() -> None:
    assert to_text(transcript(*TALK)) == (
        "[11:00:00] Alice: Bonjour tout le monde.\n[12:02:03] Bob <b> & Co: Tom & <Jerry> -> fin\n"
    )


def test_subrip_file() -> None:
    assert to_srt(transcript(*TALK)) == (
        "1\n00:00:00,500 --> 00:00:01,500\nAlice: Bonjour tout le monde.\n"
        "\n"
        "2\n01:02:03,250 --> 01:02:04,250\nBob <b> & Co: Tom & <Jerry> -> fin\n"
    )


def test_subrip_numbering_of_a_page_goes_on() -> None:
    cues = subrip(turns(TALK), first=41).split("\n\n")
    assert [cue.partition("\n")[0] for cue in cues] == ["41", "42"]


def test_webvtt_file() -> None:
    assert to_vtt(transcript(*TALK)) == (
        "WEBVTT\n"
        "\n"
        "00:00:00.500 --> 00:00:01.500\n<v Alice>Bonjour tout le monde.\n"
        "\n"
        "01:02:03.250 --> 01:02:04.250\n"
        "<v Bob &lt;b&gt; &amp; Co>Tom &amp; &lt;Jerry&gt; -&gt; fin\n"
    )


def test_files_of_silence() -> None:
    assert to_text(transcript()) == to_srt(transcript()) == ""
    assert to_vtt(transcript()) == "WEBVTT\n"
    assert json.loads(to_json(transcript()))["segments"] == []


def test_clocks_round_to_the_millisecond_and_carry() -> None:
    edge = segment(1, start=SAMPLE_RATE * 3600 - 1, end=SAMPLE_RATE * 3600 * 100 + 8)
    assert "01:00:00,000 --> 100:00:00,000" in to_srt(transcript(edge))


def test_json_file() -> None:
    spoken = segment(12, 1.2, "Bonjour.", words=(Word("Bonjour", 0.02, 0.41, 0.93),), latency_s=0.9)
    document = json.loads(to_json(transcript(spoken, title="Réunion")))
    assert list(document) == ["schema", "session", "segments", "seglst"]
    assert document["schema"] == 1
    assert document["segments"] == [
        {
            "schema": 1,
            "event_type": "segment",
            "id": "20261122T100000Z-3f9c/desk/12",
            "session_id": "20261122T100000Z-3f9c",
            "seq": 12,
            "mic": "desk",
            "speaker": "Alice",
            "start": "2026-11-22T10:00:01.200Z",
            "end": "2026-11-22T10:00:02.200Z",
            "text": "Bonjour.",
            "language": "fr",
            "language_probability": 0.98,
            "confidence": 0.87,
            "words": [{"word": "Bonjour", "start": 0.02, "end": 0.41, "probability": 0.93}],
            "crosstalk_of": None,
            "replayed": False,
            "latency_s": 0.9,
        }
    ]


def test_json_file_holds_the_session_without_its_text() -> None:
    talk = transcript(*TALK, title="Réunion")
    body = json.loads(to_json(talk))["session"]
    whole = dict(final_body(talk))
    assert body == {key: whole[key] for key in whole if key not in {"text", "truncated"}}


def test_json_file_is_unescaped_utf_8() -> None:
    assert "Réunion" in to_json(transcript(title="Réunion"))


def test_json_file_keeps_crosstalk_but_seglst_does_not() -> None:
    heard = segment(3, 0.4, mic="wall", crosstalk_of="desk")
    document = json.loads(to_json(transcript(*TALK), [heard]))
    assert [s["seq"] for s in document["segments"]] == [3, 1, 2]
    assert [s["words"] for s in document["seglst"]] == [s.text for s in TALK]


def test_seglst_entry() -> None:
    assert seglst(turns(TALK)[1]) == {
        "session_id": "20261122T100000Z-3f9c",
        "speaker": "Bob <b> & Co",
        "start_time": 3723.25,
        "end_time": 3724.25,
        "words": "Tom & <Jerry> -> fin",
        "segment": "20261122T100000Z-3f9c/wall/2",
        "part": 1,
        "parts": 1,
    }


def test_words_are_left_out_of_the_payload_where_none_were_asked_for() -> None:
    assert "words" not in segment(1).payload(STARTED)
    assert segment(1, words=()).payload(STARTED)["words"] == []


def test_every_file_format_has_a_writer() -> None:
    assert list(WRITERS) == ["txt", "json", "srt", "vtt", "md"]


@pytest.mark.parametrize(("speaker", "tag"), [("Bob --", "<v Bob -- >"), ("Bob -", "<v Bob ->")])
def test_a_speakers_name_makes_no_arrow(speaker: str, tag: str) -> None:
    """WebVTT would take it for the start of another cue."""
    written = to_vtt(transcript(segment(1, 0.4, "Oui.", speaker=speaker)))
    assert written.splitlines()[-1] == f"{tag}Oui."


@settings(max_examples=40, deadline=None)
@given(st.lists(segments(), max_size=4, unique_by=lambda s: s.seq))
def test_cues_stay_apart_whatever_is_said(spoken: list[Segment]) -> None:
    talk = transcript(*spoken)
    for text, cues in ((to_srt(talk), 0), (to_vtt(talk), 1)):
        blocks = text.split("\n\n") if text else []
        assert len(blocks) - cues == len(spoken)
        assert sum("-->" in block for block in blocks) >= len(spoken)
    assert to_vtt(talk).count("-->") == len(spoken)


@settings(max_examples=40, deadline=None)
@given(segments())
def test_a_segment_survives_the_store(spoken: Segment) -> None:
    assert segment_from_json(segment_to_json(spoken)) == spoken
