"""From an utterance and its sound to a segment, for the service and `transcribe` alike.

The caller decides where sound comes from, when the engine runs, and where segments go.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from node.adapters.whisper import Clip
from node.core.model import SAMPLE_RATE, Segment
from node.core.text.context import Contexts
from node.core.text.prior import LanguagePrior
from node.core.text.second_hearing import is_surer, is_unsure

if TYPE_CHECKING:
    import numpy.typing as npt

    from node.adapters.store import Utterance
    from node.adapters.whisper import Engine
    from node.core.model import Transcription
    from node.core.text.context import Speaker


class Recogniser:
    """Turns utterances into text, using what is known of each speaker. Owned by one thread.

    For each call `clip`, `hear`, and, once it is certainly the speaker's own, `learn`. If there is
    no engine, something else does what `hear` would.
    """

    def __init__(self, engine: Engine | None) -> None:
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
        """Return an utterance with all that helps the engine to transcribe it.

        Args:
            utterance: what to transcribe; crosstalk gets no earlier speech, as with `alone`.
            samples: int16 at 16 kHz, one dimension.
            hotwords: words to listen for besides the configured ones.
            overlapped: whether somebody else speaks at the same time.
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
        """Return what the engine hears in a clip; `beam_size` overrides the configured one."""
        assert self._engine is not None
        return self._engine.transcribe(clip, beam_size=beam_size)

    def hear(
        self, clip: Clip, raw: npt.NDArray[np.int16] | None, *, beam_size: int | None = None
    ) -> tuple[Clip, Transcription]:
        """Return what the engine hears in a clip and, if that is garbled, in its raw sound.

        Args:
            clip: an utterance, perhaps with others' speech taken out.
            raw: its sound before that; None if there is none.
            beam_size: instead of the configured one.

        Returns:
            The clip of the better text, for `learn`, and that text.
        """
        heard = self.transcribe(clip, beam_size=beam_size)
        if (whole := whole_clip(clip, raw, heard)) is None:
            return clip, heard
        return surer((clip, heard), (whole, self.transcribe(whole, beam_size=beam_size)))

    def learn(self, utterance: Utterance, clip: Clip, heard: Transcription) -> None:
        """Learn from a speaker's own utterance, for the next ones."""
        self.languages.learn(utterance.mic, utterance.speaker, heard)
        if not clip.overlapped:  # others' words in the sound would be heard again
            self._contexts.learn(speaker_of(utterance), utterance.end, clip.samples, heard)

    def forget(self, session_id: str) -> None:
        """Forget everything of an erased session."""
        self._contexts.forget(session_id)

    def forget_speaker(self, speaker: Speaker) -> None:
        """Forget what was learned of a speaker: some of it was not theirs, so all may be wrong."""
        self._contexts.forget_speaker(speaker)


def whole_clip(clip: Clip, raw: npt.NDArray[np.int16] | None, heard: Transcription) -> Clip | None:
    """Return a clip with its raw sound; None if it need not be heard in that too."""
    if raw is None or not is_unsure(heard) or np.array_equal(raw, clip.samples):
        return None
    return replace(clip, samples=raw)


def surer(
    cleaned: tuple[Clip, Transcription], raw: tuple[Clip, Transcription]
) -> tuple[Clip, Transcription]:
    """Return the one of two clips of an utterance whose text is to be taken, and that text."""
    return raw if is_surer(raw[1], cleaned[1]) else cleaned


def speaker_of(said: Utterance | Segment) -> Speaker:
    return said.session_id, said.mic, said.speaker


def segment_of(utterance: Utterance, heard: Transcription, seq: int, latency_s: float) -> Segment:
    """Return a segment; its times are those of the speech, without the margins of the sound."""
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
