"""`transcribe --compare-window`: what the fitted window does to your own recordings."""

from __future__ import annotations

import time
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Literal, Protocol

from node.adapters.whisper import Clip
from node.core.model import SAMPLE_RATE
from node.core.text.hallucination import plain_words

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    import numpy.typing as npt

    from node.adapters.whisper import Engine

WINDOWS: tuple[Literal["fit"], Literal["full"]] = ("fit", "full")


class RecordedSpeech(Protocol):
    """An utterance; `start` is in samples from the beginning of the recording."""

    @property
    def speaker(self) -> str: ...
    @property
    def start(self) -> int: ...
    @property
    def samples(self) -> npt.NDArray[np.int16]: ...


def compare(engine: Engine, utterances: Iterable[RecordedSpeech], language: str | None) -> None:
    """Print each utterance whose words differ, then how many do and how long each window took."""
    count = differing = words = changed = 0
    length_s = 0.0
    took = dict.fromkeys(WINDOWS, 0.0)
    for utterance in utterances:
        texts = []
        for window in WINDOWS:
            began = time.perf_counter()
            texts.append(engine.transcribe(Clip(utterance.samples, language), window=window).text)
            took[window] += time.perf_counter() - began
        count += 1
        length_s += len(utterance.samples) / SAMPLE_RATE
        words += len(plain_words(texts[1]).split())
        difference = words_changed(*texts)
        changed += difference
        if difference:
            differing += 1
            print(_difference(utterance, texts))
    print(
        f"{count} utterances, {length_s:.0f} s: {differing} differ, in {changed} of {words} words\n"
        f"fit took {took['fit']:.1f} s ({engine.retries} second looks over the full window),"
        f" full {took['full']:.1f} s"
    )


def words_changed(one: str, other: str) -> int:
    """Return how many words differ between two texts, ignoring case, accents and punctuation."""
    first, second = plain_words(one).split(), plain_words(other).split()
    steps = SequenceMatcher(None, first, second, autojunk=False).get_opcodes()
    return sum(max(b - a, d - c) for kind, a, b, c, d in steps if kind != "equal")


def _difference(utterance: RecordedSpeech, texts: list[str]) -> str:
    minutes, seconds = divmod(utterance.start / SAMPLE_RATE, 60)
    head = f"{minutes:.0f}:{seconds:04.1f} {utterance.speaker}"
    return "\n".join([head, *(f"  {w}: {t or '-'}" for w, t in zip(WINDOWS, texts, strict=True))])
