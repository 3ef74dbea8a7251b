from __future__ import annotations

import json
from typing import Any

import pytest

from node.core.mqtt.messages import (
    MAX_REQUEST_BYTES,
    Assign,
    AssignMics,
    GetTranscript,
    ListSessions,
    Nothing,
    SaveTranscript,
    StartSession,
    decode,
    parse,
    parse_name,
    parse_switch,
    transaction_in,
    transaction_of,
)
from node.errors import RequestError
from node.service.requests import VERBS

SESSION_ID = "20261122T100000Z-3f9c"
ALICE = {"mic": "usb-1-1.3", "speaker": "Alice"}
SURROGATE = "\ud800"

VALID = [
    ("mics/detect", {}),
    ("mics/assign", {"assignments": []}),
    ("mics/assign", {"assignments": [ALICE, {"mic": 2, "speaker": "", "language": "fr"}]}),
    ("session/start", {}),
    (
        "session/start",
        {"assignments": [ALICE], "title": "Réunion", "language": "auto", "max_duration_s": 3600},
    ),
    ("session/start", {"title": "Réunion", "group": "réunion du lundi"}),
    ("session/stop", {}),
    ("session/stop", {"session_id": SESSION_ID}),
    ("session/list", {"limit": 10, "offset": 20}),
    ("session/list", {"group": "réunion du lundi"}),
    ("session/search", {"query": "château d'eau"}),
    ("session/search", {"query": "x" * 200, "limit": 200, "offset": 20}),
    ("session/delete", {"session_id": SESSION_ID}),
    ("transcript/get", {"session_id": SESSION_ID, "format": "srt", "offset": 5, "limit": 1000}),
    ("transcript/save", {"session_id": SESSION_ID, "formats": ["vtt"]}),
    ("health/check", {}),
]

INVALID: list[tuple[str, dict[str, Any], str]] = [
    ("session/search", {}, "query"),
    ("session/search", {"query": "  "}, "query"),
    ("session/search", {"query": "x" * 201}, "query"),
    ("session/search", {"query": "a\0b"}, "query"),
    ("session/search", {"query": f"a{SURROGATE}"}, "query"),
    ("session/search", {"query": ["a"]}, "query"),
    ("session/search", {"query": "a", "limit": 0}, "limit"),
    ("session/search", {"query": "a", "limit": 201}, "limit"),
    ("session/search", {"query": "a", "offset": -1}, "offset"),
    ("mics/detect", {"force": True}, "force"),
    ("mics/assign", {}, "assignments"),
    ("mics/assign", {"assignments": {}}, "assignments"),
    ("mics/assign", {"assignments": [ALICE] * 65}, "assignments"),
    ("mics/assign", {"assignments": ["Alice"]}, "assignments[0]"),
    ("mics/assign", {"assignments": [ALICE, {"speaker": "Bob"}]}, "assignments[1].mic"),
    ("mics/assign", {"assignments": [{"mic": 1}]}, "assignments[0].speaker"),
    ("mics/assign", {"assignments": [ALICE | {"mic": 0}]}, "assignments[0].mic"),
    ("mics/assign", {"assignments": [ALICE | {"mic": True}]}, "assignments[0].mic"),
    ("mics/assign", {"assignments": [ALICE | {"mic": 1.5}]}, "assignments[0].mic"),
    ("mics/assign", {"assignments": [ALICE | {"mic": ""}]}, "assignments[0].mic"),
    ("mics/assign", {"assignments": [ALICE | {"mic": "x" * 65}]}, "assignments[0].mic"),
    ("mics/assign", {"assignments": [ALICE | {"mic_id": 1}]}, "assignments[0].mic_id"),
    ("mics/assign", {"assignments": [{"mic_id": 0, "speaker": ""}]}, "assignments[0].mic_id"),
    ("mics/assign", {"assignments": [{"mic": 1, "person_name": 7}]}, "assignments[0].person_name"),
    ("mics/assign", {"assignments": [ALICE | {"speaker": "x" * 65}]}, "assignments[0].speaker"),
    ("mics/assign", {"assignments": [ALICE | {"speaker": "a\nb"}]}, "assignments[0].speaker"),
    ("mics/assign", {"assignments": [ALICE | {"speaker": "a\0"}]}, "assignments[0].speaker"),
    ("mics/assign", {"assignments": [ALICE | {"speaker": SURROGATE}]}, "assignments[0].speaker"),
    ("mics/assign", {"assignments": [ALICE | {"language": "xx"}]}, "assignments[0].language"),
    ("mics/assign", {"assignments": [ALICE | {"colour": "red"}]}, "assignments[0].colour"),
    ("session/start", {"assignments": []}, "assignments"),
    ("session/start", {"title": "x" * 201}, "title"),
    ("session/start", {"title": "a\u2028b"}, "title"),
    ("session/start", {"group": "x" * 65}, "group"),
    ("session/start", {"group": "a\nb"}, "group"),
    ("session/start", {"group": SURROGATE}, "group"),
    ("session/start", {"group": 7}, "group"),
    ("session/start", {"language": "x" * 10_000}, "language"),
    ("session/start", {"max_duration_s": 0}, "max_duration_s"),
    ("session/start", {"max_duration_s": float("inf")}, "max_duration_s"),
    ("session/start", {"max_duration_s": float("nan")}, "max_duration_s"),
    ("session/start", {"max_duration_s": 700_000}, "max_duration_s"),
    ("session/start", {"max_duration_s": True}, "max_duration_s"),
    ("session/start", {"max_duration_s": "10"}, "max_duration_s"),
    ("session/start", {"max-duration": 5}, "'max-duration'"),
    ("session/start", {"": 5}, "''"),
    ("session/start", {SURROGATE: 5}, "a field's name"),
    ("session/start", {"x" * 9999: 5}, "x" * 64),
    ("session/stop", {"session_id": "../../etc/passwd"}, "session_id"),
    ("session/stop", {"session_id": f"{SESSION_ID}\n"}, "session_id"),
    ("session/list", {"group": ["a"]}, "group"),
    ("session/list", {"limit": 0}, "limit"),
    ("session/list", {"limit": 1001}, "limit"),
    ("session/list", {"limit": "many"}, "limit"),
    ("session/list", {"limit": True}, "limit"),
    ("session/list", {"offset": "3"}, "offset"),
    ("session/list", {"offset": -1}, "offset"),
    ("session/list", {"offset": 10**30}, "offset"),
    ("session/delete", {}, "session_id"),
    ("session/delete", {"session_id": None}, "session_id"),
    ("transcript/get", {"format": "pdf"}, "format"),
    ("transcript/get", {"limit": 1001}, "limit"),
    ("transcript/save", {"formats": []}, "formats"),
    ("transcript/save", {"formats": ["txt"]}, "formats[0]"),
    ("health/check", {"transaction": [1]}, "transaction"),
    ("health/check", {"transaction": True}, "transaction"),
    ("health/check", {"transaction": float("inf")}, "transaction"),
    ("health/check", {"transaction": "x" * 257}, "transaction"),
]


