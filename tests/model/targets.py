"""What the decoder is taught: prompts, timestamps and text in Whisper's format, and batches."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from tests.model.examples import VOCABULARY, Example, Interval, TimedText

_NUMBERS = {token: i for i, token in enumerate(VOCABULARY) if token.startswith("<|")}
START = _NUMBERS["<|startoftranscript|>"]
END = _NUMBERS["<|endoftext|>"]
TRANSCRIBE = _NUMBERS["<|transcribe|>"]
NO_TIMESTAMPS = _NUMBERS["<|notimestamps|>"]
NO_SPEECH = _NUMBERS["<|nospeech|>"]
PREVIOUS = _NUMBERS["<|startofprev|>"]
FIRST_TIMESTAMP = _NUMBERS["<|0.00|>"]
LAST_TIMESTAMP = 1500  # steps of 0.02 s

UNTAUGHT = -1  # label of a token that is given, not learned
LONGEST_PROMPT = 180  # tokens
WINDOW_FRAMES = 3000
PHONEMES: dict[str, int] = json.loads(
    (Path(__file__).parent / "phones.json").read_text(encoding="utf-8")
)


def timestamp(seconds: float) -> int:
    return FIRST_TIMESTAMP + max(0, min(LAST_TIMESTAMP, round(seconds / 0.02)))


class Step(NamedTuple):
    """One position of the decoder: the token it reads, the one it should give, and when."""

    read: int
    label: int
    interval: Interval | None


class Token(NamedTuple):
    """A token to give; `read_as` stands in its place in the input of the next step."""

    number: int
    interval: Interval | None = None
    read_as: int | None = None


class Batch(NamedTuple):
    """`features` (batch, 80, frames); the others but `phonemes` (batch, step).

    `begin` and `end` are the seconds in which the label is said, -1 where that is not known.
    """

    features: Tensor
    read: Tensor
    labels: Tensor
    begin: Tensor
    end: Tensor
    phonemes: list[list[int]]


def draw_steps(example: Example, rng: random.Random, pool: list[Example]) -> list[Step]:
    """The steps of one example, with a prompt of other sentences in a fifth of the cases."""
    steps = []
    if rng.random() < 0.2:
        prompt = _draw_prompt(rng, pool)
        if prompt:
            prompt = [PREVIOUS, *prompt[-LONGEST_PROMPT:]]
        steps += [Step(token, UNTAUGHT, None) for token in prompt]
    language = _NUMBERS[f"<|{example.language}|>"]
    steps.append(Step(START, language if example.texts else NO_SPEECH, None))
    steps.append(Step(language, UNTAUGHT, None))
    if rng.random() < 0.55:
        last, tokens = TRANSCRIBE, _with_timestamps(example.texts, rng)
    else:
        steps.append(Step(TRANSCRIBE, UNTAUGHT, None))
        last, tokens = NO_TIMESTAMPS, [token for text in example.texts for token in _tokens(text)]
    for token in [*tokens, Token(END)]:
        steps.append(Step(last, token.number, token.interval))
        last = token.number if token.read_as is None else token.read_as
    return steps


def _draw_prompt(rng: random.Random, pool: list[Example]) -> list[int]:
    timed = rng.random() < 0.5
    prompt: list[int] = []
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        for text in rng.choice(pool).texts:
            prompt += [timestamp(text.start)] * timed + text.tokens
            if text.end is not None:
                prompt += [timestamp(text.end)] * timed
    if rng.random() < 0.2:
        prompt = prompt[rng.randrange(max(1, len(prompt))) :]
    return prompt


def _tokens(text: TimedText) -> list[Token]:
    return [Token(*timed) for timed in zip(text.tokens, text.intervals, strict=True)]


def _with_timestamps(texts: list[TimedText], rng: random.Random) -> list[Token]:
    tokens = []
    for i, text in enumerate(texts):
        # A decoder bound to begin within the first second (max_initial_timestamp) reads such a
        # time although the speech comes later; it must find the text all the same.
        late = i == 0 and text.start > 1.0 and rng.random() < 0.7
        read_as = timestamp(rng.choice((1.0, 1.0, 0.0, rng.uniform(0, 1)))) if late else None
        tokens.append(Token(timestamp(text.start), (text.start, text.start + 0.1), read_as))
        if text.end is None and i > 0:
            break
        tokens += _tokens(text)
        if text.end is not None:
            tokens.append(Token(timestamp(text.end), (text.end - 0.1, text.end)))
    if not texts:
        tokens.append(Token(timestamp(rng.choice((0.0, 0.0, rng.uniform(0, 1))))))
    return tokens


def shuffled_batches(
    examples: list[Example], size: int, rng: random.Random
) -> Iterator[list[Example]]:
    """Batches without end; a dozen are sorted by length together, so that little is padding."""
    while True:
        order = list(range(len(examples)))
        rng.shuffle(order)
        for begin in range(0, len(order), size * 12):
            chunk = sorted(
                order[begin : begin + size * 12], key=lambda i: examples[i].features.shape[1]
            )
            batches = [chunk[i : i + size] for i in range(0, len(chunk), size)]
            rng.shuffle(batches)
            for batch in batches:
                yield [examples[i] for i in batch]


class Collator:
    """Turns examples into tensors, with features changed a little each time.

    `pool` is where prompts come from; `least_frames` pads short batches.
    """

    def __init__(
        self,
        pool: list[Example],
        rng: random.Random,
        noise: np.random.Generator,
        least_frames: int,
    ) -> None:
        self._pool = pool
        self._rng = rng
        self._noise = noise
        self._least_frames = least_frames

    def collate(self, examples: list[Example]) -> Batch:
        frames = self._draw_frames(examples)
        rows = [draw_steps(example, self._rng, self._pool) for example in examples]
        features = np.zeros((len(examples), 80, frames), np.float32)
        shape = len(rows), max(len(row) for row in rows)
        read, labels = np.full(shape, END), np.full(shape, UNTAUGHT)
        begin, end = np.full(shape, -1.0), np.full(shape, -1.0)
        for i, (example, row) in enumerate(zip(examples, rows, strict=True)):
            features[i, :, : example.features.shape[1]] = self._draw_features(example)
            for j, step in enumerate(row):
                read[i, j], labels[i, j] = step.read, step.label
                begin[i, j], end[i, j] = step.interval or (-1.0, -1.0)
        return Batch(
            torch.from_numpy(features),
            torch.from_numpy(read),
            torch.from_numpy(labels),
            torch.from_numpy(begin),
            torch.from_numpy(end),
            [_phonemes(example) for example in examples],
        )

    def _draw_frames(self, examples: list[Example]) -> int:
        longest = max(int(example.features.shape[1]) for example in examples)
        frames = max(longest + self._rng.randint(0, 60), self._least_frames)
        return min(WINDOW_FRAMES, frames + frames % 2)

    def _draw_features(self, example: Example) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        """Sometimes a masked band, another level, noise."""
        rng = self._rng
        features = example.features.astype(np.float32)
        if rng.random() < 0.5:
            height = rng.randint(0, 9)
            low = rng.randint(0, 79 - height)
            fill = features.min() if rng.random() < 0.5 else features.mean()
            features[low : low + height] = fill
        if rng.random() < 0.3:
            features += rng.uniform(-0.15, 0.1)
        if rng.random() < 0.3:
            noise = self._noise.standard_normal(features.shape).astype(np.float32)
            features += noise * rng.uniform(0, 0.08)
        return features


def _phonemes(example: Example) -> list[int]:
    return [PHONEMES[symbol] for symbol in example.phonemes if symbol in PHONEMES]
