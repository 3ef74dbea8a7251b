"""Training windows: some seconds of audio with sentences, their times, words and phonemes.

All randomness comes from two generators in a fixed order, so a seed gives the same windows.
"""

import functools
import random
import re
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tests.model.augment import RATE, Samples, filtered, with_noise
from tests.model.espeak import Espeak
from tests.model.grammar import sentence

ACCENTS = {
    "en": (*["en-US"] * 4, *["en"] * 4, "en-GB-x-rp", "en-GB-scotland", "en-US-nyc"),
    "fr": (*["fr"] * 6, "fr-BE", "fr-CH"),
}
VARIANTS = (
    *[""] * 6,
    *("+m1", "+m2", "+m3", "+m4", "+m5", "+m6", "+m7", "+f1", "+f2", "+f3", "+f4", "+f5"),
    *("+Alex", "+Andrea", "+steph", "+Mike", "+Michael", "+linda", "+Annie", "+max"),
)
AUDIBLE = 0.01  # of the peak
EDGE = 80  # samples kept beside the audible part
MARGIN_S = 0.05  # from the end of the last sentence to the longest end of the window

# Stress, pauses and language switches: not sounds.
_NOT_PHONEMES = re.compile(r"\([a-z-]+\)|['%,=|_]")


class Word(NamedTuple):
    """`position` is the index of its first character, `time` its start in seconds."""

    position: int
    time: float


class Segment(NamedTuple):
    """A sentence in a window; times in seconds from the beginning of the window."""

    start: float
    end: float
    text: str
    words: list[Word]


class Window(NamedTuple):
    """Audio at 16 kHz, shape (n,), in [-1, 1]."""

    samples: Samples
    language: str
    segments: list[Segment]
    phonemes: str


class Row(NamedTuple):
    """A window as features of shape (80, frames), 100 frames a second.

    Defined here because a pickle names the module, and generate.py runs as `__main__`.
    """

    features: npt.NDArray[np.float16]
    language: str
    segments: list[Segment]
    phonemes: str


class Speech(NamedTuple):
    """A sentence as it goes into a window."""

    segment: Segment
    samples: Samples
    phonemes: str


@dataclass(frozen=True)
class Style:
    """What windows are like.

    Attributes:
        seconds: the longest window.
        sentences: at most so many; those that do not fit are left out.
        long_pauses: pauses of up to 6 s rather than 1.6 s.
        random_words: probability that a sentence has no grammar.
        silence: probability that nobody speaks.
        variants, speed, pitch: of the espeak-ng voices.
        augmented: with filters and noise.
        language: None for either.
    """

    seconds: float
    sentences: int = 1
    long_pauses: bool = False
    random_words: float = 0.15
    silence: float = 0.06
    variants: tuple[str, ...] = VARIANTS
    speed: tuple[int, int] = (125, 225)
    pitch: tuple[int, int] = (15, 85)
    augmented: bool = True
    language: str | None = None


class Sources(NamedTuple):
    """The two generators: one for decisions, one for noise."""

    rng: random.Random
    noise: np.random.Generator

    @classmethod
    def seeded(cls, seed: int) -> "Sources":
        return cls(random.Random(seed), np.random.default_rng(seed))


@functools.cache
def espeak() -> Espeak:
    library = Espeak()
    library.start()
    return library


def draw_window(style: Style, sources: Sources, text: str | None = None) -> Window:
    """A window of sentences from the grammar, or of the one `text`."""
    rng, noise = sources
    language = style.language or rng.choice(("en", "fr"))
    silent = rng.random() < style.silence
    lead = _lead(style, rng)
    spoken = [] if silent else _draw_speech(style, language, lead, rng, text)
    segments = [speech.segment for speech in spoken]
    samples = _mixed(spoken, _draw_length(style, segments, rng))
    if style.augmented and segments:
        samples = filtered(samples, rng, noise)
    peak = np.abs(samples).max() if segments else 1.0
    samples = samples * (10 ** rng.uniform(-1.6, -0.02) / max(peak, 1e-6))
    if style.augmented and (rng.random() < 0.7 or (silent and rng.random() < 0.5)):
        samples = with_noise(samples, rng, noise, spoken=bool(segments), knocks=silent)
    samples = np.clip(samples, -1, 1).astype(np.float32)
    return Window(samples, language, segments, " ".join(speech.phonemes for speech in spoken))


def _lead(style: Style, rng: random.Random) -> float:
    """Seconds before the first sentence."""
    if style.long_pauses:
        return rng.uniform(0, 1.0) if rng.random() < 0.75 else rng.uniform(0, 6)
    return rng.uniform(0, 0.3) if rng.random() < 0.5 else rng.uniform(0, 1.6)


def _pause(style: Style, rng: random.Random) -> float:
    """Seconds between two sentences."""
    if style.long_pauses and rng.random() >= 0.75:
        return rng.uniform(1, 6)
    return rng.uniform(0.15, 1.2)


def _draw_speech(
    style: Style, language: str, start: float, rng: random.Random, given: str | None
) -> list[Speech]:
    spoken: list[Speech] = []
    for _ in range(style.sentences):
        text = given or sentence(language, rng, style.random_words)
        voice = rng.choice(ACCENTS[language]) + rng.choice(style.variants)
        samples, words = _speak(text, voice, style, rng)
        duration = len(samples) / RATE
        if start + duration > style.seconds - MARGIN_S:
            break
        samples = samples * (rng.uniform(0.25, 1.0) / max(1e-3, np.abs(samples).max()))
        words = [Word(word.position, start + word.time) for word in words]
        phonemes = espeak().phonemes(text, ACCENTS[language][0])
        spoken.append(
            Speech(
                Segment(start, start + duration, text, words),
                samples,
                _NOT_PHONEMES.sub("", phonemes).strip(),
            )
        )
        start += duration + _pause(style, rng)
    return spoken


def _speak(text: str, voice: str, style: Style, rng: random.Random) -> tuple[Samples, list[Word]]:
    """The audible part of a sentence and its words, timed from the beginning of that part."""
    speed, pitch = rng.randint(*style.speed), rng.randint(*style.pitch)
    samples, events = espeak().speak(text, voice, speed, pitch, rng.randint(30, 70))
    level = np.abs(samples)
    audible = np.flatnonzero(level > AUDIBLE * level.max())
    first, last = max(0, audible[0] - EDGE), audible[-1] + EDGE
    words = [
        Word(event.position - 1, max(0.0, event.time - first / RATE))
        for event in events
        if event.length > 0
    ]
    return samples[first:last], words


def _draw_length(style: Style, segments: list[Segment], rng: random.Random) -> int:
    """Samples of the window: it ends soon after the speech, later, or at its longest."""
    end = segments[-1].end if segments else rng.uniform(0.3, style.seconds - 0.1)
    kind = rng.random()
    if kind < 0.35:
        end += rng.uniform(0.02, 0.3)
    elif kind < 0.75:
        end += rng.uniform(0, 1.5)
    else:
        end = style.seconds
    return int(min(end, style.seconds) * RATE)


def _mixed(spoken: list[Speech], length: int) -> Samples:
    mixed = np.zeros(length, np.float32)
    for speech in spoken:
        begin = int(speech.segment.start * RATE)
        fitting = min(len(speech.samples), length - begin)
        mixed[begin : begin + fitting] += speech.samples[:fitting]
    return mixed
