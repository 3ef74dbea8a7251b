"""Whisper through faster-whisper and CTranslate2: one utterance in, its words out.

The encoder runs once an utterance, over a window fitted to it; language, text and word times
all come from that one encoding. `WhisperModel.transcribe` would encode a whole 30 s window, and
a second time for the language. Whatever comes in, there is at most one more encoding, over the
whole window, where the first result looks wrong, and at most one more search beside that: of what
looked wrong among others, alone.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from node.adapters.whisper.decoding import Decoder, Request
from node.adapters.whisper.opening import EngineSettings, notice_of, open_model
from node.core.hallucination import is_inaudible, judged
from node.core.model import SAMPLE_RATE, Heard
from node.core.prior import weighed

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from node.core.hallucination import Said
    from node.core.prior import Prior

log = logging.getLogger(__name__)

HOP = 160
"""Samples in one mel frame (10 ms)."""

FULL_WINDOW = 3000
FLOOR_WINDOW = 1000
WINDOW_MARGIN = 200
"""Mel frames: Whisper's window, the shortest we use, and what is left free behind the sound.

10 s and 2 s: no loss on 26 clips in handy-computer/transcribe.cpp #149. It also keeps clear of
windows of 159 and 160 frames, whose encoding CTranslate2 would take for mel.
"""

TRAILING_SILENCE = SAMPLE_RATE // 2
"""Zeros appended to every utterance: without them Whisper drops last words (pipecat #5621)."""

AUDIBLE = 100
"""A sample well above the guard on levels, for the first run."""

MIN_PROBABILITY = 1e-9
"""Of a language: a model that gives all the allowed ones none has them equal."""


@dataclass(frozen=True, slots=True)
class Clip:
    """One utterance with what is known of it; see `Engine.transcribe`."""

    samples: npt.NDArray[np.int16]
    language: str | None = None
    prior: Prior | None = None
    hotwords: str | None = None
    overlapped: bool = False


@dataclass(frozen=True, slots=True)
class _Look:
    """An utterance encoded: `features` (mels, frames) over a window of `width` mel frames."""

    features: npt.NDArray[np.float32]
    width: int
    encoding: Any
    probability: float
    request: Request
    overlapped: bool


class Engine:
    """One Whisper model. Owned by the transcriber thread; `load` first.

    `removed` counts by guard the texts of which all or some was taken for invented, `retries` the
    second looks.
    """

    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings
        self._whisper: Any = None
        self._decoder: Any = None
        self.notice: str | None = None
        self.removed: Counter[str] = Counter()
        self.retries = 0

    def load(self) -> None:
        """Load the model and run it once, so that the first utterance pays for nothing.

        Raises:
            ModelError: it is neither in its folder nor cached, nor can it be downloaded.
        """
        self._whisper = open_model(self._settings)
        self._decoder = Decoder(self._whisper, self._settings)
        self.notice = notice_of(self._settings)
        self.transcribe(np.full(SAMPLE_RATE, AUDIBLE, np.int16), None, beam_size=1)
        self.removed.clear()
        self.retries = 0

    def transcribe(
        self,
        samples: npt.NDArray[np.int16],
        language: str | None,
        *,
        prior: Prior | None = None,
        beam_size: int | None = None,
        window: Literal["fit", "full"] | None = None,
        hotwords: str | None = None,
        overlapped: bool = False,
    ) -> Heard:
        """Recognise one utterance of at most 28 s.

        Args:
            samples: int16 at 16 kHz, one dimension.
            language: Whisper's code, or None to find it among the configured languages.
            prior: the language expected, weighed with what is detected.
            beam_size: in place of the configured one.
            window: likewise.
            hotwords: words to listen for beside the configured ones.
            overlapped: somebody else speaks meanwhile: the transcript needs the times of words,
                also where they are not configured.

        Returns:
            What was said; an empty text where it was silence or noise.
        """
        clip = Clip(samples, language, prior, hotwords, overlapped=overlapped)
        look = self._look(clip, beam_size, window)
        if look is None:
            return self._inaudible(clip)
        return self._heard(look, self._decoder.decode(look.encoding, look.request))

    def transcribe_together(
        self, clips: Sequence[Clip], *, beam_size: int | None = None
    ) -> list[Heard]:
        """Recognise several utterances, those with windows of one width in one search.

        The texts are those of each alone: what looks wrong beside others is decoded alone again.
        """
        looks = [self._look(clip, beam_size, None) for clip in clips]
        audible = [look for look in looks if look is not None]
        decoded = iter(self._decoder.decode_together([(x.encoding, x.request) for x in audible]))
        return [
            self._inaudible(clip) if look is None else self._heard(look, next(decoded))
            for clip, look in zip(clips, looks, strict=True)
        ]

    def draft(
        self, samples: npt.NDArray[np.int16], language: str | None, *, prior: Prior | None = None
    ) -> str:
        """The text of speech that goes on, as cheaply as can be: one look with beam 1.

        Empty where that looks wrong.
        """
        look = self._look(Clip(samples, language, prior), 1, "fit")
        if look is None:
            return ""
        said: Said = self._decoder.decode(look.encoding, look.request)
        return "" if said.faults or said.is_silence else judged(said)[0]

    def together(self, duration_s: float) -> bool:
        """Whether an utterance is so short that the window is the same for all of its kind."""
        frames = math.ceil(duration_s * SAMPLE_RATE + TRAILING_SILENCE) // HOP + 1
        return frames + WINDOW_MARGIN <= FLOOR_WINDOW

    def _look(
        self, clip: Clip, beam_size: int | None, window: Literal["fit", "full"] | None
    ) -> _Look | None:
        """Encode an utterance and find its language; None where there is nothing to hear."""
        if is_inaudible(clip.samples):
            return None
        features = self._features(clip.samples)
        width = self._width(features.shape[1], window or self._settings.window)
        encoding = self._encode(features, width)
        code, probability = self._language(encoding, clip.language, clip.prior)
        beam_size = beam_size or self._settings.beam_size
        request = Request(code, features.shape[1], beam_size, clip.hotwords)
        return _Look(features, width, encoding, probability, request, clip.overlapped)

    def _inaudible(self, clip: Clip) -> Heard:
        self._note("level")
        return Heard("", clip.language or "", 0.0, 0.0)

    def _heard(self, look: _Look, said: Said) -> Heard:
        """What was said, once the guards have judged what was decoded."""
        encoding = look.encoding
        if said.faults and not said.is_silence and look.width < FULL_WINDOW:
            encoding, said = self._again(look.features, look.request, (encoding, said))
        text, guard = judged(said)
        if guard:
            self._note(guard)
        confidence = math.exp(said.log_probability) if text else 0.0
        asked = self._settings.word_timestamps
        timed = text and (asked or look.overlapped)
        words = self._decoder.words(encoding, text, look.request) if timed else None
        code = look.request.language
        return Heard(text, code, look.probability, confidence, words, hidden_words=not asked)

    def _features(self, samples: npt.NDArray[np.int16]) -> npt.NDArray[np.float32]:
        """Log mel frames of the sound and a little silence behind it, of shape (mels, frames)."""
        padded = np.pad(samples.astype(np.float32) / 32768, (0, TRAILING_SILENCE))
        frames: npt.NDArray[np.float32] = self._whisper.feature_extractor(padded)
        return frames[:, : -(-len(padded) // HOP)]

    def _width(self, frames: int, window: Literal["fit", "full"]) -> int:
        """Mel frames to encode for so many of sound."""
        if window == "full":
            return FULL_WINDOW
        return min(FULL_WINDOW, max(FLOOR_WINDOW, frames + WINDOW_MARGIN))

    def _encode(self, features: npt.NDArray[np.float32], width: int) -> Any:
        from faster_whisper.transcribe import pad_or_trim  # noqa: PLC0415  (slow to import)

        return self._whisper.encode(pad_or_trim(features, width))

    def _language(
        self, encoding: Any, language: str | None, prior: Prior | None
    ) -> tuple[str, float]:
        """The language given, or the likeliest of those configured, with its share among them."""
        if not self._whisper.model.is_multilingual:
            return "en", 1.0  # whatever is asked for: `base.en` writes nothing else
        if language is not None:
            return language, 1.0
        found = {t[2:-2]: p for t, p in self._whisper.model.detect_language(encoding)[0]}
        allowed = [code for code in found if code in self._settings.languages] or found
        shares = weighed({code: max(found[code], MIN_PROBABILITY) for code in allowed}, prior)
        code = max(shares, key=shares.__getitem__)
        return code, shares[code]

    def _again(
        self, features: npt.NDArray[np.float32], request: Request, first: tuple[Any, Said]
    ) -> tuple[Any, Said]:
        """A second look over the whole window; gives the better of the two."""
        self.retries += 1
        full = self._encode(features, FULL_WINDOW)
        second = full, self._decoder.decode(full, request)
        return min(first, second, key=lambda look: (look[1].faults, -look[1].log_probability))

    def _note(self, guard: str) -> None:
        self.removed[guard] += 1
        log.debug("a text was taken for invented, wholly or in part: %s", guard)
