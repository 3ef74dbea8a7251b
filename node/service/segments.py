"""From an utterance and what was heard in it to its segment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from node.core.model import SAMPLE_RATE, Segment

if TYPE_CHECKING:
    from node.adapters.store import Utterance
    from node.core.model import Heard


def segment_of(utterance: Utterance, heard: Heard, seq: int, latency_s: float) -> Segment:
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
