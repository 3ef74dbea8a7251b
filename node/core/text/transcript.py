"""The merged transcript: every mic's segments in the order in which people spoke."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from node.core.model import SAMPLE_RATE, Segment, Session, at_sample, iso
from node.core.text.turns import Turn, turns

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import tzinfo

    from node.core.mqtt.payloads import AboutPayload, FinalPayload, SpeakerTotals

MAX_TEXT_BYTES = 256 * 1024
"""Longest transcript text on MQTT; `transcript/get` returns all of it."""

LIVE_LINES = 20


@dataclass(frozen=True)
class Transcript:
    """One session's segments, in order of speech, ready to be written in any format."""

    session: Session
    segments: tuple[Segment, ...]
    zone: tzinfo

    @cached_property
    def turns(self) -> tuple[Turn, ...]:
        """One a segment, more if others have interjected; each is a line of text."""
        return turns(self.segments)

    def text(self) -> str:
        return plain(self.session, self.turns, self.zone)


def speech_start(segment: Segment) -> float:
    """Second of the session at which the segment's first word begins."""
    lead = segment.words[0].start if segment.words else 0.0
    return segment.start / SAMPLE_RATE + lead


def merge(segments: Iterable[Segment]) -> tuple[Segment, ...]:
    """Segments in order of speech, each id once, without others' speech that a mic heard."""
    unique = {segment.id: segment for segment in segments if segment.crosstalk_of is None}
    return tuple(sorted(unique.values(), key=lambda s: (speech_start(s), s.seq)))


def plain(session: Session, spoken: Iterable[Turn], zone: tzinfo) -> str:
    """`[HH:MM:SS] Alice: Bonjour tout le monde.`, one line each, at the time of day in `zone`."""
    return "".join(f"{_line(session, turn, zone)}\n" for turn in spoken)


def _line(session: Session, turn: Turn, zone: tzinfo) -> str:
    moment = at_sample(session.started_at, turn.start).astimezone(zone)
    return f"[{moment:%H:%M:%S}] {turn.segment.speaker}: {turn.text}"


def clip(text: str, limit: int = MAX_TEXT_BYTES) -> tuple[str, bool]:
    """Cut a text at a line so that it fits into `limit` bytes of UTF-8; returns whether that cut
    it.
    """
    raw = text.encode()
    if len(raw) <= limit:
        return text, False
    return raw[: raw.rfind(b"\n", 0, limit) + 1].decode(), True


def final_body(transcript: Transcript) -> FinalPayload:
    """The payload of `T/transcript/final` and `T/transcript/last`."""
    text, truncated = clip(transcript.text())
    return {**about(transcript), "text": text, "truncated": truncated}


def about(transcript: Transcript) -> AboutPayload:
    """What is known of the session besides what was said."""
    session, segments = transcript.session, transcript.segments
    ended = session.ended_at or session.started_at
    return {
        "schema": 1,
        "event_type": "transcript",
        "session_id": session.id,
        "node": session.node,
        "group": session.group,
        "title": session.title,
        "started_at": iso(session.started_at),
        "ended_at": iso(ended),
        "duration_s": round((ended - session.started_at).total_seconds(), 3),
        "clock": session.clock.payload(),
        "languages": _languages(segments),
        "speakers": _speakers(segments),
        "segments_total": len(segments),
        "file_path": session.files.get("txt"),
        "files": session.files,
    }


def _languages(segments: Iterable[Segment]) -> list[str]:
    """Languages spoken, most words first."""
    words: dict[str, int] = {}
    for segment in segments:
        words[segment.language] = words.get(segment.language, 0) + len(segment.text.split())
    return sorted(words, key=lambda language: -words[language])


def _speakers(segments: Iterable[Segment]) -> list[SpeakerTotals]:
    """Who spoke, on which mic and how much, in the order of their first words."""
    totals: dict[tuple[str, str], SpeakerTotals] = {}
    for segment in segments:
        entry = totals.setdefault(
            (segment.speaker, segment.mic),
            {
                "speaker": segment.speaker,
                "mic": segment.mic,
                "segments": 0,
                "words": 0,
                "speaking_s": 0.0,
            },
        )
        entry["segments"] += 1
        entry["words"] += len(segment.text.split())
        entry["speaking_s"] += (segment.end - segment.start) / SAMPLE_RATE
    for entry in totals.values():
        entry["speaking_s"] = round(entry["speaking_s"], 2)
    return list(totals.values())
