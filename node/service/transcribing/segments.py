"""The one step from an utterance and its sound to a segment: for the service and `transcribe`.

Whoever has it made decides where sound comes from, when the engine is free, and where segments go.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from node.adapters.whisper import Clip
from node.core.model import SAMPLE_RATE, Segment, iso
from node.core.text.context import Contexts
from node.core.text.prior import LanguagePrior

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from node.adapters.store import Utterance
    from node.adapters.whisper import Engine
    from node.core.model import Transcription
    from node.core.mqtt.payloads import EventPayload
    from node.core.mqtt.topics import Topics
    from node.core.text.context import Speaker


class Recogniser:
    """Makes text of utterances, each with what is known of its speaker. Owned by one thread.

    For each: `clip`, `transcribe`, and `learn` once it is certain that it was the speaker's own.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._contexts = Contexts()
        self.languages = LanguagePrior()

    def clip(
        self,
        utterance: Utterance,
        samples: npt.NDArray[np.int16],
        *,
        hotwords: str | None = None,
        overlapped: bool = False,
        alone: bool = False,
    ) -> Clip:
        """An utterance with all that helps the engine with it.

        Args:
            utterance: another's speech is heard without what its speaker said before.
            samples: int16 at 16 kHz, one dimension.
            hotwords: words to listen for beside the configured ones.
            overlapped: whether somebody else speaks meanwhile.
            alone: to save time, leave out what its speaker said before.
        """
        alone = alone or utterance.crosstalk_of is not None
        return Clip(
            samples,
            utterance.language,
            self.languages.of(utterance.mic, utterance.speaker),
            hotwords,
            overlapped=overlapped,
            earlier=() if alone else self._contexts.of(speaker_of(utterance), utterance.start),
        )

    def transcribe(self, clip: Clip, *, beam_size: int | None = None) -> Transcription:
        """What the engine hears in a clip; `beam_size` in place of the configured one."""
        return self._engine.transcribe(
            clip.samples,
            clip.language,
            prior=clip.prior,
            beam_size=beam_size,
            hotwords=clip.hotwords,
            overlapped=clip.overlapped,
            earlier=clip.earlier,
        )

    def learn(self, utterance: Utterance, clip: Clip, heard: Transcription) -> None:
        """Take in what was heard in a speaker's own utterance, for the next ones."""
        self.languages.learn(utterance.mic, utterance.speaker, heard)
        if not clip.overlapped:  # what others leave in the sound would be heard again
            self._contexts.learn(speaker_of(utterance), utterance.end, clip.samples, heard)

    def forget(self, session_id: str) -> None:
        """Keep nothing of a session: it is erased."""
        self._contexts.forget(session_id)

    def forget_speaker(self, speaker: Speaker) -> None:
        """Something of what was learnt was not what they said: all of it may be wrong."""
        self._contexts.forget_speaker(speaker)


def speaker_of(said: Utterance | Segment) -> Speaker:
    return said.session_id, said.mic, said.speaker


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
