"""What a microphone's last utterances tell about the language of its next one.

Whisper tells English from French by the first seconds of an utterance; a short "OK" may be either.
The speaker's language is modelled as a chain of states (a hidden Markov model): it stays the same,
except for a chance of `SWITCH` between two utterances. Each utterance's own probabilities are
weighed with what the chain expects, and the result moves the chain on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from node.core.model import Transcription

SWITCH = 0.1
"""Chance that a speaker has changed language since the last utterance.

It limits the influence of the past: the expected language is at most 9 times likelier than another,
so a detection surer than 9 to 1 always decides."""

ENGLISH_EXCESS = 8.0
"""How much too likely Whisper takes English to be when it is not sure: two thirds of what it was
trained on were English (Radford et al. 2022).

Of 92 French utterances of at most 2.6 s, on the telephone and in front of a microphone, `base` took
23 for English; of 28 English ones it took none for French: those were 14 to 1 at least. With this
factor it is 13 of 92, and still none."""


@dataclass(frozen=True, slots=True)
class Prior:
    """The language expected, and how many times likelier it is than any other."""

    language: str
    odds: float


def calibrated(detected: Mapping[str, float]) -> dict[str, float]:
    """Whisper's probabilities of languages without its bias; they need not add up to 1."""
    return {code: p / ENGLISH_EXCESS if code == "en" else p for code, p in detected.items()}


def weighed(detected: Mapping[str, float], prior: Prior | None) -> dict[str, float]:
    """Probabilities of languages, from those detected and the one expected; their sum is 1.

    Args:
        detected: probability by language, not all of them 0; they need not add up to 1.
        prior: None if nothing is known.
    """
    odds = {prior.language: prior.odds} if prior else {}
    weights = {language: p * odds.get(language, 1.0) for language, p in detected.items()}
    total = sum(weights.values())
    return {language: weight / total for language, weight in weights.items()}


class LanguagePrior:
    """The state of each microphone's chain; it starts again when another person sits down there."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[str, Prior | None]] = {}

    def of(self, mic: str, speaker: str) -> Prior | None:
        """What to expect of a speaker at a microphone; None if nothing is known."""
        known, prior = self._last.get(mic, (None, None))
        return prior if known == speaker else None

    def learn(self, mic: str, speaker: str, heard: Transcription) -> None:
        """Take in what was heard; an utterance without words tells nothing."""
        if not heard.text:
            return
        stays = SWITCH + (1 - 2 * SWITCH) * heard.language_probability
        odds = stays / (1 - stays)
        self._last[mic] = (speaker, Prior(heard.language, odds) if odds > 1 else None)
