"""From an encoding to a text: the prompt, the search, and the times of the words."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from node.core.hallucination import Said
from node.core.loops import UNSPACED
from node.core.model import Word
from node.core.word_times import without_pauses

if TYPE_CHECKING:
    from collections.abc import Sequence

    from node.adapters.whisper.opening import EngineSettings

FRAMES_PER_S = 100
"""Mel frames in a second of sound."""

TOKENS_PER_S = 6.5
TOKENS_PER_S_OTHER_SCRIPTS = 13.0
SPARE_TOKENS = 16
"""Cap on tokens for a duration (from Moonshine's); what runs into it is a loop, not speech."""

_OTHER_SCRIPTS = (
    "am ar as be bg bn bo el fa gu he hi hy ja ka kk km kn ko lo mk ml mn mr my ne pa ps ru sa sd"
    " si sr ta te tg th uk ur yi yue zh"
)
OTHER_SCRIPTS = frozenset(_OTHER_SCRIPTS.split())


@dataclass(frozen=True, slots=True)
class Request:
    """How an utterance is decoded; `frames` is the length of its sound in mel frames."""

    language: str
    frames: int
    beam_size: int
    hotwords: str | None

    @property
    def cap(self) -> int:
        """Tokens that may be written."""
        other = self.language in OTHER_SCRIPTS
        rate = TOKENS_PER_S_OTHER_SCRIPTS if other else TOKENS_PER_S
        return math.ceil(self.frames / FRAMES_PER_S * rate) + SPARE_TOKENS


class Decoder:
    """Writes what a `faster_whisper.WhisperModel` has encoded."""

    def __init__(self, whisper: Any, settings: EngineSettings) -> None:
        self._whisper = whisper
        self._settings = settings
        self._tokenizers: dict[str, Any] = {}

    def decode(self, encoding: Any, request: Request) -> Said:
        """The likeliest text: one search without sampling, of bounded length."""
        return self._search(encoding, [request])[0]

    def decode_together(self, encoded: Sequence[tuple[Any, Request]]) -> list[Said]:
        """One search for all encodings of one width whose prompts are of one length.

        What has a fault is searched for again, alone: among others the longest of the caps holds.
        """
        groups: dict[tuple[int, int], list[int]] = {}
        for index, (encoding, request) in enumerate(encoded):
            shape = encoding.shape[1], len(self._prompt(request))
            groups.setdefault(shape, []).append(index)
        said: dict[int, Said] = {}
        for group in groups.values():
            said.update(zip(group, self._searched([encoded[n] for n in group]), strict=True))
        return [said[n] for n in range(len(encoded))]

    def _searched(self, encoded: Sequence[tuple[Any, Request]]) -> list[Said]:
        found = self._search(_stacked([each for each, _ in encoded]), [each for _, each in encoded])
        if len(encoded) == 1:
            return found
        return [
            self.decode(*each) if said.faults else said
            for each, said in zip(encoded, found, strict=True)
        ]

    def _search(self, encoding: Any, requests: Sequence[Request]) -> list[Said]:
        prompts = [self._prompt(request) for request in requests]
        cap = max(request.cap for request in requests)
        results = self._whisper.model.generate(
            encoding,
            prompts,
            beam_size=requests[0].beam_size,
            # CTranslate2 writes at most half of this, and what the prompt has left of it.
            max_length=min(self._whisper.max_length, max(2 * cap, len(prompts[0]) + cap)),
            return_scores=True,
            return_no_speech_prob=True,
        )
        # A cap that CTranslate2 cannot reach, of long speech in other scripts, would tell nothing.
        most = min(self._whisper.max_length // 2, self._whisper.max_length - len(prompts[0]))
        return [self._said(*each, most) for each in zip(results, requests, strict=True)]

    def _said(self, result: Any, request: Request, most: int) -> Said:
        tokenizer = self._tokenizer(request.language)
        tokens = [token for token in result.sequences_ids[0] if token < tokenizer.eot]
        length = len(result.sequences_ids[0])
        return Said(
            text=tokenizer.decode(tokens).strip(),
            language=request.language,
            seconds=request.frames / FRAMES_PER_S,
            log_probability=result.scores[0] * length / (length + 1),
            no_speech=result.no_speech_prob,
            capped=len(tokens) >= min(request.cap, most),
        )

    def words(self, encoding: Any, text: str, request: Request) -> tuple[Word, ...]:
        """The words of a text with their times."""
        tokenizer = self._tokenizer(request.language)
        tokens = tokenizer.encode(text if request.language in UNSPACED else f" {text}")
        aligned = self._whisper.find_alignment(tokenizer, [tokens], encoding, request.frames)
        return without_pauses(_joined(aligned[0]))

    def _prompt(self, request: Request) -> list[int]:
        """Hotwords, the initial prompt, the language and the task; never what was said before.

        What goes beyond half of Whisper's positions is left out: faster-whisper bounds hotwords and
        prompt each by itself, and both together would leave no room for the text.
        """
        settings, tokenizer = self._settings, self._tokenizer(request.language)
        words = [*settings.hotwords, *([request.hotwords] if request.hotwords else [])]
        initial = tokenizer.encode(f" {settings.initial_prompt}") if settings.initial_prompt else []
        tokens: list[int] = self._whisper.get_prompt(
            tokenizer, initial, without_timestamps=True, hotwords=", ".join(words) or None
        )
        task = len(tokens) - len(tokenizer.sot_sequence) - 1
        return [*tokens[: min(task, self._whisper.max_length // 2)], *tokens[task:]]

    def _tokenizer(self, language: str) -> Any:
        from faster_whisper.tokenizer import Tokenizer  # noqa: PLC0415  (slow to import)

        if language not in self._tokenizers:
            self._tokenizers[language] = Tokenizer(
                self._whisper.hf_tokenizer,
                self._whisper.model.is_multilingual,
                task="transcribe",
                language=language,
            )
        return self._tokenizers[language]


def _stacked(encodings: Sequence[Any]) -> Any:
    """Encodings, each of shape (1, positions, width), as one batch."""
    if len(encodings) == 1:
        return encodings[0]
    from ctranslate2 import StorageView  # noqa: PLC0415  (slow to import)

    return StorageView.from_array(np.concatenate([np.array(each) for each in encodings]))


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
