"""Guards against words that nobody said.

Whisper is a language model too: given noise or silence it writes what often stood beside such
sound where it learned (subtitle credits, thanks for watching), and it can get into a loop. Each
guard here has evidence of its own; none removes a text only because of what it says.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from node.core.model import TICK
from node.core.text.loops import UNSPACED, deloop, is_doubled, repeats
from node.core.text.silence_phrases import is_courtesy, is_credit

if TYPE_CHECKING:
    import numpy.typing as npt

Guard = Literal["no speech", "loop", "compression", "rate", "phrase", "brief"]

MAX_COMPRESSION = 2.4
MIN_LOG_PROBABILITY = -1.0
MAX_NO_SPEECH = 0.6
"""Whisper's own thresholds (openai/whisper, transcribe.py)."""

MAX_WORDS_PER_S = 8.0
SPARE_WORDS = 2
"""More words than these in the time of an utterance nobody says.

Conversation has 344 syllables a minute in French (Malécot et al. 1972), some 4 words a second; the
record of fast talking was 11, and an utterance has its pre-roll and its last pause besides.
"""

BRIEF_S = 1.7
MIN_BRIEF_LOG_PROBABILITY = math.log(0.5)
"""What has half a second of sound that may be speech (the rest is pre-roll, tail and silence) must
be likelier than not. Of 91 coughs 13 passed for speech and became "Ahem." or "Thank you.", with
confidences of 0.16 to 0.45; now none does. It has a price: of 56 short utterances on the telephone
and in conversation 12 lose their text, most of it wrong, and 3 right words of 476 go.
"""

PAUSE_TICKS = 5
"""Ticks (0.16 s) whose common power makes a place quiet: longer than a consonant's closure."""

MIN_LEVEL = 4.0
"""Root mean square, in steps of 16 bits (-78 dBFS), that the loudest 32 ms must reach.

Below it a voice has two bits left. It means digital silence and the dither around it: a quiet
voice far from a microphone is 20 dB above, so that no threshold on a level could tell it from
noise; that is the voice activity detector's work.
"""


@dataclass(frozen=True, slots=True)
class Said:
    """A decoded text with what tells whether it was said.

    `log_probability` is the mean over its tokens, `capped` whether it ran into the cap on tokens,
    `seconds` the length of its sound.
    """

    text: str
    language: str
    seconds: float
    log_probability: float
    no_speech: float
    capped: bool

    @property
    def compression(self) -> float:
        """How much shorter gzip's algorithm makes it; repetition raises it."""
        data = self.text.encode()
        return len(data) / len(zlib.compress(data))

    @property
    def is_silence(self) -> bool:
        return self.no_speech > MAX_NO_SPEECH and self.log_probability < MIN_LOG_PROBABILITY

    @property
    def is_noise(self) -> bool:
        """Whether it is what Whisper writes of a cough, a laugh or a door."""
        return self.seconds <= BRIEF_S and self.log_probability < MIN_BRIEF_LOG_PROBABILITY

    @property
    def is_too_fast(self) -> bool:
        if self.language in UNSPACED:
            return False
        return len(self.text.split()) > self.seconds * MAX_WORDS_PER_S + SPARE_WORDS

    @property
    def is_known_phrase(self) -> bool:
        """Whether it is what Whisper writes in silence, and there is doubt that it was said.

        Thanks are said indeed: they need one of Whisper's two signs of silence, credits half of it.
        """
        if self.no_speech > MAX_NO_SPEECH or self.log_probability < MIN_LOG_PROBABILITY:
            return is_courtesy(self.text) or is_credit(self.text)
        unsure = self.log_probability < MIN_LOG_PROBABILITY / 2
        return (unsure or self.no_speech > MAX_NO_SPEECH / 2) and is_credit(self.text)

    @property
    def cannot_have_been_said(self) -> bool:
        """Whether a loop is the decoder's and not the speaker's ("non, non, non")."""
        return self.capped or self.is_too_fast or self.compression > MAX_COMPRESSION

    @property
    def faults(self) -> int:
        """How many signs there are that it is wrong."""
        spaced = self.language not in UNSPACED
        signs = (
            self.capped,
            self.is_too_fast,
            self.compression > MAX_COMPRESSION,
            self.log_probability < MIN_LOG_PROBABILITY,
            repeats(self.text, spaced=spaced) or is_doubled(self.text, spaced=spaced),
        )
        return sum(signs)


def judged(said: Said) -> tuple[str, Guard | None]:
    """What is left of a text, and the guard that has removed all or some of it."""
    if not said.text:
        return "", None
    if said.is_silence:
        return "", "no speech"
    guard: Guard | None = None
    if said.cannot_have_been_said:
        short = deloop(said.text, spaced=said.language not in UNSPACED)
        if short != said.text:
            said, guard = replace(said, text=short, capped=False), "loop"
    signs: tuple[tuple[Guard, bool], ...] = (
        ("brief", said.is_noise),
        ("phrase", said.is_known_phrase),
        ("compression", said.compression > MAX_COMPRESSION),
        ("rate", said.is_too_fast),
    )
    for name, invented in signs:
        if invented:
            return "", name
    return said.text, guard


def quietest(samples: npt.NDArray[np.int16]) -> int:
    """Where to cut int16 samples of shape (n,) in two: the quietest place of their middle half."""
    ticks = len(samples) // TICK
    powers = np.square(samples[: ticks * TICK], dtype=np.float64).reshape(ticks, TICK).sum(axis=1)
    smooth = np.convolve(powers, np.ones(PAUSE_TICKS), "same")
    first, last = ticks // 4, max(ticks // 4 + 1, 3 * ticks // 4)
    return (first + int(np.argmin(smooth[first:last]))) * TICK + TICK // 2


def is_inaudible(samples: npt.NDArray[np.int16]) -> bool:
    """Whether int16 samples at 16 kHz, of shape (n,), are digital silence or next to it."""
    full = len(samples) // TICK * TICK
    frames = samples[:full].reshape(-1, TICK) if full else samples.reshape(1, -1)
    if not frames.size:
        return True
    return float(np.sqrt(np.square(frames, dtype=np.float64).mean(axis=1)).max()) < MIN_LEVEL
