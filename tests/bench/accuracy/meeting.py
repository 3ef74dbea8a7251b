"""Who says what, when: meetings drawn from a seed, spoken by espeak-ng."""

from __future__ import annotations

import functools
import random
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from node.core.model import SAMPLE_RATE
from tests.model.grammar import sentence
from tests.model.say import say

Sound = npt.NDArray[np.float32]

LEAD_S, TAIL_S = 1.0, 1.5
GAP_S = (0.15, 0.9)
"""Silence between turns: most gaps between turns of talk are below 1 s (Stivers et al. 2009)."""
OVERLAP_S = (0.5, 1.8)
OWN_GAP_S = 0.25
ANSWERED = 0.15
"""Share of turns into which another says a short word."""

SHORT = {"en": ("Hello.", "Welcome.", "Good morning."), "fr": ("Salut.", "Bonjour.", "Bienvenue.")}
"""The shortest that the demonstration model knows: it has no "yes" and no "oui"."""

VOICES = {
    "tuning": (
        *(("en", "en-us"), ("fr", "fr-fr+m3"), ("en", "en-gb+m3"), ("fr", "fr-fr+f5")),
        *(("en", "en-us+f4"), ("fr", "fr-be"), ("en", "en-us+m2"), ("fr", "fr-fr+m1")),
    ),
    "report": (
        *(("en", "en-gb"), ("fr", "fr-fr"), ("en", "en-us+f3"), ("fr", "fr-fr+f1")),
        *(("en", "en-us+f1"), ("fr", "fr-fr+m5"), ("en", "en-gb+m1"), ("fr", "fr-be+f2")),
    ),
}
"""Language and voice of each seat; those of one set are tuned on, those of the other reported."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """One sentence: `start` and `end` in seconds, `sound` with a peak of -6 dBFS."""

    speaker: int
    start: float
    text: str
    sound: Sound

    @property
    def end(self) -> float:
        return self.start + len(self.sound) / SAMPLE_RATE


@dataclass(frozen=True, slots=True)
class Plan:
    """What a meeting is drawn from. `overlap` is a share of the speech."""

    seed: int
    speakers: int
    overlap: float
    length_s: float
    voices: str = "report"


def converse(plan: Plan) -> list[Spoken]:
    """Draw the sentences of a meeting, in the order in which they begin."""
    rng = random.Random(plan.seed)
    table = _Table(plan, rng)
    last = -1
    while table.end < plan.length_s:
        speaker = rng.choice([s for s in range(plan.speakers) if s != last])
        for _ in range(rng.choice((1, 1, 2))):
            table.speak(speaker)
        if plan.overlap and rng.random() < ANSWERED:
            table.answer(rng.choice([s for s in range(plan.speakers) if s != speaker]))
        last = speaker
    return sorted(table.said, key=lambda spoken: spoken.start)


class _Table:
    def __init__(self, plan: Plan, rng: random.Random) -> None:
        self._plan = plan
        self._rng = rng
        self._style = [(rng.randint(155, 175), rng.randint(40, 60)) for _ in range(plan.speakers)]
        self.said: list[Spoken] = []
        self._speech = self._overlapped = 0.0
        self.end = LEAD_S

    def speak(self, speaker: int) -> None:
        language = VOICES[self._plan.voices][speaker][0]
        start = self.end + self._rng.uniform(*GAP_S)
        same = self.said and self.said[-1].speaker == speaker
        if not same and self.said and self._overlapped < self._plan.overlap * self._speech:
            start = self.end - self._rng.uniform(*OVERLAP_S)
        self._add(speaker, sentence(language, self._rng), max(LEAD_S, start))

    def answer(self, speaker: int) -> None:
        """A short word into the turn of another."""
        turn = self.said[-1]
        text = self._rng.choice(SHORT[VOICES[self._plan.voices][speaker][0]])
        self._add(
            speaker,
            text,
            self._rng.uniform(turn.start + 0.3, max(turn.end - 0.5, turn.start + 0.4)),
        )

    def _add(self, speaker: int, text: str, start: float) -> None:
        free = max((s.end + OWN_GAP_S for s in self.said if s.speaker == speaker), default=0.0)
        sound = _speech(text, *VOICES[self._plan.voices][speaker], *self._style[speaker])
        spoken = Spoken(speaker, max(start, free), text, sound)
        self._speech += spoken.end - spoken.start
        self._overlapped += max(0.0, min(self.end, spoken.end) - spoken.start)
        self.end = max(self.end, spoken.end)
        self.said.append(spoken)


@functools.cache
def _speech(text: str, language: str, voice: str, speed: int, pitch: int) -> Sound:
    samples = say(text, language, voice, SAMPLE_RATE, speed=speed, pitch=pitch)
    return (samples / 32768).astype(np.float32)
