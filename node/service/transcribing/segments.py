"""From an utterance and what was heard in it to its segment."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from node.core.model import SAMPLE_RATE, Segment, iso

if TYPE_CHECKING:
    from node.adapters.store import Utterance
    from node.core.model import Transcription
    from node.core.mqtt.payloads import EventPayload
    from node.core.mqtt.topics import Topics


def segment_of(utterance: Utterance, heard: Transcription, seq: int, latency_s: float) -> Segment:
    """Its times are those of the speech, without what was kept before and behind it."""
    start, end = utterance.spoken
    return Segment(
        id=utterance.id,
        session_id=utterance.session_id,
        seq=seq,
        mic=utterance.mic,
        speaker=utterance.speaker,
        start=start,
        end=end,
        text=heard.text,
        language=heard.language,
        language_probability=heard.language_probability,
        confidence=heard.confidence,
        words=heard.words_after((start - utterance.start) / SAMPLE_RATE),
        hidden_words=heard.hidden_words,
        replayed=utterance.recovered,
        latency_s=latency_s,
        crosstalk_of=utterance.crosstalk_of,
    )


def withdrawal(topics: Topics, segment: Segment) -> tuple[str, str]:
    """Topic and payload of what is said of a segment that was another mic's speech."""
    event: EventPayload = {
        "event_type": "segment_withdrawn",
        "id": segment.id,
        "mic": segment.mic,
        "message": f"{segment.mic}: a segment is left out of the transcript: it was the speech of"
        f" {segment.crosstalk_of}, as was found once it was known what each mic hears of the other",
        "time": iso(datetime.now(UTC)),
    }
    return topics.event, json.dumps(event, ensure_ascii=False)
