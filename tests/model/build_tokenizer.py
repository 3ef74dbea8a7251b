"""A small tokenizer in Whisper's layout: python -m tests.model.build_tokenizer FOLDER."""

import json
import random
import sys
from pathlib import Path
from typing import Any

from faster_whisper.tokenizer import _LANGUAGE_CODES
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from tests.model.grammar import GRAMMARS, sentence

SENTENCES = 30_000  # of each language, to count pairs of characters in
RANDOM_WORDS = 0.3
WORD_WEIGHT = 50  # so that every word of the grammar becomes one token, however rare
LARGEST = 4000  # tokens of text; min_frequency stops the merging long before
LAST_TIMESTAMP = 1500  # in steps of 0.02 s: 30 s

# Whisper's order of the parts, which the decoder's arithmetic on token numbers relies on. Within
# the languages the order is free: config.json lists their numbers.
SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|startoftranscript|>",
    *(f"<|{code}|>" for code in _LANGUAGE_CODES),
    "<|translate|>",
    "<|transcribe|>",
    "<|startoflm|>",
    "<|startofprev|>",
    "<|nospeech|>",
    "<|notimestamps|>",
)
TIMESTAMP_TOKENS = tuple(f"<|{step * 0.02:.2f}|>" for step in range(LAST_TIMESTAMP + 1))


def corpus() -> list[str]:
    rng = random.Random(1)
    sentences = [
        sentence(language, rng, RANDOM_WORDS) for language in GRAMMARS for _ in range(SENTENCES)
    ]
    words = {word for text in sentences for word in text.rstrip(".?").split()}
    return [
        *(f" {text}" for text in sentences),
        *(f" {word}" for word in sorted(words) for _ in range(WORD_WEIGHT)),
    ]


def train_text_tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=LARGEST,
        min_frequency=40,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus(), trainer)
    return tokenizer


def with_special_tokens(text_tokenizer: Tokenizer) -> tuple[Tokenizer, list[str]]:
    """The whole tokenizer, and its tokens by number."""
    content: dict[str, Any] = json.loads(text_tokenizer.to_str())
    text_tokens: dict[str, int] = content["model"]["vocab"]
    # CTranslate2 takes a Whisper model for multilingual if its vocabulary holds the empty string.
    text_tokens[""] = len(text_tokens)
    added = SPECIAL_TOKENS + TIMESTAMP_TOKENS
    content["added_tokens"] = [
        _added_token(len(text_tokens) + i, token) for i, token in enumerate(added)
    ]
    vocabulary = [*sorted(text_tokens, key=text_tokens.__getitem__), *added]
    return Tokenizer.from_str(json.dumps(content)), vocabulary


def _added_token(number: int, token: str) -> dict[str, object]:
    return {
        "id": number,
        "content": token,
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        "normalized": False,
        "special": token not in TIMESTAMP_TOKENS,
    }


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer, vocabulary = with_special_tokens(train_text_tokenizer())
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    content = json.dumps(vocabulary, ensure_ascii=False)
    (folder / "vocabulary.json").write_text(content, encoding="utf-8")
    print(f"{folder}: {len(vocabulary)} tokens")


if __name__ == "__main__":
    main()
