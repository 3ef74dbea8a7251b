"""Requests: bytes become objects once, here; what is wrong is said with the field's name."""

from __future__ import annotations

import json
import math
import unicodedata
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    StrictFloat,
    StrictInt,
    StrictStr,
    StringConstraints,
    ValidationError,
)

from node.core.model import SESSION_ID
from node.core.text.format_names import AT_THE_END, Format
from node.core.text.languages import AUTO, WHISPER_LANGUAGES, check_language_or_auto
from node.errors import RequestError

MAX_REQUEST_BYTES = 64 * 1024
"""Far above any real request (a start with 32 names takes 3 KiB), far below what could hurt."""

_NOT_IN_A_LINE = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Unicode categories: controls, lone surrogates, line and paragraph separators."""


def _one_line(text: str) -> str:
    if any(unicodedata.category(character) in _NOT_IN_A_LINE for character in text):
        raise ValueError("control characters and line breaks are not allowed")
    return text


def _each_once(formats: list[Format]) -> list[Format]:
    """Writing one takes a moment, in which nothing else is done."""
    return list(dict.fromkeys(formats))


Name = Annotated[
    str, StringConstraints(strip_whitespace=True, max_length=64), AfterValidator(_one_line)
]
Title = Annotated[
    str, StringConstraints(strip_whitespace=True, max_length=200), AfterValidator(_one_line)
]
Query = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=200),
    AfterValidator(_one_line),
]
Language = Annotated[
    str,
    StringConstraints(max_length=16),
    AfterValidator(check_language_or_auto),
    Field(json_schema_extra={"enum": [AUTO, *sorted(WHISPER_LANGUAGES)]}),
]
SessionId = Annotated[str, StringConstraints(pattern=f"^{SESSION_ID.pattern}$")]
Mic = Annotated[StrictInt, Field(ge=1)] | Annotated[StrictStr, Field(min_length=1, max_length=64)]
FiniteNumber = Annotated[StrictFloat, Field(allow_inf_nan=False)]


class Request(BaseModel):
    """What every request may carry."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    transaction: Annotated[
        Annotated[StrictStr, Field(max_length=256)] | StrictInt | FiniteNumber | None,
        Field(description="comes back in the answer"),
    ] = None


class Nothing(Request):
    """A request without fields of its own."""


class Assign(BaseModel):
    """One microphone's speaker; an empty speaker unassigns it."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    mic: Mic = Field(
        validation_alias=AliasChoices("mic", "mic_id"), description="the mic's id, or its index"
    )
    speaker: Name = Field(validation_alias=AliasChoices("speaker", "person_name"))
    language: Language | None = None


Assignments = Annotated[list[Assign], Field(max_length=64)]


class AssignMics(Request):
    assignments: Assignments


class StartSession(Request):
    assignments: Annotated[Assignments, Field(min_length=1)] | None = None
    title: Title | None = None
    group: Annotated[
        Name | None, Field(description="a name for the sessions of several nodes at one meeting")
    ] = None
    language: Language | None = None
    max_duration_s: Annotated[float, Field(gt=0, le=7 * 86_400, allow_inf_nan=False)] | None = None


class OneSession(Request):
    session_id: SessionId | None = None


class DeleteSession(Request):
    session_id: SessionId


class ListSessions(Request):
    group: Annotated[Name | None, Field(description="only the sessions of this group")] = None
    limit: Annotated[int, Field(ge=1, le=1000)] = 50
    offset: Annotated[int, Field(ge=0, le=2**31)] = 0


class SearchSessions(Request):
    query: Annotated[Query, Field(description="words, of which the last may be incomplete")]
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    offset: Annotated[int, Field(ge=0, le=2**31)] = 0


class GetTranscript(OneSession):
    format: Format = "text"
    offset: Annotated[int, Field(ge=0, le=2**31)] = 0
    limit: Annotated[int, Field(ge=1, le=1000)] = 200


class SaveTranscript(OneSession):
    formats: Annotated[list[Format], Field(min_length=1), AfterValidator(_each_once)] = list(
        AT_THE_END
    )


_UNION_MEMBERS = frozenset({"constrained-str", "constrained-int", "int", "float"})
"""What pydantic puts behind a field's name to say which of its types was tried."""

R = TypeVar("R", bound=Request)


def decode(payload: bytes) -> dict[str, Any]:
    """The JSON object of a request.

    Raises:
        RequestError: `too_large`, or `bad_json` where it is no JSON object in UTF-8.
    """
    if len(payload) > MAX_REQUEST_BYTES:
        raise RequestError(
            "too_large", f"the payload is too long; a request has {MAX_REQUEST_BYTES} bytes at most"
        )
    if not payload.strip():
        return {}
    try:
        body = json.loads(payload.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise RequestError("bad_json", f"the payload is not JSON in UTF-8: {error}") from None
    if not isinstance(body, dict):
        raise RequestError("bad_json", 'the payload must be a JSON object, as {"session_id": "…"}')
    return body


def transaction_of(body: dict[str, Any]) -> str | int | float | None:
    """The request's `transaction`, to be sent back also where the rest of it is refused."""
    value = body.get("transaction")
    if isinstance(value, str):
        printable = value.encode(errors="replace").decode()
        return printable[:256]
    if isinstance(value, float):
        return value if math.isfinite(value) else None  # JSON cannot express the others
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def transaction_in(payload: bytes) -> str | int | float | None:
    """The `transaction` of a request that is refused unread; None where it cannot be read."""
    try:
        return transaction_of(decode(payload))
    except RequestError:
        return None


def parse(form: type[R], body: dict[str, Any]) -> R:
    """A request of this form.

    Raises:
        RequestError: `invalid_request`, with the fields that are wrong.
    """
    try:
        return form.model_validate(body)
    except ValidationError as error:
        raise RequestError("invalid_request", explain(error)) from None


def explain(error: ValidationError) -> str:
    """Every wrong field with its reason, in the words of a person."""
    wrong: dict[str, list[str]] = {}
    for problem in error.errors(include_url=False, include_context=False, include_input=False):
        place = "".join(
            f"[{part}]" if isinstance(part, int) else f".{_quoted(part)}"
            for part in problem["loc"]
            if part not in _UNION_MEMBERS
        ).lstrip(".")
        reason = problem["msg"].removeprefix("Value error, ")
        wrong.setdefault(place or "a field's name", []).append(reason)
    return "; ".join(f"{place}: {' or '.join(reasons)}" for place, reasons in wrong.items())


def _quoted(field: str) -> str:
    """A field's name as it may stand in a message: short, and plain text whatever was sent."""
    return field[:64] if field.isidentifier() else repr(field[:64])


def parse_switch(payload: bytes) -> bool:
    """`ON` or `OFF`, in any case.

    Raises:
        RequestError: `invalid_request`.
    """
    text = payload[:16].decode("ascii", errors="replace").strip().upper()
    if text not in {"ON", "OFF"} or len(payload) > 16:
        raise RequestError("invalid_request", "the payload must be ON or OFF")
    return text == "ON"


def parse_name(payload: bytes) -> str:
    """A speaker's name as plain text; empty unassigns.

    Raises:
        RequestError: `invalid_request`.
    """
    try:
        text = payload[:1024].decode()
        return Assign.model_validate({"mic": 1, "speaker": text}).speaker
    except UnicodeDecodeError:
        raise RequestError("invalid_request", "speaker: the name is not UTF-8") from None
    except ValidationError as error:
        raise RequestError("invalid_request", explain(error)) from None
