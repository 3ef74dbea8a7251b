"""Segments and sessions for tests, which only spell out what matters to them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from hypothesis import strategies as st

from node.core.model import SAMPLE_RATE, Segment, Session, Word
from node.core.text.transcript import Transcript

SESSION_ID = "20261122T100000Z-3f9c"
STARTED = datetime(2026, 11, 22, 10, 0, 0, tzinfo=UTC)
PARIS = timezone(timedelta(hours=1))

line_text = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=20)
"""Text as it can be said or typed: any character that does not end a line."""


def segment(seq: int, start_s: float = 0.0, text: str = "Bonjour.", **changes: Any) -> Segment:
    """Return a segment of one second that begins `start_s` seconds into the session."""
    start = round(start_s * SAMPLE_RATE)
    mic = changes.get("mic", "desk")
    values: dict[str, Any] = {
        "id": f"{SESSION_ID}/{mic}/{seq}",
        "session_id": SESSION_ID,
        "seq": seq,
        "mic": mic,
        "speaker": "Alice",
        "start": start,
        "end": start + SAMPLE_RATE,
        "text": text,
        "language": "fr",
        "language_probability": 0.98,
        "confidence": 0.87,
    }
    return Segment(**{**values, **changes})


def session(**changes: Any) -> Session:
    return Session(**{"id": SESSION_ID, "started_at": STARTED, **changes})


def transcript(*segments: Segment, **changes: Any) -> Transcript:
    return Transcript(session(**changes), segments, PARIS)


probabilities = st.floats(0, 1)
words = st.builds(
    Word,
    word=line_text,
    start=st.floats(0, 30),
    end=st.floats(0, 30),
    probability=probabilities,
)


@st.composite
def segments(draw: st.DrawFn) -> Segment:
    """Any segment that the node could make."""
    start = draw(st.integers(0, 2**40))
    return segment(
        draw(st.integers(1, 10**6)),
        mic=draw(st.sampled_from(["desk", "usb-1-1.3"])),
        speaker=draw(line_text),
        start=start,
        end=start + draw(st.integers(1, 30 * SAMPLE_RATE)),
        text=draw(line_text),
        language_probability=draw(probabilities),
        confidence=draw(probabilities),
        words=draw(st.none() | st.lists(words, max_size=3).map(tuple)),
        crosstalk_of=draw(st.none() | st.just("wall")),
        replayed=draw(st.booleans()),
        latency_s=draw(st.floats(0, 1e6)),
    )