def refused(verb: str, body: dict[str, Any]) -> RequestError:
    with pytest.raises(RequestError) as caught:
        parse(VERBS[verb].form, body)
    return caught.value


@pytest.mark.parametrize(("verb", "body"), VALID)
def test_a_valid_request_is_taken(verb: str, body: dict[str, Any]) -> None:
    request = parse(VERBS[verb].form, decode(json.dumps(body).encode()))
    assert type(request) is VERBS[verb].form
    given_fields = request.model_dump(include=set(body) - {"assignments"})
    assert given_fields == {key: body[key] for key in given_fields}


def test_every_verb_has_a_valid_example() -> None:
    assert {verb for verb, _ in VALID} == set(VERBS)


@pytest.mark.parametrize(("verb", "body", "field"), INVALID)
def test_an_invalid_field_is_named(verb: str, body: dict[str, Any], field: str) -> None:
    error = refused(verb, body)
    assert error.code == "invalid_request"
    assert str(error).startswith(f"{field}: ")
    assert len(str(error).encode()) < 500
    assert "\n" not in str(error)


def test_every_wrong_field_is_named() -> None:
    text = str(refused("session/start", {"title": 5, "language": "x" * 17, "max_duration_s": -1}))
    assert [part.partition(":")[0] for part in text.split("; ")] == [
        "title",
        "language",
        "max_duration_s",
    ]


def test_a_field_of_several_types_says_all_that_fit() -> None:
    text = str(refused("mics/assign", {"assignments": [ALICE | {"mic": None}]}))
    assert "valid integer or " in text
    assert "valid string" in text


def test_other_names_of_the_fields() -> None:
    request = parse(AssignMics, {"assignments": [{"mic_id": "a", "person_name": "Bob"}]})
    assert request.assignments == [Assign.model_validate({"mic": "a", "speaker": "Bob"})]


@pytest.mark.parametrize("mic", [3, "3", "usb-1-1.3"])
def test_a_mic_is_named_by_index_or_id(mic: str | int) -> None:
    [assign] = parse_assignments([{"mic": mic, "speaker": "Bob"}])
    assert assign.mic == mic


def parse_assignments(entries: list[dict[str, Any]]) -> list[Assign]:
    request = parse(AssignMics, {"assignments": entries})
    return request.assignments


@pytest.mark.parametrize(
    ("given_name", "kept"),
    [("  Alice ", "Alice"), ("   ", ""), ("Jean\u00a0Paul", "Jean\u00a0Paul"), ("👩‍💻", "👩‍💻")],
)
def test_names_are_trimmed_and_otherwise_kept(given_name: str, kept: str) -> None:
    [assign] = parse_assignments([{"mic": 1, "speaker": given_name}])
    assert assign.speaker == kept


