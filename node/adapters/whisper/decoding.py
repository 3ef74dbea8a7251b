"""From an encoding to a text: the prompt, the search, and the times of the words."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from node.core.model import Word
from node.core.text.hallucination import Said
from node.core.text.languages import UNSPACED
from node.core.text.word_times import FRAMES_PER_S

if TYPE_CHECKING:
    from collections.abc import Sequence

    from node.adapters.whisper.opening import EngineSettings

TOKENS_PER_S = 6.5
TOKENS_PER_S_OTHER_SCRIPTS = 13.0
SPARE_TOKENS = 16
"""Cap on tokens for a duration (after Moonshine's): a text that reaches it is a loop."""

_OTHER_SCRIPTS = (
    "am ar as be bg bn bo el fa gu he hi hy ja ka kk km kn ko lo mk ml mn mr my ne pa ps ru sa sd"
    " si sr ta te tg th uk ur yi yue zh"
)
OTHER_SCRIPTS = frozenset(_OTHER_SCRIPTS.split())

LEADING = re.compile(r"^[.,;:!?]+\s+")
"""Punctuation that ends the earlier text rather than beginning the new one."""

MAX_PREFIX = 96
"""Most tokens of earlier text before an utterance: about 15 s of speech. CTranslate2 counts them
among the 224 that it writes, and the new text needs room too."""


@dataclass(frozen=True, slots=True)
class DecodeRequest:
    """How to decode an utterance; `frames` is the length of its sound in mel frames.

    The encoding starts with `lead` mel frames of earlier speech, whose text is `before`; the
    decoder continues from it.
    """

    language: str
    frames: int
    beam_size: int
    hotwords: str | None
    lead: int = 0
    before: str = ""

    @property
    def cap(self) -> int:
        """Most tokens that may be written."""
        other = self.language in OTHER_SCRIPTS
        rate = TOKENS_PER_S_OTHER_SCRIPTS if other else TOKENS_PER_S
        return math.ceil(self.frames / FRAMES_PER_S * rate) + SPARE_TOKENS


class Decoder:
    """Turns what a `faster_whisper.WhisperModel` has encoded into text."""

    def __init__(self, whisper: Any, settings: EngineSettings) -> None:
        self._whisper = whisper
        self._settings = settings
        self._tokenizers: dict[str, Any] = {}

    def decode(self, encoding: Any, request: DecodeRequest) -> Said:
        """Return the likeliest text: one search without sampling, of bounded length."""
        return self._search(encoding, [request])[0]

    def decode_together(self, encoded: Sequence[tuple[Any, DecodeRequest]]) -> list[Said]:
        """Decode encodings of one width, with prompts and prefixes of one length, in one search.

        A text with a fault is decoded again alone: together, the longest cap holds for all.
        """
        groups: dict[tuple[int, int, int], list[int]] = {}
        for index, (encoding, request) in enumerate(encoded):
            prefix = self.prefix(request.language, request.before)
            shape = encoding.shape[1], len(self._prompt(request)), len(prefix)
            groups.setdefault(shape, []).append(index)
        said: dict[int, Said] = {}
        for group in groups.values():
            said.update(zip(group, self._searched([encoded[n] for n in group]), strict=True))
        return [said[n] for n in range(len(encoded))]

    def _searched(self, encoded: Sequence[tuple[Any, DecodeRequest]]) -> list[Said]:
        found = self._search(_stacked([each for each, _ in encoded]), [each for _, each in encoded])
        if len(encoded) == 1:
            return found
        return [
            self.decode(*each) if said.faults else said
            for each, said in zip(encoded, found, strict=True)
        ]

    def _search(self, encoding: Any, requests: Sequence[DecodeRequest]) -> list[Said]:
        prompts = [self._prompt(request) for request in requests]
        prefixes = [self.prefix(request.language, request.before) for request in requests]
        cap = max(request.cap for request in requests) + len(prefixes[0])
        results = self._whisper.model.generate(
            encoding,
            [prompt + prefix for prompt, prefix in zip(prompts, prefixes, strict=True)],
            beam_size=requests[0].beam_size,
            # CTranslate2 writes at most half of this, and no more than the prompt leaves of it.
            max_length=min(self._whisper.max_length, max(2 * cap, len(prompts[0]) + cap)),
            return_scores=True,
            return_no_speech_prob=True,
        )
        # For long speech in other scripts the cap may be more than CTranslate2 can write.
        most = min(self._whisper.max_length // 2, self._whisper.max_length - len(prompts[0]))
        lengths = [len(prefix) for prefix in prefixes]
        return [self._said(*each, most) for each in zip(results, requests, lengths, strict=True)]

    def _said(self, result: Any, request: DecodeRequest, prefix: int, most: int) -> Said:
        """Return what a result adds to its prefix.

        CTranslate2's score is the mean over the tokens, without the end of text but including the
        `prefix` forced ones, whose probability is 1.
        """
        tokenizer = self._tokenizer(request.language)
        written = result.sequences_ids[0]
        tokens = [token for token in written[prefix:] if token < tokenizer.eot]
        text = tokenizer.decode(tokens).strip()
        if not any(char.isalnum() for char in text):
            text = ""  # a sign alone, of what stands before
        return Said(
            text=LEADING.sub("", text) if prefix else text,
            language=request.language,
            seconds=request.frames / FRAMES_PER_S,
            log_probability=result.scores[0] * len(written) / (len(written) - prefix + 1),
            no_speech=result.no_speech_prob,
            capped=len(tokens) >= min(request.cap, most - prefix),
        )

    def prefix(self, language: str, text: str) -> list[int]:
        """Return the tokens of a text from which the decoder continues."""
        return self._text_tokens(language, text) if text else []

    def words(self, encoding: Any, text: str, request: DecodeRequest) -> list[Word]:
        """Return the aligned words of a text, in seconds from where its own sound begins."""
        tokenizer = self._tokenizer(request.language)
        before = self.prefix(request.language, request.before)
        tokens = before + self._text_tokens(request.language, text)
        frames = request.lead + request.frames
        aligned = self._whisper.find_alignment(tokenizer, [tokens], encoding, frames)[0]
        passed = 0
        while passed < len(before):
            passed += len(aligned.pop(0)["tokens"])
        spaced = request.language not in UNSPACED
        return _joined(aligned, request.lead / FRAMES_PER_S, spaced=spaced)

    def _text_tokens(self, language: str, text: str) -> list[int]:
        spaced = text if language in UNSPACED else f" {text}"
        tokens: list[int] = self._tokenizer(language).encode(spaced)
        return tokens

    def _prompt(self, request: DecodeRequest) -> list[int]:
        """Return hotwords, initial prompt, language and task; never what was said before.

        They are cut to half of Whisper's positions: faster-whisper limits hotwords and prompt
        separately, and both together would leave no room for the text.
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
    """Return encodings, each of shape (1, positions, width), as one batch."""
    if len(encodings) == 1:
        return encodings[0]
    from ctranslate2 import StorageView  # noqa: PLC0415  (slow to import)

    return StorageView.from_array(np.concatenate([np.array(each) for each in encodings]))


def _joined(aligned: list[dict[str, Any]], lead_s: float, *, spaced: bool) -> list[Word]:
    """Return aligned words; what goes on the word before is added to it.

    Punctuation that stands alone does. So does, where words are `spaced`, what no space separates
    from it: faster-whisper divides "d'entrée" and "fait-il". Such a word is as sure as the least
    sure of its parts.
    """
    words: list[Word] = []
    after_space = False
    for entry in aligned:
        text = entry["word"].strip()
        after_space = after_space or entry["word"][:1].isspace()
        start, end = (max(0.0, round(float(entry[at]) - lead_s, 2)) for at in ("start", "end"))
        probability = round(float(entry["probability"]), 3)
        if words and not any(char.isalnum() for char in text):
            words[-1] = replace(words[-1], word=words[-1].word + text, end=end)
        elif words and spaced and not after_space:
            least = min(words[-1].probability, probability)
            words[-1] = replace(words[-1], word=words[-1].word + text, end=end, probability=least)
        elif text:
            words.append(Word(text, start, end, probability))
            after_space = False
    return words
