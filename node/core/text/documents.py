"""Reads the JSON file of a session back, as `formats.document` writes it.

Such a file comes from another machine, so everything in it is checked. Fields that a later version
adds are ignored.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    ValidationError,
)

from node.core.clocks import ClockState, SessionClock
from node.core.model import SAMPLE_RATE, SCHEMA, UNDATED, Segment, Session, Word
from node.core.mqtt.messages import Name, SessionId, Title, explain
from node.core.text.turns import Turn
from node.errors import NodeError

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_PROBLEMS = 3
"""How many wrong fields of one file are named."""

LONGEST = timedelta(days=366)
"""No session is longer: what claims to be is not one."""


def _whole(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("half a character (a lone surrogate)") from None
    return text


Text = Annotated[str, AfterValidator(_whole)]
Second = Annotated[FiniteFloat, Field(ge=0, le=LONGEST.total_seconds())]
Milliseconds = Annotated[FiniteFloat, Field(ge=-1e13, le=1e13)]
Moment = Annotated[
    AwareDatetime,
    Field(ge=datetime(1970, 1, 1, tzinfo=UTC), le=datetime(9000, 1, 1, tzinfo=UTC)),
]


class DocumentError(NodeError):
    """A file is not the JSON file of a session, or does not belong to the others."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """A node's session with all its segments and its own transcript's turns.

    `source` is where it was read from, for messages; `node` the node's name, or else the source.
    """

    source: str
    node: str
    session: Session
    segments: tuple[Segment, ...]
    turns: tuple[Turn, ...]


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _ClockState(_Part):
    synchronised: bool
    max_error_ms: Milliseconds


class _Clock(_Part):
    start: _ClockState | None = None
    stop: _ClockState | None = None
    shift_ms: Milliseconds | None = None


class _Session(_Part):
    session_id: SessionId
    node: Name | None = None
    group: Name | None = None
    title: Title | None = None
    started_at: Moment
    ended_at: Moment | None = None
    clock: _Clock = _Clock()


class _Word(_Part):
    word: Text
    start: Second
    end: Second
    probability: FiniteFloat


class _Segment(_Part):
    id: Title
    seq: int
    mic: Name
    speaker: Name
    start: Moment
    end: Moment
    text: Text
    language: Name
    language_probability: FiniteFloat
    confidence: FiniteFloat
    words: tuple[_Word, ...] | None = None
    crosstalk_of: Name | None = None
    replayed: bool = False
    latency_s: FiniteFloat = 0.0


class _Turn(_Part):
    segment: Title
    start_time: Second
    end_time: Second
    words: Text
    part: int = 1
    parts: int = 1


class _Document(_Part):
    session: _Session
    segments: tuple[_Segment, ...]
    seglst: tuple[_Turn, ...]


def read(text: str, source: str) -> Recorded:
    """The session of a JSON file; `source` is the file's name.

    Raises:
        DocumentError: it is not such a file.
    """
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        raise DocumentError(f"{source}: it is not JSON") from None
    return parse(body, source)


def parse(body: Any, source: str) -> Recorded:
    """The same, of what the file has in it.

    Raises:
        DocumentError: it is not what such a file has.
    """
    _check_kind(body, source)
    try:
        document = _Document.model_validate(body)
        return _recorded(document, source)
    except ValidationError as error:
        raise DocumentError(f"{source}: {_few(error)}") from None


def session_of(body: Any, source: str) -> Session:
    """The session of such a file's `session`, or of an entry of `session/list`.

    Raises:
        DocumentError: it is neither.
    """
    try:
        return _session(_Session.model_validate(body))
    except ValidationError as error:
        raise DocumentError(f"{source}: {_few(error)}") from None


def _few(error: ValidationError) -> str:
    said = explain(error).split("; ")
    more = f"; and {len(said) - MAX_PROBLEMS} more" if len(said) > MAX_PROBLEMS else ""
    return f"{'; '.join(said[:MAX_PROBLEMS])}{more}"


def _check_kind(body: Any, source: str) -> None:
    if not isinstance(body, dict) or "schema" not in body or "segments" not in body:
        raise DocumentError(f"{source}: it is not the JSON file of a session")
    if body["schema"] != SCHEMA:
        raise DocumentError(
            f"{source}: it has the schema {str(body['schema'])[:20]!r}, and this version of Scribe"
            f" Node knows {SCHEMA}"
        )
    if "nodes" in body:
        raise DocumentError(f"{source}: it is merged already; name the files it was made from")


def _recorded(document: _Document, source: str) -> Recorded:
    given = document.session
    if given.started_at == UNDATED:
        raise DocumentError(
            f"{source}: it has no date because `transcribe` made it; give all recordings of a"
            " meeting to one `transcribe` command"
        )
    session = _session(given)
    segments = {each.id: _segment(each, session, source) for each in document.segments}
    if len(segments) < len(document.segments):
        raise DocumentError(f"{source}: segments: an id is there twice")
    turns = tuple(_turn(each, segments, source) for each in document.seglst)
    _check_turns(segments.values(), turns, source)
    return Recorded(source, given.node or source, session, tuple(segments.values()), turns)


def _session(given: _Session) -> Session:
    return Session(
        id=given.session_id,
        started_at=given.started_at,
        title=given.title,
        ended_at=given.ended_at,
        node=given.node,
        group=given.group,
        clock=_clock(given.clock),
    )


def _segment(given: _Segment, session: Session, source: str) -> Segment:
    if not session.started_at <= given.start <= given.end <= session.started_at + LONGEST:
        raise DocumentError(f"{source}: the times of segment {given.id} are not within the session")
    return Segment(
        id=given.id,
        session_id=session.id,
        seq=given.seq,
        mic=given.mic,
        speaker=given.speaker,
        start=_sample(session, given.start),
        end=_sample(session, given.end),
        text=given.text,
        language=given.language,
        language_probability=given.language_probability,
        confidence=given.confidence,
        words=_words(given.words),
        crosstalk_of=given.crosstalk_of,
        replayed=given.replayed,
        latency_s=given.latency_s,
    )


def _words(given: Iterable[_Word] | None) -> tuple[Word, ...] | None:
    return None if given is None else tuple(Word(**word.model_dump()) for word in given)


def _clock(given: _Clock) -> SessionClock:
    start, stop = (
        ClockState(state.synchronised, state.max_error_ms) if state else None
        for state in (given.start, given.stop)
    )
    return SessionClock(start, stop, given.shift_ms)


def _sample(session: Session, moment: datetime) -> int:
    return round((moment - session.started_at).total_seconds() * SAMPLE_RATE)


def _turn(given: _Turn, segments: dict[str, Segment], source: str) -> Turn:
    if given.segment not in segments:
        raise DocumentError(f"{source}: seglst: there is no segment {given.segment}")
    start, end = (round(second * SAMPLE_RATE) for second in (given.start_time, given.end_time))
    spoken = segments[given.segment]
    return Turn(spoken, given.words, start, max(start, end), given.part, given.parts)


def _check_turns(segments: Iterable[Segment], turns: Iterable[Turn], source: str) -> None:
    written = Counter((turn.segment.id, turn.part) for turn in turns)
    if twice := [of for of, times in written.items() if times > 1]:
        raise DocumentError(f"{source}: seglst: the segment {twice[0][0]} occurs twice")
    there = {segment for segment, _ in written}
    for segment in segments:
        if segment.crosstalk_of is None and segment.id not in there:
            raise DocumentError(f"{source}: seglst: the segment {segment.id} is missing")
