"""A session's JSON file is read back as it was written, and nothing else is taken for one."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings

from node.core.clocks import ClockState, SessionClock
from node.core.model import UNDATED, Word, iso
from node.core.text import documents
from node.core.text.documents import DocumentError
from node.core.text.formats import to_json
from node.core.text.merged import merged
from tests.unit import anything
from tests.unit.spoken import PARIS, STARTED, segment, transcript

if TYPE_CHECKING:
    from collections.abc import Callable

CLOCK = SessionClock(ClockState(True, 12.5), ClockState(False, 16000.0), -3.5)
WORDS = (Word("Bonjour", 0.0, 0.4, 0.9), Word("Alice.", 0.5, 0.9, 0.8))
TALK = (
    segment(1, 0.5, "Bonjour Alice.", words=WORDS),
    segment(2, 4.0, "Oui.", speaker="Bob", mic="wall"),
)
CROSSTALK = segment(0, 4.1, "Oui.", crosstalk_of="wall")
ENDED = STARTED + timedelta(seconds=10)


def body(**changes: Any) -> dict[str, Any]:
    whole = transcript(*TALK, ended_at=ENDED, node="kitchen", clock=CLOCK, **changes)
    document: dict[str, Any] = json.loads(to_json(whole, [CROSSTALK]))
    return document


def test_all_of_it_comes_back() -> None:
    found = documents.read(json.dumps(body(title="Budget", group="budget")), "a.json")
    assert (found.source, found.node) == ("a.json", "kitchen")
    session = found.session
    assert (session.title, session.group, session.clock) == ("Budget", "budget", CLOCK)
    assert (session.started_at, session.ended_at) == (STARTED, ENDED)
    assert sorted(found.segments, key=lambda s: s.id) == sorted(
        [*TALK, CROSSTALK], key=lambda s: s.id
    )
    assert found.turns == transcript(*TALK).turns


def test_a_file_of_an_older_version() -> None:
    old = body()
    for field in ("node", "group", "clock"):
        del old["session"][field]
    for line in old["seglst"]:
        del line["part"], line["parts"]
    found = documents.parse(old, "a.json")
    assert (found.node, found.session.group, found.session.clock) == (
        "a.json",
        None,
        SessionClock(),
    )
    assert [line.text for line in found.turns] == ["Bonjour Alice.", "Oui."]


def test_fields_of_a_later_version_are_ignored() -> None:
    new = body()
    for part in (
        new,
        new["session"],
        new["session"]["clock"],
        new["segments"][0],
        new["seglst"][0],
    ):
        part["mood"] = "merry"
    assert documents.parse(new, "a.json") == documents.parse(body(), "a.json")


WHOLE = json.dumps(body())


def change(*path: str | int, to: Any) -> Callable[[dict[str, Any]], None]:
    def change_it(document: dict[str, Any]) -> None:
        part: Any = document
        for step in path[:-1]:
            part = part[step]
        part[path[-1]] = to

    return change_it


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (change("schema", to=2), "it has the schema '2', and this version of Scribe Node knows 1"),
        (change("schema", to="x" * 99), f"it has the schema '{'x' * 20}'"),
        (change("nodes", to=[]), "it is merged already"),
        (change("session", to=None), "session: "),
        (change("session", "session_id", to="../x"), "session.session_id: "),
        (change("session", "node", to="a\nb"), "session.node: control characters"),
        (change("session", "started_at", to="soon"), "session.started_at: "),
        (change("session", "started_at", to="2026-11-22T10:00:00"), "session.started_at: "),
        (change("session", "started_at", to="9999-12-31T23:59:59Z"), "session.started_at: "),
        (change("session", "started_at", to=iso(UNDATED)), "it has no date"),
        (change("session", "clock", "shift_ms", to=1e300), "session.clock.shift_ms: "),
        (change("session", "clock", "start", "max_error_ms", to=float("nan")), "max_error_ms: "),
        (change("segments", 0, "start", to="2026-11-22T09:00:00Z"), "desk/1 are not within"),
        (change("segments", 0, "end", to="2026-11-22T10:00:00Z"), "desk/1 are not within"),
        (change("segments", 0, "end", to="2028-11-22T10:00:00Z"), "desk/1 are not within"),
        (change("segments", 0, "words", 0, "start", to=float("inf")), "segments[0].words[0].start"),
        (change("segments", 0, "text", to="\ud800"), "segments[0].text: "),
        (change("segments", 1, "id", to=TALK[0].id), "segments: an id is there twice"),
        (change("segments", to=[]), "seglst: there is no segment"),
        (change("seglst", to=[]), "seglst: the segment 20261122T100000Z-3f9c/desk/1 is missing"),
        (change("seglst", 1, "segment", to=TALK[0].id), "desk/1 occurs twice"),
        (change("seglst", 0, "start_time", to=-1), "seglst[0].start_time: "),
        (change("seglst", 0, "end_time", to=1e300), "seglst[0].end_time: "),
        (change("segments", 0, "words", 1, "end", to=1e300), "segments[0].words[1].end: "),
        (change("seglst", 0, "words", to=7), "seglst[0].words: "),
    ],
)
def test_what_is_wrong_is_named(spoil: Callable[[dict[str, Any]], None], said: str) -> None:
    document = body()
    spoil(document)
    with pytest.raises(DocumentError) as refused:
        documents.parse(document, "a.json")
    assert str(refused.value).startswith("a.json: ")
    assert said in str(refused.value)


def test_not_all_that_is_wrong_is_listed() -> None:
    document = body()
    document["seglst"] = [7] * 1000
    with pytest.raises(DocumentError, match=r"; and 997 more$") as refused:
        documents.parse(document, "a.json")
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "[00:00:01] Alice: Bonjour."])
def test_what_is_no_json(text: str) -> None:
    with pytest.raises(DocumentError, match=r"^a\.json: it is not JSON$"):
        documents.read(text, "a.json")


@pytest.mark.parametrize("text", ["7", "[]", "{}", '{"schema": 1}', '{"segments": []}'])
def test_json_of_something_else(text: str) -> None:
    with pytest.raises(DocumentError, match="not the JSON file of a session"):
        documents.read(text, "a.json")


@settings(max_examples=300, deadline=None)
@given(anything.seeds, anything.values())
@example(307, "door")  # `crosstalk_of` of a segment that has lines
def test_no_value_anywhere_breaks_it(seed: int, value: Any) -> None:
    chance = Random(seed)
    document = json.loads(WHOLE)
    part: Any = document
    while True:
        step = chance.choice(list(part) if isinstance(part, dict) else range(len(part)))
        deeper = part[step]
        if not isinstance(deeper, dict | list) or not deeper or chance.random() < 0.5:
            part[step] = value
            break
        part = deeper
    with suppress(DocumentError):
        found = documents.parse(document, "a.json")
        assert all(0 <= line.start <= line.end for line in found.turns)
        merged([found], PARIS).write("json").encode()


def test_a_session_in_a_list() -> None:
    listed = {**body(group="budget")["session"], "ended_at": None, "state": "recording"}
    session = documents.session_of(listed, "kitchen")
    assert (session.group, session.ended_at, session.clock) == ("budget", None, CLOCK)
    with pytest.raises(DocumentError, match=r"^kitchen: started_at: "):
        documents.session_of({**listed, "started_at": "soon"}, "kitchen")
