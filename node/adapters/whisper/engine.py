"""Whisper through faster-whisper and CTranslate2: one utterance in, its words out.

The encoder runs once per utterance; `WhisperModel.transcribe` would encode a whole 30 s window, and
once more for the language. A text that looks wrong is tried again: alone, if it was heard after
earlier speech, and then over Whisper's whole window, as is one that may be a cough. That is at most
two more encodings and searches, and one more search if it was decoded together with others. Only
after a loop of the decoder is all this repeated for each half.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from node.adapters.whisper.decoding import Decoder
from node.adapters.whisper.encoding import FULL_WINDOW, MEL_HOP, Clip, Encoder, shares_window
from node.adapters.whisper.opening import EngineSettings, notice_of, open_model, threads_of
from node.core.model import SAMPLE_RATE, Transcription, joined
from node.core.text.context import echoes
from node.core.text.hallucination import is_inaudible, judged, quietest
from node.core.text.languages import UNSPACED
from node.core.text.word_times import audible, within_speech

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from node.adapters.whisper.encoding import Look
    from node.core.model import Word
    from node.core.text.hallucination import Said

log = logging.getLogger(__name__)

AUDIBLE = 100
"""A sample well above the level guard, for the first run."""

CAUGHT = frozenset({"loop", "compression", "rate"})
"""Guards that detect a decoder in a loop."""

DIVISIBLE = 5 * SAMPLE_RATE
"""Samples from which an utterance is heard again in halves after a loop."""


class Engine:
    """One Whisper model, owned by the transcriber thread; call `load` first.

    `removed` counts, by guard, texts of which some or all was taken for a hallucination; `retries`
    counts second looks.
    """

    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings
        self._whisper: Any = None
        self._decoder: Any = None
        self._encoder: Any = None  # like the two above, set by `load`
        self.notice: str | None = None
        self.removed: Counter[str] = Counter()
        self.retries = 0

    @property
    def threads(self) -> int:
        """How many processor threads it uses."""
        return threads_of(self._settings)

    def load(self) -> None:
        """Load the model and run it once, so that the first utterance is not slower.

        Raises:
            ModelError: it is neither in its folder nor cached, and cannot be downloaded.
        """
        self._whisper = open_model(self._settings)
        self._decoder = Decoder(self._whisper, self._settings)
        self._encoder = Encoder(self._whisper, self._settings, self._decoder)
        self.notice = notice_of(self._settings)
        self.transcribe(Clip(np.full(SAMPLE_RATE, AUDIBLE, np.int16)), beam_size=1)
        self.removed.clear()
        self.retries = 0

    def tuned(self, settings: EngineSettings) -> Engine:
        """Return an engine with other settings that shares this one's loaded model.

        Only one of them may run at a time.
        """
        other = Engine(settings)
        other._whisper = self._whisper
        other._decoder = Decoder(self._whisper, settings)
        other._encoder = Encoder(self._whisper, settings, other._decoder)
        return other

    def transcribe(
        self,
        clip: Clip,
        *,
        beam_size: int | None = None,
        window: Literal["fit", "full"] | None = None,
    ) -> Transcription:
        """Recognise one utterance; `beam_size` and `window` override the configured ones.

        Returns:
            What was said; the text is empty for silence or noise.
        """
        look = self._look(clip, beam_size, window)
        if look is None:
            return self._inaudible(clip)
        return self._heard(look, self._decoder.decode(look.encoding, look.request))

    def transcribe_together(
        self, clips: Sequence[Clip], *, beam_size: int | None = None
    ) -> list[Transcription]:
        """Recognise several utterances, those with windows of the same width in one search.

        The texts are the same as one by one: a text that looks wrong is decoded again alone.
        """
        looks = [self._look(clip, beam_size, None) for clip in clips]
        audible = [look for look in looks if look is not None]
        decoded = iter(self._decoder.decode_together([(x.encoding, x.request) for x in audible]))
        return [
            self._inaudible(clip) if look is None else self._heard(look, next(decoded))
            for clip, look in zip(clips, looks, strict=True)
        ]

    def draft(self, clip: Clip) -> str:
        """Return the text of unfinished speech, as cheaply as possible: one look with beam 1.

        Empty if it looks wrong.
        """
        look = self._look(clip, 1, "fit")
        if look is None:
            return ""
        said: Said = self._decoder.decode(look.encoding, look.request)
        return "" if said.faults or said.is_silence else judged(said)[0]

    def together(self, duration_s: float) -> bool:
        """Return whether an utterance is short enough to be decoded together with others."""
        return shares_window(duration_s)

    def _look(
        self, clip: Clip, beam_size: int | None, window: Literal["fit", "full"] | None
    ) -> Look | None:
        """Encode an utterance and find its language; None if it is inaudible."""
        if is_inaudible(clip.samples):
            return None
        beam_size = beam_size or self._settings.beam_size
        full = (window or self._settings.window) == "full"
        behind: Look | None = None if full else self._encoder.behind(clip, beam_size)
        return behind or self._encoder.alone(clip, beam_size, full=full)

    def _inaudible(self, clip: Clip) -> Transcription:
        self._note("level")
        return Transcription("", clip.language or "", 0.0, 0.0)

    def _heard(self, look: Look, said: Said, *, half: bool = False) -> Transcription:
        """Return what was said, after the guards have judged the decoded text."""
        look, said = self._best(look, said)
        text, guard = judged(said)
        if guard:
            self._note(guard)
        if guard in CAUGHT and len(look.clip.samples) >= DIVISIBLE and not half:
            halves = self._halved(look)
            if len(halves.text) > len(text):
                return halves
        confidence = math.exp(said.log_probability) if text else 0.0
        asked = self._settings.word_timestamps
        timed = text and (asked or look.clip.overlapped)
        words = self._words(look, text) if timed else None
        code = look.request.language
        return Transcription(
            text,
            code,
            look.probability,
            confidence,
            words,
            hidden_words=not asked,
            doubtful=not text or guard is not None or said.faults > 0,
        )

    def _halved(self, look: Look) -> Transcription:
        """Return what is heard in the two halves of a sound in which the decoder looped.

        A looped text keeps one repetition and loses everything said after it.
        """
        middle = quietest(look.clip.samples)
        halves = [self._half(look, part) for part in np.split(look.clip.samples, [middle])]
        return joined(halves, middle / SAMPLE_RATE, look.probability)

    def _half(self, whole: Look, samples: npt.NDArray[np.int16]) -> Transcription:
        """Return what is heard in one half by itself; it is not divided again."""
        clip = replace(
            whole.clip, samples=samples, language=whole.request.language, prior=None, earlier=()
        )
        look = self._look(clip, whole.request.beam_size, "fit")
        if look is None:
            return self._inaudible(clip)
        return self._heard(look, self._decoder.decode(look.encoding, look.request), half=True)

    def _words(self, look: Look, text: str) -> tuple[Word, ...]:
        """Return when each word was spoken, in seconds from the first sample."""
        # Without the silence after the sound, which would pass for the noise of the room.
        spectrum = self._encoder.features(look.clip.samples)[:, : len(look.clip.samples) // MEL_HOP]
        aligned = self._decoder.words(look.encoding, text, look.request)
        return within_speech(aligned, audible(spectrum))

    def _best(self, look: Look, said: Said) -> tuple[Look, Said]:
        """Return the best of at most three looks: after earlier speech, alone, and full."""
        looks = [(look, said)]
        if look.earlier and _is_doubtful(look, said):
            looks.append(self._again(self._encoder.alone(look.clip, look.request.beam_size)))
            if _echoes(look, said):
                del looks[0]
        best, said = _better(looks)
        doubted = said.faults or said.is_noise
        if doubted and not said.is_silence and look.width < FULL_WINDOW:
            looks.append(self._again(self._encoder.full(best)))
        return _better(looks)

    def _again(self, look: Look) -> tuple[Look, Said]:
        self.retries += 1
        return look, self._decoder.decode(look.encoding, look.request)

    def _note(self, guard: str) -> None:
        self.removed[guard] += 1
        log.debug("some or all of a text removed as a hallucination: %s", guard)


def _echoes(look: Look, said: Said) -> bool:
    before = " ".join(utterance.text for utterance in look.earlier)
    return echoes(said.text, before, spaced=said.language not in UNSPACED)


def _is_doubtful(look: Look, said: Said) -> bool:
    """Return whether earlier speech may have spoiled a text or hidden silence from a guard."""
    return not said.text or bool(said.faults) or _echoes(look, said)


def _better(looks: Sequence[tuple[Look, Said]]) -> tuple[Look, Said]:
    return min(looks, key=lambda look: (look[1].faults, -look[1].log_probability))
