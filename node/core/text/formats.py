"""The files of a session: text, JSON with SegLST, SubRip and WebVTT subtitles, Markdown."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from node.core.model import SAMPLE_RATE, SCHEMA, Segment
from node.core.text.format_names import SUFFIX
from node.core.text.markdown import to_markdown
from node.core.text.transcript import Transcript, about

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from node.core.text.turns import Turn

    Writer = Callable[[Transcript, Iterable[Segment]], str]


def to_text(transcript: Transcript, _crosstalk: Iterable[Segment] = ()) -> str:
    return transcript.text()


def to_json(transcript: Transcript, crosstalk: Iterable[Segment] = ()) -> str:
    """The session's whole document; `crosstalk` segments are kept only here."""
    return json.dumps(document(transcript, crosstalk), ensure_ascii=False, indent=1) + "\n"


def document(transcript: Transcript, crosstalk: Iterable[Segment] = ()) -> dict[str, Any]:
    zero = transcript.session.started_at
    heard = sorted([*transcript.segments, *crosstalk], key=lambda s: (s.start, s.seq))
    return {
        "schema": SCHEMA,
        "session": about(transcript),
        "segments": [segment.payload(zero) for segment in heard],
        "seglst": [seglst(turn) for turn in transcript.turns],
    }


def seglst(turn: Turn) -> dict[str, Any]:
    """One entry of meeteval's SegLST, with its origin; seconds from the session's start.

    `segment` is the segment's id, and `part` which of its `parts` this turn is.
    """
    return {
        "session_id": turn.segment.session_id,
        "speaker": turn.segment.speaker,
        "start_time": round(turn.start / SAMPLE_RATE, 3),
        "end_time": round(turn.end / SAMPLE_RATE, 3),
        "words": turn.text,
        "segment": turn.segment.id,
        "part": turn.part,
        "parts": turn.parts,
    }


def to_srt(transcript: Transcript, _crosstalk: Iterable[Segment] = ()) -> str:
    return subrip(transcript.turns)


def subrip(turns: Iterable[Turn], *, first: int = 1) -> str:
    """SubRip: cues numbered from `first`, with a comma before the milliseconds."""
    cues = [
        f"{number}\n{_span(turn, ',')}\n{turn.segment.speaker}: {turn.text}\n"
        for number, turn in enumerate(turns, start=first)
    ]
    return "\n".join(cues)


def to_vtt(transcript: Transcript, _crosstalk: Iterable[Segment] = ()) -> str:
    return webvtt(transcript.turns)


def webvtt(turns: Iterable[Turn]) -> str:
    """WebVTT with a voice span for each speaker; `&`, `<` and `>` are escaped as the format
    requires.
    """
    cues = [
        f"{_span(turn, '.')}\n<v {_annotation(turn.segment.speaker)}>{_escape(turn.text)}\n"
        for turn in turns
    ]
    return "\n".join(["WEBVTT\n", *cues])


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _annotation(name: str) -> str:
    """A name inside a tag. It must not end in an arrow; players strip spaces around it."""
    return _escape(name) + (" " if name.endswith("--") else "")


def _span(turn: Turn, point: str) -> str:
    return f"{_clock(turn.start, point)} --> {_clock(turn.end, point)}"


def _clock(sample: int, point: str) -> str:
    milliseconds = round(sample * 1000 / SAMPLE_RATE)
    seconds, milliseconds = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{point}{milliseconds:03}"


WRITERS: dict[str, Writer] = {
    SUFFIX["text"]: to_text,
    SUFFIX["json"]: to_json,
    SUFFIX["srt"]: to_srt,
    SUFFIX["vtt"]: to_vtt,
    SUFFIX["md"]: to_markdown,
}
"""How each file of a session is written, by its suffix."""
