"""Word error rate and time with the fitted and with the full window."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import jiwer
import numpy as np

from node.adapters.whisper import Clip
from tests.bench.engine.sounds import VOICES, engine, normalised, utterance
from tests.model.grammar import sentence

if TYPE_CHECKING:
    from tests.bench.engine.sounds import Samples

SNRS_DB = (10, 20, 40)
LENGTHS = (1, 2, 4)
"""Sentences in an utterance: about 2, 4 and 8 s."""


@dataclass
class _Way:
    texts: list[str] = field(default_factory=list)
    seconds: float = 0.0


def run(per_length: int) -> None:
    print("window: word error rate and time per utterance")
    for sentences in LENGTHS:
        rng, noise = random.Random(sentences), np.random.default_rng(sentences)
        ways = {"fit": _Way(), "full": _Way()}
        said: list[str] = []
        lengths = 0.0
        for _ in range(per_length):
            language = rng.choice(("en", "fr"))
            texts = tuple(sentence(language, rng) for _ in range(sentences))
            voice = rng.choice(VOICES[language])
            samples = utterance(texts, language, voice, rng.choice(SNRS_DB), noise)
            said.append(normalised(" ".join(texts)))
            lengths += len(samples) / 16000
            _hear(ways["fit"], samples, "fit")
            _hear(ways["full"], samples, "full")
        columns = "   ".join(
            f"{name} {100 * jiwer.wer(said, way.texts):5.1f} %"
            f" {1000 * way.seconds / per_length:5.0f} ms"
            for name, way in ways.items()
        )
        same = sum(a == b for a, b in zip(ways["fit"].texts, ways["full"].texts, strict=True))
        print(
            f"{lengths / per_length:4.1f} s  {columns}   equal {same} of {per_length}", flush=True
        )
    print(f"second looks with fit: {engine('fit').retries} of {per_length * len(LENGTHS)}")


def _hear(way: _Way, samples: Samples, window: Literal["fit", "full"]) -> None:
    began = time.perf_counter()
    heard = engine(window).transcribe(Clip(samples))
    way.seconds += time.perf_counter() - began
    way.texts.append(normalised(heard.text))
