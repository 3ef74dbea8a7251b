"""What names given as hotwords do to sentences with those names, and to others."""

from __future__ import annotations

import random

import jiwer
import numpy as np

from node.adapters.whisper import Clip
from tests.bench.engine.sounds import VOICES, engine, normalised, utterance
from tests.model.grammar import sentence

NAMES = ("Anna", "Marie", "Paul")
SNR_DB = 10


def run(count: int) -> None:
    print("names as hotwords          without    with")
    rng, noise = random.Random(1), np.random.default_rng(1)
    drawn = [(lang, sentence(lang, rng)) for lang in ("en", "fr") for _ in range(40 * count)]
    for kind, named in (("with a name", True), ("without", False)):
        chosen = [pair for pair in drawn if any(n in pair[1] for n in NAMES) is named]
        rng.shuffle(chosen)
        said = [normalised(text) for _, text in chosen[:count]]
        sounds = [
            utterance((text,), language, rng.choice(VOICES[language]), SNR_DB, noise)
            for language, text in chosen[:count]
        ]
        texts = [
            [normalised(engine().transcribe(Clip(s, hotwords=words)).text) for s in sounds]
            for words in (None, ", ".join(NAMES))
        ]
        rates = [f"{100 * jiwer.wer(said, way):5.1f} %" for way in texts]
        print(f"sentences {kind:12} WER {rates[0]:>9} {rates[1]:>9}   of {len(said)}")
        right = [
            sum(_names(a) == _names(b) for a, b in zip(said, way, strict=True)) for way in texts
        ]
        print(f"{'':15} names right {right[0]:7} {right[1]:9}", flush=True)


def _names(text: str) -> list[str]:
    return [word for word in text.split() if word.capitalize() in NAMES]
