"""The values that travel through the node: times, words, segments, microphones."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from node.core.clocks import SessionClock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from node.core.mqtt.payloads import SegmentPayload

SCHEMA = 1

SAMPLE_RATE = 16_000
"""Hz of all sound after capture: what Whisper and Silero hear."""

TICK = 512
"""Samples in one analysis frame (32 ms): the only frame length Silero VAD takes at 16 kHz."""

MIC_ID = re.compile(r"[a-z0-9_.-]{1,64}")
"""Every id a mic may have. New ones are given without dots: RabbitMQ takes a dot for a topic level.
"""

SESSION_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{4}")
"""Every id a session may have, see `new_session_id`."""

UNDATED = datetime(2000, 1, 1, tzinfo=UTC)
"""Where a recording begins that does not say when it was made; times of day count from there."""

MB = 1024 * 1024
"""Bytes; the unit of memory and disk, but not of downloads."""


def iso(moment: datetime) -> str:
    """ISO 8601 in UTC with milliseconds and `Z`, the one format of time on every topic."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_iso(text: str) -> datetime:
    return datetime.fromisoformat(text)


def at_sample(zero: datetime, sample: int) -> datetime:
    """Wall time of a sample of a session whose timeline began at `zero`."""
    return zero + timedelta(microseconds=round(sample * 1_000_000 / SAMPLE_RATE))


def new_session_id(now: datetime, suffix: str) -> str:
    """`20261122T100000Z-3f9c`: when it began, and four hexadecimal digits against a clash."""
    return f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}-{suffix}"


def started_at_of(session_id: str) -> datetime:
    """The second in which a session began, from its id."""
    return datetime.strptime(session_id[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Word:
    """One spoken word; `start` and `end` are seconds from its segment's start."""

    word: str
    start: float
    end: float
    probability: float


@dataclass(frozen=True, slots=True)
class Transcription:
    """What the engine made of one utterance. An empty text means that nothing was said.

    Times of words are seconds from the first sample of the utterance. `hidden_words`: the words
    only serve to order the transcript and are not published. `doubtful`: a guard took part of the
    text for invented, or there is another sign that it is wrong.
    """

    text: str
    language: str
    language_probability: float
    confidence: float
    words: tuple[Word, ...] | None = None
    hidden_words: bool = False
    doubtful: bool = False

    def words_after(self, lead_s: float) -> tuple[Word, ...] | None:
        """The words with times from where speech begins, `lead_s` after the first sample."""
        if self.words is None:
            return None
        return tuple(
            Word(
                word.word,
                max(0.0, round(word.start - lead_s, 2)),
                max(0.0, round(word.end - lead_s, 2)),
                word.probability,
            )
            for word in self.words
        )


def joined(halves: Sequence[Transcription], second_s: float, probability: float) -> Transcription:
    """Two halves as one utterance, the second beginning `second_s` after the first.

    `probability` is that of their language. The result is always doubtful.
    """
    first, second = halves
    spoken = [half for half in halves if half.text]
    words: tuple[Word, ...] | None = None
    if any(half.words is not None for half in halves):
        later = (
            replace(word, start=word.start + second_s, end=word.end + second_s)
            for word in second.words or ()
        )
        words = (*(first.words or ()), *later)
    return Transcription(
        " ".join(half.text for half in spoken),
        first.language,
        probability,
        min((half.confidence for half in spoken), default=0.0),
        words,
        hidden_words=any(half.hidden_words for half in halves),
        doubtful=True,
    )


@dataclass(frozen=True, slots=True)
class Segment:
    """One utterance of one speaker, as published; `start` and `end` are samples of the session."""

    id: str
    session_id: str
    seq: int
    mic: str
    speaker: str
    start: int
    end: int
    text: str
    language: str
    language_probability: float
    confidence: float
    words: tuple[Word, ...] | None = None
    crosstalk_of: str | None = None
    replayed: bool = False
    latency_s: float = 0.0
    hidden_words: bool = False

    def payload(self, zero: datetime) -> SegmentPayload:
        """The segment as on `T/mic/<mic>/segment` and in the session's JSON file."""
        body: SegmentPayload = {
            "schema": 1,
            "event_type": "segment",
            "id": self.id,
            "session_id": self.session_id,
            "seq": self.seq,
            "mic": self.mic,
            "speaker": self.speaker,
            "start": iso(at_sample(zero, self.start)),
            "end": iso(at_sample(zero, self.end)),
            "text": self.text,
            "language": self.language,
            "language_probability": round(self.language_probability, 3),
            "confidence": round(self.confidence, 3),
            "crosstalk_of": self.crosstalk_of,
            "replayed": self.replayed,
            "latency_s": round(self.latency_s, 2),
        }
        if self.words is not None and not self.hidden_words:
            body["words"] = [
                {
                    "word": word.word,
                    "start": word.start,
                    "end": word.end,
                    "probability": word.probability,
                }
                for word in self.words
            ]
        return body


@dataclass(frozen=True, slots=True)
class MicInfo:
    """A microphone as found: which it is and how it is opened; nothing about people or sessions."""

    mic: str
    name: str
    card: int | None = None
    device: str | None = None
    usb_port: str | None = None
    usb_id: str | None = None
    serial: str | None = None
    connected: bool = True


@dataclass(frozen=True, slots=True)
class Assignment:
    """Whose microphone it is; kept over restarts."""

    speaker: str | None = None
    language: str | None = None
    enabled: bool = True


@dataclass(slots=True)
class Session:
    """One recording, from its start to its transcript.

    `node` recorded it; `group` is what it has in common with other nodes' sessions of one meeting.
    """

    id: str
    started_at: datetime
    title: str | None = None
    language: str | None = None
    speakers: dict[str, str] = field(default_factory=dict)
    max_duration_s: float | None = None
    ended_at: datetime | None = None
    files: dict[str, str] = field(default_factory=dict)
    node: str | None = None
    group: str | None = None
    clock: SessionClock = field(default_factory=SessionClock)
