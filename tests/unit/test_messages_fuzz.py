from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from node.core.mqtt.messages import (
    decode,
    parse,
    parse_name,
    parse_switch,
    transaction_of,
)
from node.errors import RequestError
from node.service.requests import VERBS
from tests.unit import anything

fields = [
    *("assignments", "title", "language", "max_duration_s", "session_id", "limit", "offset"),
    *("format", "formats", "transaction", "\ud800"),
]


ANSWERS = {"done", "bad_json", "invalid_request"}


def check_answer(error: RequestError, *codes: str) -> None:
    """The client is told what is wrong: a documented code, and text that UTF-8 can encode."""
    assert error.code in codes
    assert str(error).encode()


def taken(verb: str, payload: bytes) -> str:
    """Parse a request as the node does; any error but `RequestError` would end the process."""
    try:
        body = decode(payload)
        json.dumps(transaction_of(body), ensure_ascii=False, allow_nan=False).encode()
        parse(VERBS[verb].form, body)
    except RequestError as error:
        words = str(error).encode()  # raises on what UTF-8 cannot encode
        return error.code if words else "no words"
    return "done"


@given(st.sampled_from(sorted(VERBS)), st.binary(max_size=40))
def test_no_bytes_get_past_requesterror(verb: str, payload: bytes) -> None:
    assert taken(verb, payload) in ANSWERS
    assert taken(verb, b'{"transaction": "' + payload + b'"}') in ANSWERS


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(sorted(VERBS)), anything.objects(fields, "mic", "speaker", "assignments"))
def test_no_json_gets_past_requesterror(verb: str, body: dict[str, Any]) -> None:
    assert taken(verb, json.dumps(body).encode()) in ANSWERS


@given(st.binary(max_size=80))
def test_no_plain_text_gets_past_requesterror(payload: bytes) -> None:
    for shortcut in (parse_switch, parse_name):
        try:
            shortcut(payload)
        except RequestError as error:
            check_answer(error, "invalid_request")
