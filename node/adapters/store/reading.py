"""Rows of the database as values, whatever a damaged disk has made of them.

SQLite checks the structure of its file, and not what stands in a row: every value is checked here.
No error of this module repeats a value, for it may be what somebody has said.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

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
"""Four years of sound: a greater number is none of ours."""

FILE_NAME = re.compile(r"[^/\0]*[^/\0.][^/\0]*")
"""A file in a folder, and neither that folder nor another one."""

BODY = "iif(json_valid(body), body, '{}')"
"""A segment's JSON in a statement: SQLite's functions refuse to go on at one that is none."""

_SEGMENT = TypeAdapter(Segment)
_MIC = TypeAdapter(MicInfo)
_NAMES = TypeAdapter(dict[str, str])
_MICS = TypeAdapter(list[str])


def segment_to_json(segment: Segment) -> str:
    return json.dumps(asdict(segment), ensure_ascii=False)


def segment_from_json(text: str) -> Segment:
    """Raises ValueError where it is no segment."""
    segment = _SEGMENT.validate_json(text, strict=True)
    if not (0 <= segment.start <= MAX_SAMPLE and 0 <= segment.end <= MAX_SAMPLE):
        raise ValueError("its times are those of no segment")
    return segment


def mic_of(row: sqlite3.Row) -> tuple[MicInfo, Assignment]:
    """Raises ValueError where it is no microphone with its assignment."""
    info = _MIC.validate_json(row["info"], strict=True)
    if info.mic != row["mic"]:
        raise ValueError("it bears two ids")
    speaker, language = _optional(_text)(row["speaker"]), _optional(_text)(row["language"])
    return info, Assignment(speaker, language, bool(row["enabled"]))


def mics_of(text: str) -> tuple[str, ...]:
    """Raises ValueError where it is no list of microphones."""
    return tuple(_MICS.validate_json(text, strict=True))


def is_session_id(value: object) -> bool:
    """Whether a session may have this id."""
    if not isinstance(value, str) or SESSION_ID.fullmatch(value) is None:
        return False
    return _is_sound(started_at_of, value)


def session_of(row: sqlite3.Row) -> Session:
    """The session of a row that has an id; what is damaged of it is as good as never given."""
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
    )


def substitutes(row: sqlite3.Row) -> dict[str, Any]:
    """What is to serve in place of each damaged column of a session's row."""
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
        raise TypeError("it is no text")
    return value


def _time(value: object) -> None:
    if parse_iso(_text(value)).utcoffset() is None:
        raise ValueError("it is in no time zone")


def _number(value: object) -> None:
    if not isinstance(value, int | float):
        raise TypeError("it is no number")


def file_name(value: object) -> None:
    """Raises ValueError or TypeError where it is no name of a file in a folder."""
    if FILE_NAME.fullmatch(_text(value)) is None:
        raise ValueError("it is no file's name")


def _names(value: object) -> None:
    _NAMES.validate_json(_text(value), strict=True)


def _files(value: object) -> None:
    for path in _NAMES.validate_json(_text(value), strict=True).values():
        file_name(path.rpartition("/")[2])


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
}
