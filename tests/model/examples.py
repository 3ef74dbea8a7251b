"""From generated windows to training examples: features, timed tokens and phonemes."""

import json
import pickle
import random
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from tests.model.windows import Row, Segment

MODEL = Path("config/demo/model")
FRAMES_PER_S = 100
LONG = 1100  # frames; a window longer than 11 s may be cut
CROP_FRAMES = (1000, 1000, 1000, 1500)

TOKENIZER = Tokenizer.from_file(str(MODEL / "tokenizer.json"))
VOCABULARY: list[str] = json.loads((MODEL / "vocabulary.json").read_text(encoding="utf-8"))

Interval = tuple[float, float]


class TimedText(NamedTuple):
    """A sentence as tokens with the seconds in which each is said.

    `end` is None for a sentence cut off by the end of the window.
    """

    start: float
    end: float | None
    tokens: list[int]
    intervals: list[Interval]


class Example(NamedTuple):
    """`features` has shape (80, frames)."""

    features: npt.NDArray[np.float16]
    language: str
    texts: list[TimedText]
    phonemes: str


def load_examples(path: Path, crop: float, rng: random.Random) -> Iterator[Example]:
    """The examples of a file of generate.py; `crop` is the share of long windows to cut."""
    rows: list[Row] = pickle.loads(path.read_bytes())  # noqa: S301 -- made by generate.py
    for features, language, segments, phonemes in rows:
        texts = [_timed(segment) for segment in segments]
        if crop and features.shape[1] > LONG and texts and rng.random() < crop:
            for _ in range(2):
                yield _cropped(features, language, texts, rng)
        else:
            yield Example(features, language, texts, phonemes)


def _timed(segment: Segment) -> TimedText:
    encoded = TOKENIZER.encode(" " + segment.text)
    intervals = [_interval(segment, last) for _, last in encoded.offsets]
    return TimedText(segment.start, segment.end, encoded.ids, intervals)


def _interval(segment: Segment, last: int) -> Interval:
    """When the word is said whose token ends before character `last`."""
    if not segment.words:
        return segment.start, max(segment.end, segment.start + 0.04)
    # Counted in " " + text, so the token's last character is text[last - 2].
    word = max((i for i, word in enumerate(segment.words) if word.position <= last - 2), default=0)
    begin = segment.words[word].time
    following = segment.words[word + 1 : word + 2]
    end = following[0].time if following else segment.end
    return max(segment.start, begin), max(min(end, segment.end), begin + 0.04)


def _cropped(
    features: npt.NDArray[np.float16],
    language: str,
    texts: list[TimedText],
    rng: random.Random,
) -> Example:
    """Ten or fifteen seconds, as faster-whisper meets them.

    They start in a pause and may end inside a sentence, which then keeps only its first timestamp,
    as in Whisper's own training data. The phonemes are dropped: which are left is not known.
    """
    first = rng.randrange(len(texts))
    previous_end = (texts[first - 1].end or 0.0) if first else 0.0
    earliest = max(previous_end, texts[first].start - 1.0)
    begin = int(FRAMES_PER_S * rng.uniform(earliest, texts[first].start))
    part = features[:, begin : begin + rng.choice(CROP_FRAMES)]
    limit = part.shape[1] / FRAMES_PER_S
    kept = []
    for text in texts[first:]:
        shifted = _shifted(text, begin / FRAMES_PER_S)
        whole = shifted.end is not None and shifted.end <= limit
        if whole or shifted.start < limit - 0.15:
            kept.append(shifted if whole else _cut_off(shifted, limit))
        if not whole:
            break
    return Example(np.ascontiguousarray(part), language, kept, "")


def _shifted(text: TimedText, offset: float) -> TimedText:
    intervals = [(begin - offset, end - offset) for begin, end in text.intervals]
    end = None if text.end is None else text.end - offset
    return TimedText(text.start - offset, end, text.tokens, intervals)


def _cut_off(text: TimedText, limit: float) -> TimedText:
    heard = sum(end < limit - 0.05 for _, end in text.intervals)
    return TimedText(text.start, None, text.tokens[:heard], text.intervals[:heard])