def test_a_transcript_is_saved_once_in_each_format() -> None:
    assert parse(SaveTranscript, {"formats": ["srt", "json"] * 3000}).formats == ["srt", "json"]


def test_what_is_not_given_has_a_default() -> None:
    start = parse(StartSession, {})
    assert start == StartSession()
    page = parse(GetTranscript, {})
    assert (page.session_id, page.format, page.offset, page.limit) == (None, "text", 0, 200)
    sessions = parse(ListSessions, {})
    assert (sessions.limit, sessions.offset) == (50, 0)
    save = parse(SaveTranscript, {})
    assert save.formats == ["text", "json", "srt", "vtt"]


@pytest.mark.parametrize("payload", [b"", b"  \n", b"{}", b"\xef\xbb\xbf{}"])
def test_an_empty_payload_is_an_empty_object(payload: bytes) -> None:
    assert decode(payload) == {}


@pytest.mark.parametrize(
    "payload",
    [
        b"nonsense",
        b'{"a": 1',
        b"[]",
        b"7",
        b'"text"',
        b"null",
        b"\xff\xfe",
        b'{"title": "\xed\xa0\x80"}',  # a lone surrogate written as if it were UTF-8
        '{"title": "é"}'.encode("latin-1"),
        '{"title": "é"}'.encode("utf-16"),
        '{"title": "é"}'.encode("utf-32-le"),
        b'{"title": "a\0b"}',
        b"\0",
        b"[" * MAX_REQUEST_BYTES,
        b'{"a":' * 9000,
        b'{"a": ' + b"9" * 5000 + b"}",  # more digits than Python turns into a number
    ],
    ids=lambda payload: repr(payload[:20]),
)
def test_what_is_no_json_object_is_refused(payload: bytes) -> None:
    with pytest.raises(RequestError) as caught:
        decode(payload)
    assert caught.value.code == "bad_json"
    assert len(str(caught.value)) < 300


def test_the_largest_request() -> None:
    assert decode(b"{}" + b" " * (MAX_REQUEST_BYTES - 2)) == {}
    with pytest.raises(RequestError, match=str(MAX_REQUEST_BYTES)) as caught:
        decode(b"{}" + b" " * (MAX_REQUEST_BYTES - 1))
    assert caught.value.code == "too_large"


@pytest.mark.parametrize("transaction", ["42", "", "é", 42, -1, 4.5, 10**40])
def test_a_transaction_comes_back(transaction: str | float) -> None:
    assert transaction_of({"transaction": transaction}) == transaction
    assert parse(Nothing, {"transaction": transaction}).transaction == transaction


@pytest.mark.parametrize("transaction", [None, True, [], {}, float("nan"), float("inf")])
def test_a_transaction_that_cannot_come_back_does_not(transaction: object) -> None:
    assert transaction_of({"transaction": transaction}) is None


def test_a_transaction_comes_back_as_far_as_it_can() -> None:
    assert transaction_of({}) is None
    assert transaction_of({"transaction": "x" * 300}) == "x" * 256
    assert transaction_of({"transaction": SURROGATE}) == "?"


@pytest.mark.parametrize(
    ("payload", "transaction"), [(b'{"transaction": 7}', 7), (b"", None), (b"{no JSON", None)]
)
def test_the_transaction_of_a_request_that_is_not_read(
    payload: bytes, transaction: int | None
) -> None:
    assert transaction_in(payload) == transaction


@pytest.mark.parametrize(
    ("payload", "on"), [(b"ON", True), (b"on", True), (b" Off\n", False), (b"OFF", False)]
)
def test_a_switch(payload: bytes, *, on: bool) -> None:
    assert parse_switch(payload) is on


@pytest.mark.parametrize(
    "payload", [b"", b"1", b"true", b"ON" + b" " * 15, b"\xff", "\uff2f\uff2e".encode()]
)
def test_what_is_no_switch(payload: bytes) -> None:
    with pytest.raises(RequestError, match="ON or OFF") as caught:
        parse_switch(payload)
    assert caught.value.code == "invalid_request"


@pytest.mark.parametrize(
    ("payload", "name"), [("Zoé".encode(), "Zoé"), (b"  Bob\n", "Bob"), (b"", "")]
)
def test_a_name_as_plain_text(payload: bytes, name: str) -> None:
    assert parse_name(payload) == name


@pytest.mark.parametrize(
    "payload", [b"\xff", b"a\0b", b"a\nb", b"x" * 65, "é".encode() * 600, b"x" * 100_000]
)
def test_what_is_no_name(payload: bytes) -> None:
    with pytest.raises(RequestError, match=r"^speaker: ") as caught:
        parse_name(payload)
    assert caught.value.code == "invalid_request"
