"""Who says what, and when: random meetings of recorded speech or espeak-ng's voices."""

from __future__ import annotations

import functools
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from node.core.model import SAMPLE_RATE
from tests.bench.speech import LANGUAGES, ONE, TWO, SpeechError, level
from tests.model.grammar import sentence
from tests.model.say import say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.bench.speech import Recording

Sound = npt.NDArray[np.float32]

LEAD_S, TAIL_S = 1.0, 1.5
GAP_S = (0.15, 0.9)
"""Silence between turns: most gaps between turns of talk are below 1 s (Stivers et al. 2009)."""
OVERLAP_S = (0.5, 1.8)
OWN_GAP_S = 0.25
ANSWERED = 0.15
"""Share of turns during which somebody else says something short."""

ANSWER_S = 4.0
"""Seconds of the longest recorded utterance that is said into the turn of another."""

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
"""Language and voice of each seat; one set is for tuning, the other for reported results."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """A sentence: `start` and `end` in seconds, `sound` with a peak of -6 dBFS."""

    speaker: int
    start: float
    text: str
    sound: Sound

    @property
    def end(self) -> float:
        return self.start + len(self.sound) / SAMPLE_RATE


@dataclass(frozen=True, slots=True)
class Plan:
    """The parameters of a random meeting.

    `overlap` is a share of the speech; `languages` is as in `tests.bench.speech.seats`.
    """

    seed: int
    speakers: int
    overlap: float
    length_s: float
    voices: str = "report"
    languages: str | None = None


Said = tuple[str, Sound]
"""A text and how it sounds, with a peak of -6 dBFS."""


class Voice(Protocol):
    """A person at the table."""

    @property
    def silent(self) -> bool:
        """Whether there is nothing more to say."""

    def speak(self, rng: random.Random) -> Said: ...

    def answer(self, rng: random.Random) -> Said | None:
        """Return something short, if there is anything."""


class Synthetic:
    """Sentences that the demonstration model knows, spoken by espeak-ng."""

    silent = False

    def __init__(self, language: str, voice: str, speed: int, pitch: int) -> None:
        self._language = language
        self._style = language, voice, speed, pitch

    def speak(self, rng: random.Random) -> Said:
        text = sentence(self._language, rng)
        return text, _speech(text, *self._style)

    def answer(self, rng: random.Random) -> Said:
        text = rng.choice(SHORT[self._language])
        return text, _speech(text, *self._style)


class Recorded:
    """A person's recorded utterances, each once, in order, starting with the `first`."""

    def __init__(self, said: Sequence[Recording], first: int) -> None:
        self._left = [*said[first:], *said[:first]]

    @property
    def silent(self) -> bool:
        return not self._left

    def speak(self, _rng: random.Random) -> Said:
        recording = self._left.pop(0)
        return recording.text, level(recording.samples)

    def answer(self, rng: random.Random) -> Said | None:
        """Return the next one, if it is short: out of order, they would make no sense."""
        if self.silent or self._left[0].seconds > ANSWER_S:
            return None
        return self.speak(rng)


def converse(plan: Plan, recorded: Sequence[Sequence[Recording]] | None = None) -> list[Spoken]:
    """Draw the sentences of a meeting, in the order in which they begin.

    With `recorded` utterances for each speaker, it ends at the latest when they are used up.
    """
    rng = random.Random(plan.seed)
    table = _Table(plan, _voices(plan, rng, recorded))
    last = -1
    while table.end < plan.length_s and (able := table.able()):
        speaker = rng.choice([s for s in able if s != last] or able)
        for _ in range(rng.choice((1, 1, 2))):
            table.speak(speaker, rng)
        if plan.overlap and rng.random() < ANSWERED:
            table.answer(rng.choice([s for s in range(plan.speakers) if s != speaker]), rng)
        last = speaker
    return sorted(table.said, key=lambda spoken: spoken.start)


def _voices(
    plan: Plan, rng: random.Random, recorded: Sequence[Sequence[Recording]] | None
) -> list[Voice]:
    if recorded is not None:
        return [Recorded(said, rng.randrange(len(said))) for said in recorded]
    styles = [(rng.randint(155, 175), rng.randint(40, 60)) for _ in range(plan.speakers)]
    each = zip(synthetic(plan), styles, strict=True)
    return [Synthetic(*seat, *style) for seat, style in each]


def synthetic(plan: Plan) -> list[tuple[str, str]]:
    """Return the language and voice of each seat, for a meeting without recordings.

    Raises:
        SpeechError: there are fewer voices.
    """
    able = list(VOICES[plan.voices])  # the languages take turns already
    if plan.languages not in (None, TWO):
        rng = random.Random(plan.seed)
        wanted = rng.choice(LANGUAGES) if plan.languages == ONE else plan.languages
        able = [seat for seat in able if seat[0] == wanted]
    if len(able) < plan.speakers:
        raise SpeechError(f"{plan.speakers} people are needed; there are {len(able)} voices")
    return able[: plan.speakers]


class _Table:
    def __init__(self, plan: Plan, voices: Sequence[Voice]) -> None:
        self._plan = plan
        self._voices = voices
        self.said: list[Spoken] = []
        self._speech = self._overlapped = 0.0
        self.end = LEAD_S

    def able(self) -> list[int]:
        """Return who has something left to say."""
        return [number for number, voice in enumerate(self._voices) if not voice.silent]

    def speak(self, speaker: int, rng: random.Random) -> None:
        if self._voices[speaker].silent:
            return
        start = self.end + rng.uniform(*GAP_S)
        same = self.said and self.said[-1].speaker == speaker
        if not same and self.said and self._overlapped < self._plan.overlap * self._speech:
            start = self.end - rng.uniform(*OVERLAP_S)
        self._add(speaker, self._voices[speaker].speak(rng), max(LEAD_S, start))

    def answer(self, speaker: int, rng: random.Random) -> None:
        """Say something short during somebody else's turn."""
        turn = self.said[-1]
        if said := self._voices[speaker].answer(rng):
            latest = max(turn.end - 0.5, turn.start + 0.4)
            self._add(speaker, said, rng.uniform(turn.start + 0.3, latest))

    def _add(self, speaker: int, said: Said, start: float) -> None:
        free = max((s.end + OWN_GAP_S for s in self.said if s.speaker == speaker), default=0.0)
        spoken = Spoken(speaker, max(start, free), *said)
        self._speech += spoken.end - spoken.start
        self._overlapped += max(0.0, min(self.end, spoken.end) - spoken.start)
        self.end = max(self.end, spoken.end)
        self.said.append(spoken)


@functools.cache
def _speech(text: str, language: str, voice: str, speed: int, pitch: int) -> Sound:
    samples = say(text, language, voice, SAMPLE_RATE, speed=speed, pitch=pitch)
    return (samples / 32768).astype(np.float32)
