"""Wrong languages for single words and sentences, with and without the speaker's history."""

from __future__ import annotations

import random
from collections import Counter
from typing import NamedTuple

import numpy as np

from node.adapters.whisper import Clip
from node.core.text.prior import LanguagePrior
from tests.bench.engine.sounds import VOICES, engine, utterance
from tests.model.grammar import sentence

WORDS = {
    "en": (
        *("Hello.", "Goodbye.", "Welcome.", "Six.", "Ten.", "Paul.", "Anna.", "Tomorrow."),
        *("Coffee.", "Radio.", "Music.", "Twelve.", "Today.", "Please."),
    ),
    "fr": (
        *("Bonjour.", "Salut.", "Merci.", "Six.", "Dix.", "Paul.", "Marie.", "Demain."),
        *("Café.", "Radio.", "Musique.", "Douze.", "Lundi.", "Bonsoir."),
    ),
}
OTHER = {"en": "fr", "fr": "en"}
SNRS_DB = (5, 10, 20)


class Speaker(NamedTuple):
    """A voice; `change` is the probability that it speaks the other language next."""

    language: str
    number: int
    change: float


def run(utterances: int) -> None:
    """Print the errors over `utterances` of each voice."""
    print("wrong languages                        alone       with the prior")
    for name, change in (("one language", 0.0), ("changes it, 3 in 10", 0.3)):
        found: Counter[tuple[str, str]] = Counter()
        for language, voices in VOICES.items():
            for number in range(len(voices)):
                found += _converse(Speaker(language, number, change), utterances)
        for kind in ("word", "sentence"):
            total = found[kind, "all"]
            alone, prior = (
                f"{found[kind, way]:4} ({100 * found[kind, way] / max(total, 1):4.1f} %)"
                for way in ("alone", "prior")
            )
            print(f"{name:20} {kind:9} {alone:>18} {prior:>18}   of {total}", flush=True)


def _converse(speaker: Speaker, utterances: int) -> Counter[tuple[str, str]]:
    """Transcribe one person both ways; return the errors by kind of utterance and way."""
    language, number, change = speaker
    rng, noise = random.Random(f"{speaker}"), np.random.default_rng(number)
    priors = LanguagePrior()
    found: Counter[tuple[str, str]] = Counter()
    for _ in range(utterances):
        if rng.random() < change:
            language = OTHER[language]
        kind = rng.choice(("word", "sentence"))
        text = rng.choice(WORDS[language]) if kind == "word" else sentence(language, rng)
        voice = VOICES[language][number]
        samples = utterance((text,), language, voice, rng.choice(SNRS_DB), noise)
        alone = engine().transcribe(Clip(samples))
        heard = engine().transcribe(Clip(samples, prior=priors.of("mic", "speaker")))
        priors.learn("mic", "speaker", heard)
        found[kind, "all"] += 1
        found[kind, "alone"] += alone.language != language
        found[kind, "prior"] += heard.language != language
    return found
