"""Whisper through faster-whisper and CTranslate2: one utterance in, its words out.

The encoder runs once an utterance, over a window fitted to it; language, text and word times
all come from that one encoding. `WhisperModel.transcribe` would encode a whole 30 s window, and
a second time for the language.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from node.adapters.whisper.opening import EngineSettings, notice_of, open_model
from node.core.model import SAMPLE_RATE, Heard, Word
from node.core.prior import weighed

if TYPE_CHECKING:
    import numpy.typing as npt

    from node.core.prior import Prior

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

TOKENS_PER_S = 6.5
TOKENS_PER_S_OTHER_SCRIPTS = 13.0
SPARE_TOKENS = 16
"""Cap on tokens for a duration (from Moonshine's); what runs into it is a loop, not speech."""

_OTHER_SCRIPTS = (
    "am ar as be bg bn bo el fa gu he hi hy ja ka kk km kn ko lo mk ml mn mr my ne pa ps ru sa sd"
    " si sr ta te tg th uk ur yi yue zh"
)
OTHER_SCRIPTS = frozenset(_OTHER_SCRIPTS.split())

MAX_COMPRESSION = 2.4
MIN_LOG_PROBABILITY = -1.0
MAX_NO_SPEECH = 0.6
"""Whisper's own thresholds (openai/whisper, transcribe.py)."""


@dataclass(frozen=True, slots=True)
class _Decoded:
    tokens: list[int]
    text: str
    log_probability: float
    no_speech: float
    compression: float
    capped: bool

    @property
    def looks_wrong(self) -> bool:
        return (
            self.capped
            or self.compression > MAX_COMPRESSION
            or self.log_probability < MIN_LOG_PROBABILITY
        )

    @property
    def is_silence(self) -> bool:
        return self.no_speech > MAX_NO_SPEECH and self.log_probability < MIN_LOG_PROBABILITY


@dataclass(frozen=True, slots=True)
class _Asked:
    """How an utterance is decoded; `frames` is its length in mel frames."""

    language: str
    frames: int
    beam_size: int
    hotwords: str | None


class Engine:
    """One Whisper model. Owned by the transcriber thread; `load` first."""

    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings
        self._whisper: Any = None
        self._tokenizers: dict[str, Any] = {}
        self.notice: str | None = None

    def load(self) -> None:
        """Load the model and run it once, so that the first utterance pays for nothing.

        Raises:
            ModelError: it is neither in its folder nor cached, nor can it be downloaded.
        """
        self._whisper = open_model(self._settings)
        self.notice = notice_of(self._settings)
        self.transcribe(np.zeros(SAMPLE_RATE, np.int16), None)

    def transcribe(
        self,
        samples: npt.NDArray[np.int16],
        language: str | None,
        *,
        prior: Prior | None = None,
        beam_size: int | None = None,
        hotwords: str | None = None,
    ) -> Heard:
        """Recognise one utterance of at most 28 s.

        Args:
            samples: int16 at 16 kHz, one dimension.
            language: Whisper's code, or None to find it among the configured languages.
            prior: the language expected, weighed with what is detected.
            beam_size: in place of the configured one.
            hotwords: words to listen for beside the configured ones.

        Returns:
            What was said; an empty text where it was silence or noise.
        """
        padded = np.pad(samples.astype(np.float32) / 32768, (0, TRAILING_SILENCE))
        features = self._whisper.feature_extractor(padded)[:, : -(-len(padded) // HOP)]
        window = self._window(features.shape[1])
        encoding = self._encode(features, window)
        code, probability = self._language(encoding, language, prior)
        ask = _Asked(code, features.shape[1], beam_size or self._settings.beam_size, hotwords)
        decoded = self._decode(encoding, ask)
        if decoded.looks_wrong and window < FULL_WINDOW and not decoded.is_silence:
            full = self._encode(features, FULL_WINDOW)
            again = self._decode(full, ask)
            if again.log_probability > decoded.log_probability:
                encoding, decoded = full, again
        if decoded.is_silence or not decoded.text or decoded.compression > MAX_COMPRESSION:
            return Heard("", code, probability, 0.0)
        return Heard(
            text=decoded.text,
            language=code,
            language_probability=probability,
            confidence=math.exp(decoded.log_probability),
            words=self._words(encoding, code, decoded, features.shape[1]),
        )

    def _window(self, frames: int) -> int:
        if self._settings.window == "full":
            return FULL_WINDOW
        return min(FULL_WINDOW, max(FLOOR_WINDOW, frames + WINDOW_MARGIN))

    def _encode(self, features: npt.NDArray[np.float32], window: int) -> Any:
        from faster_whisper.transcribe import pad_or_trim  # noqa: PLC0415

        return self._whisper.encode(pad_or_trim(features, window))

    def _language(
        self, encoding: Any, language: str | None, prior: Prior | None
    ) -> tuple[str, float]:
        """The language given, or the likeliest of those configured, with its share among them."""
        if language is not None or not self._whisper.model.is_multilingual:
            return language or "en", 1.0
        found = {t[2:-2]: p for t, p in self._whisper.model.detect_language(encoding)[0]}
        allowed = {c: max(p, 1e-9) for c, p in found.items() if c in self._settings.languages}
        shares = weighed(allowed or found, prior)
        code = max(shares, key=shares.__getitem__)
        return code, shares[code]

    def _decode(self, encoding: Any, asked: _Asked) -> _Decoded:
        from faster_whisper.transcribe import get_compression_ratio  # noqa: PLC0415

        tokenizer = self._tokenizer(asked.language)
        prompt = self._prompt(tokenizer, asked.hotwords)
        rate = TOKENS_PER_S_OTHER_SCRIPTS if asked.language in OTHER_SCRIPTS else TOKENS_PER_S
        cap = math.ceil(asked.frames / 100 * rate) + SPARE_TOKENS
        result = self._whisper.model.generate(
            encoding,
            [prompt],
            beam_size=asked.beam_size,
            max_length=min(self._whisper.max_length, len(prompt) + cap),
            return_scores=True,
            return_no_speech_prob=True,
        )[0]
        tokens = [token for token in result.sequences_ids[0] if token < tokenizer.eot]
        text = tokenizer.decode(tokens).strip()
        length = len(result.sequences_ids[0])
        return _Decoded(
            tokens=tokens,
            text=text,
            log_probability=result.scores[0] * length / (length + 1),
            no_speech=result.no_speech_prob,
            compression=get_compression_ratio(text) if text else 0.0,
            capped=len(tokens) >= cap,
        )

    def _prompt(self, tokenizer: Any, hotwords: str | None) -> list[int]:
        """Hotwords, the initial prompt, the language and the task; never what was said before."""
        settings = self._settings
        words = [*settings.hotwords, *([hotwords] if hotwords else [])]
        initial = tokenizer.encode(f" {settings.initial_prompt}") if settings.initial_prompt else []
        tokens: list[int] = self._whisper.get_prompt(
            tokenizer, initial, without_timestamps=True, hotwords=", ".join(words) or None
        )
        return tokens

    def _words(
        self, encoding: Any, language: str, decoded: _Decoded, frames: int
    ) -> tuple[Word, ...] | None:
        if not self._settings.word_timestamps:
            return None
        aligned = self._whisper.find_alignment(
            self._tokenizer(language), [decoded.tokens], encoding, frames
        )[0]
        return tuple(_joined(aligned))

    def _tokenizer(self, language: str) -> Any:
        from faster_whisper.tokenizer import Tokenizer  # noqa: PLC0415

        if language not in self._tokenizers:
            self._tokenizers[language] = Tokenizer(
                self._whisper.hf_tokenizer,
                self._whisper.model.is_multilingual,
                task="transcribe",
                language=language,
            )
        return self._tokenizers[language]


def _joined(aligned: list[dict[str, Any]]) -> list[Word]:
    """Aligned words, with signs that stand alone put to the word before them."""
    words: list[Word] = []
    for entry in aligned:
        text = entry["word"].strip()
        start, end = round(float(entry["start"]), 2), round(float(entry["end"]), 2)
        if words and not any(char.isalnum() for char in text):
            last = words[-1]
            words[-1] = Word(last.word + text, last.start, end, last.probability)
        elif text:
            words.append(Word(text, start, end, round(float(entry["probability"]), 3)))
    return words
