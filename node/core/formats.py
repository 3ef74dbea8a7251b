"""The files of a session: text, JSON with SegLST, SubRip and WebVTT subtitles."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from node.core.model import SAMPLE_RATE, SCHEMA, Segment
from node.core.transcript import Transcript, final_body

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Writer = Callable[[Transcript, Iterable[Segment]], str]


def to_text(transcript: Transcript, _crosstalk: Iterable[Segment] = ()) -> str:
    return transcript.text()


def to_json(transcript: Transcript, crosstalk: Iterable[Segment] = ()) -> str:
    """The session's whole document; `crosstalk` are segments kept only here."""
    return json.dumps(document(transcript, crosstalk), ensure_ascii=False, indent=1) + "\n"


def document(transcript: Transcript, crosstalk: Iterable[Segment] = ()) -> dict[str, Any]:
    session = transcript.session
    body = dict(final_body(transcript))
    del body["text"], body["truncated"]
    heard = sorted([*transcript.segments, *crosstalk], key=lambda s: (s.start, s.seq))
    return {
        "schema": SCHEMA,
        "session": body,
        "segments": [segment.payload(session.started_at) for segment in heard],
        "seglst": [seglst(segment) for segment in transcript.segments],
    }


def seglst(segment: Segment) -> dict[str, Any]:
    """One entry of meeteval's SegLST; times are seconds from the session's start."""
    return {
        "session_id": segment.session_id,
        "speaker": segment.speaker,
        "start_time": round(segment.start / SAMPLE_RATE, 3),
        "end_time": round(segment.end / SAMPLE_RATE, 3),
        "words": segment.text,
    }


def to_srt(transcript: Transcript, _crosstalk: Iterable[Segment] = (), *, first: int = 1) -> str:
    """SubRip: cues numbered from `first` on, a comma before the milliseconds."""
    cues = [
        f"{number}\n{_span(segment, ',')}\n{segment.speaker}: {segment.text}\n"
        for number, segment in enumerate(transcript.segments, start=first)
    ]
    return "\n".join(cues)


def to_vtt(transcript: Transcript, _crosstalk: Iterable[Segment] = ()) -> str:
    """WebVTT with a voice span for each speaker; `&`, `<` and `>` are escaped as it asks."""
    cues = [
        f"{_span(segment, '.')}\n<v {_escape(segment.speaker)}>{_escape(segment.text)}\n"
        for segment in transcript.segments
    ]
    return "\n".join(["WEBVTT\n", *cues])


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _span(segment: Segment, point: str) -> str:
    return f"{_clock(segment.start, point)} --> {_clock(segment.end, point)}"


def _clock(sample: int, point: str) -> str:
    milliseconds = round(sample * 1000 / SAMPLE_RATE)
    seconds, milliseconds = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{point}{milliseconds:03}"


WRITERS: dict[str, Writer] = {"txt": to_text, "json": to_json, "srt": to_srt, "vtt": to_vtt}
"""How each file of a session is written, by its suffix."""
