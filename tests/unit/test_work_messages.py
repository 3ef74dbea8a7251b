"""Requests and answers of work: what is written is read again, and nothing else is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.core.model import Transcription, Word
from node.core.text.languages import WHISPER_LANGUAGES
from node.core.text.prior import Prior
from node.core.work.messages import (
    MAX_ANSWER_BYTES,
    MAX_CLIP,
    MAX_EARLIER,
    MAX_HEADER_BYTES,
    MAX_WORD,
    MAX_WORK_BYTES,
    WORK_SCHEMA,
    EarlierPart,
    ErrorPart,
    ModelId,
    Work,
    WorkAnswer,
    WorkError,
    WorkerStatus,
    WorkRequest,
    decode_answer,
    decode_request,
    decode_status,
    encode_answer,
    encode_request,
    encode_status,
    heard_in,
    id_of,
    part_of,
    prior_of,
    result_of,
)
from tests.unit import anything

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
CODE = st.sampled_from(sorted(WHISPER_LANGUAGES))
LINE = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=40)
SHARE = st.floats(0, 1)
SECONDS = st.floats(0, 3600)
SHA = "ab" * 32
MODELS = st.builds(
    ModelId, name=TEXT.filter(bool), sha256=st.none() | st.just(SHA) | st.just("0" * 64)
)
PRIORS = st.builds(Prior, CODE, st.floats(1e-3, 1e6))
REQUESTS = st.builds(
    WorkRequest,
    id=TEXT.filter(bool),
    model=MODELS,
    samples=st.integers(1, MAX_CLIP),
    deadline_s=SECONDS,
    earlier=st.lists(
        st.builds(EarlierPart, samples=st.integers(1, MAX_EARLIER // 3), text=TEXT, language=CODE),
        max_size=3,
    ),
    language=st.none() | CODE,
    languages=st.lists(CODE, max_size=5),
    prior=PRIORS.map(part_of) | st.none(),
    hotwords=st.none() | TEXT,
    initial_prompt=st.none() | TEXT,
    beam_size=st.integers(1, 10),
    window=st.sampled_from(["fit", "full"]),
    words=st.booleans(),
    overlapped=st.booleans(),
)
WORDS = st.builds(Word, LINE, SECONDS, SECONDS, SHARE)
HEARD = st.builds(
    Transcription,
    LINE,
    CODE | st.just(""),
    SHARE,
    SHARE,
    st.none() | st.lists(WORDS, max_size=4).map(tuple),
    hidden_words=st.booleans(),
    doubtful=st.booleans(),
)

REQUEST = WorkRequest(id="a/b", model=ModelId(name="base", sha256=SHA), samples=16000)
ANSWER = WorkAnswer(
    id="a/b",
    worker="attic",
    version="1",
    model=ModelId(name="base"),
    error=ErrorPart(code="busy", message="later"),
)


def changed(line: bytes, **fields: Any) -> bytes:
    """Return a form with other fields."""
    return json.dumps({**json.loads(line), **fields}).encode()


def request_with(**fields: Any) -> bytes:
    line, _, sound = encode_request(Work(REQUEST, b"sound")).partition(b"\n")
    return changed(line, **fields) + b"\n" + sound


@given(REQUESTS, st.binary(min_size=1, max_size=200))
def test_a_request_comes_back_as_it_was(request: WorkRequest, sound: bytes) -> None:
    payload = encode_request(Work(request, sound))
    assert decode_request(payload) == Work(request, sound)
    assert id_of(payload) == (request.id if request.id.isprintable() else None)
    head = payload.split(b"\n")[0]
    assert json.loads(head)["schema"] == WORK_SCHEMA


@given(HEARD, st.floats(0, 100))
def test_what_was_heard_comes_back_to_the_last_digit(heard: Transcription, engine_s: float) -> None:
    answer = ANSWER.model_copy(
        update={"error": None, "result": result_of(heard), "engine_s": engine_s}
    )
    found = decode_answer(encode_answer(answer))
    assert found == answer
    assert found.result is not None
    assert heard_in(found.result) == heard


def test_a_text_is_one_line_without_control_characters() -> None:
    said = "One\x00\x1b[31m\r\ntwo\u2028three\x85\u00a0n\u2019est\u200d"
    heard = Transcription(said, "en", 1.0, 1.0, (Word("a\tb\x07", 0.0, 1.0, 1.0),))
    found = heard_in(result_of(heard))
    assert found.text == "One[31m  two three \u00a0n\u2019est\u200d"
    assert found.words is not None
    assert [word.word for word in found.words] == ["a b"]


def test_an_error_comes_back_too() -> None:
    assert decode_answer(encode_answer(ANSWER)) == ANSWER


def test_a_word_that_never_ends_is_cut() -> None:
    result = result_of(Transcription("", "", 0, 0, (Word("a" * 999, 0, 1, 1),)))
    assert [word.word for word in result.words or ()] == ["a" * MAX_WORD]


@given(st.none() | PRIORS)
def test_a_prior_comes_back(prior: Prior | None) -> None:
    assert prior_of(part_of(prior)) == prior


def test_a_status_comes_back() -> None:
    status = WorkerStatus(state="online", worker="attic", model=ModelId(name="base"), rtf=0.25)
    assert decode_status(encode_status(status)) == status


@given(st.binary(max_size=300))
def test_any_bytes_are_a_form_or_an_error(payload: bytes) -> None:
    for decode in (decode_request, decode_answer, decode_status):
        with pytest.raises(WorkError):
            decode(payload)
    assert id_of(payload) is None


@given(anything.objects([*WorkRequest.model_fields, "schema"], "en", "full", "name", "samples"))
def test_any_json_is_a_request_or_an_error(fields: dict[str, Any]) -> None:
    payload = request_with(**fields)
    try:
        work = decode_request(payload)
    except WorkError:
        return
    assert work.request.total <= MAX_CLIP + MAX_EARLIER


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"samples": 0}, "samples"),
        ({"samples": MAX_CLIP + 1}, "samples"),
        ({"samples": 1.5}, "samples"),
        ({"samples": "16000"}, "samples"),
        ({"samples": True}, "samples"),
        ({"deadline_s": float("nan")}, "NaN is no number"),
        ({"deadline_s": float("inf")}, "Infinity is no number"),
        ({"prior": {"language": "en", "odds": -1}}, "prior.odds"),
        ({"prior": {"language": "xx", "odds": 2}}, "not a language code"),
        ({"language": "auto"}, "not a language code"),
        ({"beam_size": 11}, "beam_size"),
        ({"window": "wide"}, "window"),
        ({"hotwords": "x" * 16385}, "hotwords"),
        ({"id": ""}, "id"),
        ({"model": {"name": "base", "sha256": "../../etc"}}, "model.sha256"),
        ({"earlier": [{"samples": MAX_EARLIER, "text": "", "language": "en"}] * 2}, "earlier"),
    ],
)
def test_a_wrong_field_is_named(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(WorkError, match=problem) as raised:
        decode_request(request_with(**fields))
    assert raised.value.code == "bad_request"


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
@pytest.mark.parametrize(
    "field",
    ["engine_s", "confidence", "language_probability", "start", "end", "probability"],
)
def test_an_answer_has_numbers_only(field: str, number: str) -> None:
    """One that is none would be stored, and be no JSON on its way to those who read it."""
    words = (Word("Hello", 0.25, 0.25, 0.25),)
    result = result_of(Transcription("Hello.", "en", 0.25, 0.25, words))
    payload = encode_answer(
        ANSWER.model_copy(update={"engine_s": 0.25, "result": result, "error": None})
    )
    assert decode_answer(payload).result == result
    wrong = payload.replace(f'"{field}": 0.25'.encode(), f'"{field}": {number}'.encode())
    assert wrong != payload
    with pytest.raises(WorkError):
        decode_answer(wrong)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_a_status_has_numbers_only(number: str) -> None:
    payload = encode_status(WorkerStatus(state="online", worker="attic", rtf=0.25))
    with pytest.raises(WorkError):
        decode_status(payload.replace(b'"rtf": 0.25', f'"rtf": {number}'.encode()))


def test_a_number_too_large_for_json_is_no_number() -> None:
    payload = encode_request(Work(REQUEST, b"sound")).replace(b"60.0", b"1e999")
    with pytest.raises(WorkError, match="deadline_s"):
        decode_request(payload)


def test_unknown_fields_are_ignored_so_that_later_versions_may_add_some() -> None:
    assert decode_request(request_with(colour="blue")).request == REQUEST


@pytest.mark.parametrize("schema", [None, 0, 2, "1", [1]])
def test_another_schema_is_another_workers(schema: Any) -> None:
    with pytest.raises(WorkError, match="another version") as raised:
        decode_request(request_with(schema=schema))
    assert raised.value.code == "unsupported_schema"
    assert id_of(request_with(schema=schema)) == "a/b"


def test_nothing_is_read_that_is_too_large() -> None:
    with pytest.raises(WorkError, match="too large"):
        decode_request(encode_request(Work(REQUEST, bytes(MAX_WORK_BYTES))))
    with pytest.raises(WorkError, match="too large"):
        decode_answer(b" " * (MAX_ANSWER_BYTES + 1))
    with pytest.raises(WorkError, match="too large"):
        decode_status(b" " * (MAX_HEADER_BYTES + 1))
    with pytest.raises(WorkError, match="a line of JSON with sound"):
        decode_request(b" " * (MAX_HEADER_BYTES + 1) + b"\nsound")


@pytest.mark.parametrize("payload", [b"{}", b"{}\n", b"[]\nsound", b"{\nsound", b"\xff\nsound"])
def test_a_request_is_a_line_of_json_and_sound(payload: bytes) -> None:
    with pytest.raises(WorkError):
        decode_request(payload)


def test_nested_json_does_not_exhaust_the_stack() -> None:
    with pytest.raises(WorkError, match="not JSON"):
        decode_request(b"[" * 20000 + b"\nsound")


def test_an_answer_is_a_result_or_an_error() -> None:
    for fields in (
        {"error": None},
        {"result": result_of(Transcription("", "", 0, 0)).model_dump()},
    ):
        with pytest.raises(WorkError, match="either a result or an error"):
            decode_answer(changed(encode_answer(ANSWER), **fields))


@pytest.mark.parametrize("found", [1, None, "", "x" * 201, "a\nb", ["a"]])
def test_an_id_is_only_found_if_it_is_one(found: Any) -> None:
    assert id_of(request_with(id=found)) is None
