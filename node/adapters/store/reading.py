"""Reads rows of the database as values, whatever a damaged disk made of them.

SQLite checks the structure of its file, but not the content of rows: every value is checked here.
No error of this module quotes a value, because it may be what somebody said.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from node.core.clocks import SessionClock
from node.core.model import (
    SESSION_ID,
    Assignment,
    MicInfo,
    Segment,
    Session,
    iso,
    parse_iso,
    started_at_of,
)

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

MAX_SAMPLE = 1 << 41
"""Four years of sound: a greater number is not one of ours."""

FILE_NAME = re.compile(r"[^/\0]*[^/\0.][^/\0]*")
"""The name of a file in a folder, not of that folder or a file in another one."""

BODY = "iif(json_valid(body), body, '{}')"
"""A segment's JSON in a statement: SQLite's functions fail on invalid JSON."""

_SEGMENT = TypeAdapter(Segment)
_MIC = TypeAdapter(MicInfo)
_NAMES = TypeAdapter(dict[str, str])
_MICS = TypeAdapter(list[str])
_CLOCK = TypeAdapter(SessionClock)


def segment_to_json(segment: Segment) -> str:
    return json.dumps(asdict(segment), ensure_ascii=False)


def segment_from_json(text: str) -> Segment:
    """Return the segment; raises ValueError if it is not one."""
    segment = _SEGMENT.validate_json(text, strict=True)
    if not (0 <= segment.start <= MAX_SAMPLE and 0 <= segment.end <= MAX_SAMPLE):
        raise ValueError("its times are not valid for a segment")
    return segment


def mic_of(row: sqlite3.Row) -> tuple[MicInfo, Assignment]:
    """Return the mic and its assignment; raises ValueError if the row is not valid."""
    info = _MIC.validate_json(row["info"], strict=True)
    if info.mic != row["mic"]:
        raise ValueError("it has two ids")
    speaker, language = _optional(_text)(row["speaker"]), _optional(_text)(row["language"])
    return info, Assignment(speaker, language, bool(row["enabled"]))


def mics_of(text: str) -> tuple[str, ...]:
    """Return the mics; raises ValueError if it is not a list of them."""
    return tuple(_MICS.validate_json(text, strict=True))


def is_session_id(value: object) -> bool:
    """Return whether this is a valid session id."""
    if not isinstance(value, str) or SESSION_ID.fullmatch(value) is None:
        return False
    return _is_sound(started_at_of, value)


def session_of(row: sqlite3.Row) -> Session:
    """Return the session of a row that has an id; damaged values count as not given."""
    values = {**dict(row), **substitutes(row)}
    return Session(
        id=values["id"],
        started_at=parse_iso(values["started_at"]),
        title=values["title"],
        language=values["language"],
        speakers=json.loads(values["speakers"]),
        ended_at=parse_iso(values["ended_at"]) if values["ended_at"] else None,
        files=json.loads(values["files"]),
        max_duration_s=values["max_duration_s"],
        node=values["node"],
        group=values["in_group"],
        clock=_CLOCK.validate_json(values["clock"]) if values["clock"] else SessionClock(),
    )


def substitutes(row: sqlite3.Row) -> dict[str, Any]:
    """Return a replacement for each damaged column of a session's row."""
    damaged = {column for column, check in _CHECKS.items() if not _is_sound(check, row[column])}
    began = iso(started_at_of(row["id"])) if "started_at" in damaged else row["started_at"]
    good = {
        "started_at": began,
        "ended_at": began if row["state"] == "done" else None,
        "speakers": "{}",
        "files": "{}",
    }
    return {column: good.get(column) for column in damaged}


def _is_sound(check: Callable[[Any], object], value: object) -> bool:
    try:
        check(value)
    except (ValueError, TypeError, OverflowError):
        return False
    return True


def _optional(check: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else check(value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("it is not text")
    return value


def _time(value: object) -> None:
    if parse_iso(_text(value)).utcoffset() is None:
        raise ValueError("it has no time zone")


def _number(value: object) -> None:
    if not isinstance(value, int | float):
        raise TypeError("it is not a number")


def file_name(value: object) -> None:
    """Check a file name; raises ValueError or TypeError if it is not a file in a folder."""
    if FILE_NAME.fullmatch(_text(value)) is None:
        raise ValueError("it is not a file name")


def _names(value: object) -> None:
    _NAMES.validate_json(_text(value), strict=True)


def _files(value: object) -> None:
    for path in _NAMES.validate_json(_text(value), strict=True).values():
        file_name(path.rpartition("/")[2])


def _clock(value: object) -> None:
    _CLOCK.validate_json(_text(value))


_CHECKS: dict[str, Callable[[Any], object]] = {
    "started_at": _time,
    "ended_at": _optional(_time),
    "zero": _optional(_number),
    "title": _optional(_text),
    "language": _optional(_text),
    "speakers": _names,
    "files": _files,
    "max_duration_s": _optional(_number),
    "done_at_s": _optional(_number),
    "node": _optional(_text),
    "in_group": _optional(_text),
    "clock": _optional(_clock),
}
