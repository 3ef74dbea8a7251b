"""Turns pydantic's validation errors into messages for the person who wrote the file."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel
from pydantic_core import PydanticCustomError

from node.config.yaml_lines import Problem

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

    from node.config.yaml_lines import Document, KeyPath

_WHOLE = "must be a whole number, not {given}"
_NUMBER = "must be a number, not {given}"
_BOOLEAN = "must be true or false, not {given}"
_LIST = "must be a list, such as [a, b], not {given}"
_SECTION = "must hold keys, indented below it, not {given}"

_WORDING = {
    "missing": "is missing; add it",
    "int_parsing": _WHOLE,
    "int_parsing_size": _WHOLE,
    "int_from_float": _WHOLE,
    "int_type": _WHOLE,
    "float_parsing": _NUMBER,
    "float_type": _NUMBER,
    "finite_number": _NUMBER,
    "bool_parsing": _BOOLEAN,
    "bool_type": _BOOLEAN,
    "string_type": "must be text, not {given}",
    "path_type": "must be a path, not {given}",
    "string_too_short": "must not be empty",
    "too_short": "must not be an empty list",
    "too_long": "must have at most {max_length} entries, not {actual_length}",
    "string_too_long": "must have at most {max_length} characters",
    "tuple_type": _LIST,
    "model_type": _SECTION,
    "literal_error": "must be {expected}, not {given}",
    "greater_than_equal": "must be at least {ge}, not {given}",
    "less_than_equal": "must be at most {le}, not {given}",
}


def misplaced(text: str, *below: str | int) -> PydanticCustomError:
    """Return an error for a validator to raise about the key `below` the one it validates."""
    return PydanticCustomError("misplaced", "{text}", {"text": text, "below": below})


def validation_problems(
    error: ValidationError, model: type[BaseModel], document: Document
) -> list[Problem]:
    """Return the problems that `error` found in `document`, which was validated as `model`."""
    errors = error.errors(include_url=False)
    below = {details["loc"][:-1] for details in errors}
    return [
        _problem(details, model, document)
        for details in errors
        # The field that stopped the default factory is reported itself, and so are the bad entries
        # without which a list is too short.
        if details["type"] != "default_factory_not_called"
        and not (details["type"] == "too_short" and details["loc"] in below)
    ]


def _problem(details: ErrorDetails, model: type[BaseModel], document: Document) -> Problem:
    context = details.get("ctx", {})
    path: KeyPath = details["loc"] + tuple(context.get("below", ()))
    if details["type"] == "extra_forbidden":
        text = _unknown_key(path, model)
    elif details["type"] == "value_error":
        text = str(context["error"])
    else:
        wording = _WORDING.get(details["type"])
        given = _given(details["input"])
        text = wording.format(given=given, **context) if wording else details["msg"]
    return Problem(document.line_of(path), path, text)


def _unknown_key(path: KeyPath, model: type[BaseModel]) -> str:
    known = list(_model_at(path[:-1], model).model_fields)
    close = difflib.get_close_matches(str(path[-1]), known, n=1)
    if close:
        return f'unknown key, did you mean "{close[0]}"?'
    return f"unknown key; the keys here are {', '.join(known)}"


def _model_at(path: KeyPath, model: type[BaseModel]) -> type[BaseModel]:
    for step in path:
        if isinstance(step, str):
            annotation = model.model_fields[step].annotation
            candidates = (annotation, *get_args(annotation))
            model = next(c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel))
    return model


def _given(value: Any) -> str:
    if isinstance(value, str):
        return f'"{value}"' if len(value) <= 64 else f'"{value[:64]}…"'
    if isinstance(value, dict):
        return "keys and values"
    if isinstance(value, list):
        return "a list"
    return "nothing" if value is None else str(value)
