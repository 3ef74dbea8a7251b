"""Sessions of several nodes become one transcript in the order of speech."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings

from node.core.clocks import ClockState, SessionClock
from node.core.model import SAMPLE_RATE, Segment, Session, Word
from node.core.text import documents
from node.core.text.documents import DocumentError, Recorded
from node.core.text.formats import to_json
from node.core.text.merged import (
    MergedTranscript,
    compare_clocks,
    may_be_of_one_meeting,
    merged,
)
from node.core.text.transcript import Transcript, merge
from tests.unit.anything import seeds
from tests.unit.spoken import PARIS, STARTED, segment, session

GOOD = ClockState(True, 12.0)
BAD = ClockState(False, 16000.0)
IDS = {"kitchen": "20261122T100000Z-3f9c", "office": "20261122T100001Z-00aa"}


def recorded(
    node: str, *segments: Segment, later_s: float = 0.0, length_s: float = 60, **changes: Any
) -> Recorded:
    """Return what a node has written of a session that began `later_s` after `STARTED`."""
    began = STARTED + timedelta(seconds=later_s)
    values: dict[str, Any] = {"id": IDS.get(node, IDS["kitchen"]), "node": node, **changes}
    ended = began + timedelta(seconds=length_s)
    meeting = session(started_at=began, ended_at=ended, **values)
    own = [
        replace(s, id=s.id.replace(IDS["kitchen"], meeting.id), session_id=meeting.id)
        for s in segments
    ]
    written = to_json(Transcript(meeting, merge(own), PARIS), [s for s in own if s.crosstalk_of])
    return documents.read(written, f"{node}.json")


def timed(seq: int, start_s: float, text: str, **changes: Any) -> Segment:
    words = tuple(
        Word(word, round(number * 0.3, 2), round(number * 0.3 + 0.3, 2), 0.9)
        for number, word in enumerate(text.split())
    )
    end = round((start_s + 0.3 * len(words)) * SAMPLE_RATE)
    return segment(seq, start_s, text, **{"end": end, "words": words, **changes})


def lines(*nodes: Recorded, **options: Any) -> list[str]:
    return merged(nodes, PARIS, **options).write("txt").splitlines()


KITCHEN = (segment(1, 1, "Un."), segment(2, 5, "Trois."))
OFFICE = (segment(1, 1, "Deux.", speaker="Bob"), segment(2, 4, "Quatre.", speaker="Bob"))


def test_two_nodes_in_the_order_of_speech() -> None:
    nodes = recorded("kitchen", *KITCHEN), recorded("office", *OFFICE, later_s=2.5)
    expected = [
        "[11:00:01] Alice: Un.",
        "[11:00:03] Bob: Deux.",
        "[11:00:05] Alice: Trois.",
        "[11:00:06] Bob: Quatre.",
    ]
    assert lines(*nodes) == lines(*reversed(nodes)) == expected


def test_who_begin_at_once_stand_as_their_node_has_them() -> None:
    first, second = segment(1, 1, "Un.", mic="wall"), segment(2, 1, "Deux.", mic="desk")
    assert lines(recorded("kitchen", first, second)) == [
        "[11:00:01] Alice: Un.",
        "[11:00:01] Alice: Deux.",
    ]


def test_all_formats_count_from_the_first_start() -> None:
    whole = merged([recorded("office", *OFFICE, later_s=2.5), recorded("kitchen", *KITCHEN)], PARIS)
    assert "2\n00:00:03,500 --> 00:00:04,500\nBob: Deux.\n" in whole.write("srt")
    assert "00:00:03.500 --> 00:00:04.500\n<v Bob>Deux.\n" in whole.write("vtt")
    assert whole.write("md").startswith("# 2026-11-22 11:00\n\n**Alice**, **Bob**\n")


def test_the_json_document() -> None:
    clock = SessionClock(GOOD, GOOD, 0.5)
    kitchen = recorded("kitchen", *KITCHEN, group="budget", clock=clock)
    heard = segment(3, 4.2, "Deux.", crosstalk_of="desk")
    office = recorded(
        "office", *OFFICE, heard, later_s=2.5, title="Budget", group="budget", clock=clock
    )
    document = json.loads(merged([office, kitchen], PARIS).write("json"))
    assert list(document) == [
        *("schema", "session", "nodes", "clocks_agree_within_ms", "segments", "seglst")
    ]
    about = document["session"]
    assert (about["session_id"], about["node"]) == (IDS["kitchen"], None)
    assert (about["title"], about["group"]) == ("Budget", "budget")
    assert (about["started_at"], about["ended_at"]) == (
        "2026-11-22T10:00:00.000Z",
        "2026-11-22T10:01:02.500Z",
    )
    assert [(s["speaker"], s["mic"], s["segments"]) for s in about["speakers"]] == [
        ("Alice", "kitchen/desk", 2),
        ("Bob", "office/desk", 2),
    ]
    assert document["clocks_agree_within_ms"] == 25
    assert [(n["node"], n["session_id"], n["late_ms"]) for n in document["nodes"]] == [
        ("kitchen", IDS["kitchen"], 0.0),
        ("office", IDS["office"], 0.0),
    ]
    assert document["nodes"][1]["started_at"] == "2026-11-22T10:00:02.500Z"
    assert document["nodes"][1]["clock"] == clock.payload()
    assert [(s["seq"], s["start"], s["mic"]) for s in document["segments"]] == [
        (1, "2026-11-22T10:00:01.000Z", "kitchen/desk"),
        (2, "2026-11-22T10:00:03.500Z", "office/desk"),
        (3, "2026-11-22T10:00:05.000Z", "kitchen/desk"),
        (4, "2026-11-22T10:00:06.500Z", "office/desk"),
        (3, "2026-11-22T10:00:06.700Z", "office/desk"),
    ]
    assert document["segments"][-1]["crosstalk_of"] == "office/desk"
    assert {s["session_id"] for s in document["segments"]} == {IDS["kitchen"]}
    assert [entry["start_time"] for entry in document["seglst"]] == [1.0, 3.5, 5.0, 6.5]
    assert [entry["segment"] for entry in document["seglst"]] == [
        f"{IDS[node]}/desk/{n}"
        for node, n in (("kitchen", 1), ("office", 1), ("kitchen", 2), ("office", 2))
    ]


def test_a_merged_file_is_not_merged_again() -> None:
    text = merged([recorded("kitchen", *KITCHEN)], PARIS).write("json")
    with pytest.raises(DocumentError, match=r"twice\.json: it is merged already"):
        documents.read(text, "twice.json")


LONG = "le budget de la fête est de dix mille euros et nous avons besoin de douze bouteilles"


def test_who_is_interrupted_in_another_room_is_cut_there() -> None:
    """As if both were in one session, if their words have times."""
    bob = timed(1, 0.4, "Dix mille, c'est trop.", speaker="Bob")
    nodes = recorded("kitchen", timed(1, 10, LONG)), recorded("office", bob, later_s=11.5)
    assert lines(*nodes) == [
        "[11:00:10] Alice: le budget de la fête est de",
        "[11:00:11] Bob: Dix mille, c'est trop.",
        "[11:00:12] Alice: dix mille euros et nous avons besoin de douze bouteilles",
    ]


def test_without_word_times_a_line_stays_as_its_node_has_cut_it() -> None:
    cut = timed(1, 10, LONG, hidden_words=True)
    chloe = timed(2, 11.9, "Dix mille, c'est trop.", speaker="Chloé", mic="wall", hidden_words=True)
    bob = timed(1, 0.0, "Il fait beau ici.", speaker="Bob", hidden_words=True)
    kitchen = recorded("kitchen", cut, chloe)
    assert not any(s.words for s in kitchen.segments)
    assert lines(kitchen, recorded("office", bob, later_s=13.0)) == [
        "[11:00:10] Alice: le budget de la fête est de",
        "[11:00:11] Chloé: Dix mille, c'est trop.",
        "[11:00:12] Alice: dix mille euros et nous avons besoin de douze bouteilles",
        "[11:00:13] Bob: Il fait beau ici.",
    ]


def test_one_name_is_one_person_unless_the_nodes_are_named() -> None:
    nodes = recorded("kitchen", segment(1, 1)), recorded("office", segment(1, 2))
    assert [line.partition("] ")[2] for line in lines(*nodes)] == ["Alice: Bonjour."] * 2
    assert [line.partition("] ")[2] for line in lines(*nodes, by_node=True)] == [
        "Alice (kitchen): Bonjour.",
        "Alice (office): Bonjour.",
    ]


def test_microphones_of_nobody_are_not_one_person() -> None:
    nobody = segment(1, 1, speaker="Micro 1")
    assert lines(recorded("kitchen", nobody)) == ["[11:00:01] Micro 1: Bonjour."]
    both = recorded("kitchen", nobody), recorded("office", nobody, later_s=1)
    assert [line.partition("] ")[2] for line in lines(*both)] == [
        "Micro 1 (kitchen): Bonjour.",
        "Micro 1 (office): Bonjour.",
    ]


def test_a_clock_that_became_right_puts_the_lines_right() -> None:
    late = SessionClock(BAD, GOOD, 3_600_000.0)
    office = recorded("office", *OFFICE, later_s=2.5 - 3600, clock=late)
    kitchen = recorded("kitchen", *KITCHEN, clock=SessionClock(GOOD))
    whole = merged([office, kitchen], PARIS)
    assert [line.partition("] ")[2] for line in whole.write("txt").splitlines()] == [
        *("Alice: Un.", "Bob: Deux.", "Alice: Trois.", "Bob: Quatre.")
    ]
    assert whole.clocks.within_ms == 1025
    assert json.loads(whole.write("json"))["nodes"][1]["late_ms"] == 3_600_000.0


def test_two_sessions_of_one_node_have_one_clock() -> None:
    first = recorded("kitchen", *KITCHEN, clock=SessionClock(GOOD))
    worse = SessionClock(ClockState(True, 90.0))
    again = recorded("kitchen", *KITCHEN, later_s=100, id="20261122T100140Z-0001", clock=worse)
    assert merged([first, again], PARIS).clocks.remarks == ()
    office = recorded("office", *OFFICE, clock=SessionClock(GOOD))
    assert merged([first, again, office], PARIS).clocks.within_ms == 103
    pairs = [(each.node, each.session) for each in (again, first, office)]
    assert compare_clocks(pairs).within_ms == 103
    unknown = replace(again.session, clock=SessionClock())
    for order in ([(again.node, unknown), *pairs], [*pairs, (again.node, unknown)]):
        assert compare_clocks(order).within_ms is None


def test_equal_ids_of_two_nodes_stay_apart() -> None:
    """Started by one message in one second, with the same 16 random bits."""
    both = [recorded(node, *KITCHEN, id=IDS["kitchen"]) for node in ("kitchen", "office")]
    whole = merged(both, PARIS)
    assert len({s.id for s in whole.segments}) == len(whole.turns) == 4


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (
            recorded("kitchen", *KITCHEN),
            "b.json: it is the session 20261122T100000Z-3f9c of kitchen, as a.json is",
        ),
        (
            recorded("office", *OFFICE, group="dinner"),
            "b.json: it is of the group 'dinner', and a.json of 'budget'",
        ),
        (
            recorded("office", *OFFICE, later_s=60 + 3601),
            "b.json: it begins 1 h 0 min after a.json ends, so they are not of one meeting, unless",
        ),
        (
            recorded("office", *OFFICE, later_s=-9 * 3600, clock=SessionClock(GOOD)),
            "a.json: it begins 8 h 59 min after b.json ends, so they are not of one meeting",
        ),
    ],
)
def test_what_is_not_of_one_meeting(other: Recorded, said: str) -> None:
    one = recorded("kitchen", *KITCHEN, group="budget", clock=SessionClock(GOOD))
    with pytest.raises(DocumentError) as refused:
        merged([replace(one, source="a.json"), replace(other, source="b.json")], PARIS)
    assert str(refused.value).startswith(said)
    doubt = ", unless the clock of office was wrong"
    assert str(refused.value).endswith(doubt) == said.endswith("unless")


def test_a_pause_of_less_than_an_hour_is_in_one_meeting() -> None:
    """Also where the session before it is not the one that ended last."""
    parts = [
        recorded("kitchen", length_s=7200),
        recorded("office", length_s=10, later_s=60),
        recorded("office", later_s=7200 + 3599, id="20261122T125959Z-0001"),
    ]
    assert merged(parts, PARIS).session.ended_at == STARTED + timedelta(seconds=7200 + 3599 + 60)


def test_a_session_that_is_still_recorded_ends_with_its_last_line() -> None:
    running = recorded("kitchen", segment(1, 100), length_s=0)
    assert merged([running], PARIS).session.ended_at == STARTED + timedelta(seconds=101)
    silent = replace(running, turns=(), segments=(), session=session())
    assert merged([silent], PARIS).session.ended_at == STARTED


def grouped(later_s: float, length_s: float | None = 60, **changes: Any) -> Session:
    began = STARTED + timedelta(seconds=later_s)
    ended = None if length_s is None else began + timedelta(seconds=length_s)
    return session(**{"started_at": began, "ended_at": ended, "group": "budget", **changes})


@pytest.mark.parametrize(
    ("other", "is_near"),
    [
        (grouped(5), True),
        (grouped(60 + 3600), True),
        (grouped(60 + 3601), False),
        (grouped(-3660), True),
        (grouped(-3661), False),
        (grouped(-9999, None), True),  # still recorded
        (grouped(9999, clock=SessionClock(BAD, GOOD, -9_000_000)), True),
        (grouped(5, group="dinner"), False),
        (grouped(5, group=None), False),
    ],
)
def test_which_sessions_may_be_of_one_meeting(other: Session, is_near: bool) -> None:
    assert may_be_of_one_meeting(grouped(0), other) == is_near
    assert may_be_of_one_meeting(other, grouped(0)) == is_near
    assert not may_be_of_one_meeting(grouped(0, group=None), grouped(0, group=None))


def milliseconds(chance: Random) -> int:
    """Up to 20 s, often the same."""
    return chance.choice((chance.randrange(20_001), 500 * chance.randrange(4)))


def rooms(chance: Random) -> list[Recorded]:
    """Sessions of up to three nodes: with word times, with hidden ones, or with none."""
    found = []
    for number in range(chance.randint(1, 3)):
        hidden = chance.random() < 0.5
        said = [
            timed(
                seq,
                milliseconds(chance) / 1000,
                " ".join(chance.choices(["un", "deux,", "trois.", "oui"], k=chance.randint(1, 12))),
                speaker=chance.choice(["Alice", "Bob", "Chloé", "Micro 1"]),
                mic=chance.choice(["desk", "wall"]),
                crosstalk_of=chance.choice([None, None, "sofa"]),
                hidden_words=hidden,
            )
            for seq in range(1, chance.randint(0, 5) + 1)
        ]
        if chance.random() < 0.5:
            said = [replace(s, words=None) for s in said]
        found.append(
            recorded(
                f"node-{number}",
                *said,
                later_s=milliseconds(chance) / 1000,
                id=f"20261122T100000Z-000{chance.randint(0, 3)}",
            )
        )
    return found


@settings(max_examples=60, deadline=None)
@given(seeds)
def test_every_line_is_there_once_in_order_whatever_the_order_of_files(seed: int) -> None:
    chance = Random(seed)
    parts = rooms(chance)
    whole = merged(parts, PARIS)
    shuffled = list(parts)
    chance.shuffle(shuffled)
    assert merged(shuffled, PARIS).write("json") == whole.write("json")
    starts = [turn.start for turn in whole.turns]
    assert starts == sorted(starts)
    assert [s.seq for s in whole.segments] == list(range(1, len(whole.segments) + 1))
    own = [each for part in parts for each in part.segments if each.crosstalk_of is None]
    assert Counter(s.text for s in whole.segments) == Counter(s.text for s in own)
    check_lines(whole, parts)


def check_lines(whole: MergedTranscript, parts: list[Recorded]) -> None:
    """Each line without word times is there as it was; the others have all words of theirs."""
    kept = Counter(line.text for part in parts for line in part.turns if not line.segment.words)
    assert Counter(t.text for t in whole.turns if not t.segment.words) == kept
    for spoken in whole.segments:
        turns = [turn for turn in whole.turns if turn.segment.id == spoken.id]
        assert " ".join(turn.text for turn in turns) == spoken.text
        assert [turn.part for turn in turns] == list(range(1, len(turns) + 1))
        assert {turn.parts for turn in turns} == {len(turns)}
        assert all(turn.segment == spoken for turn in turns)


@given(seeds)
def test_of_one_node_it_is_the_transcript_of_that_node(seed: int) -> None:
    """But for lines that begin at the same sample: one that goes on may change places with one that
    begins.
    """
    for each in rooms(Random(seed)):
        found = [(turn.start, turn.end, turn.text) for turn in merged([each], PARIS).turns]
        assert [start for start, _, _ in found] == sorted(start for start, _, _ in found)
        assert sorted(found) == sorted((line.start, line.end, line.text) for line in each.turns)
