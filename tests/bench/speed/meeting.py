"""A simulated meeting: who speaks when, and what each microphone hears.

People say recorded utterances, one speaker per microphone, in order, or sentences spoken by
espeak-ng's voices.

They take turns; the share of speech is the share of the time in which somebody speaks. Every
microphone hears everybody, the others later and fainter than its own speaker. There is no
reverberation: the cost of telling voices apart does not depend on it, and `tests.bench.accuracy`
measures how well it works.
"""

from __future__ import annotations

import functools
import itertools
import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from config.demo.speech import to_int16
from node.core.model import SAMPLE_RATE
from tests.bench.speech import brief, level, seats
from tests.model.grammar import sentence
from tests.model.say import say

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from tests.bench.speech import Recording, Speakers

    Samples = npt.NDArray[np.int16]
    Voice = Iterator[Samples]
    """What a person says, turn by turn."""

VOICES = ("en-us", "en-gb", "en-us+f3", "en-gb+m3", "en-us+f1", "en-gb+f5", "en-us+m5", "en-gb+f2")
BLEED_DB = -10.0
LATE_S = (0.002, 0.012)
"""Loss of a voice on its way to the other microphones, and its delay: 1 to 4 m."""

NOISE_DB = -66.0
LEAD_S = 0.5
SENTENCES = (1, 2, 2, 3)
"""Sentences in a turn, one of these: with ours of 1 to 4 s, turns last 1 to 10 s."""

BREATH_S = 0.25


@dataclass(frozen=True, slots=True)
class Turn:
    """A stretch in which somebody speaks without a break, in samples of the meeting."""

    mic: int
    start: int
    samples: Samples

    @property
    def end(self) -> int:
        return self.start + len(self.samples)


@dataclass(frozen=True, slots=True)
class Meeting:
    """`tracks` have the shape (microphones, samples), int16 at 16 kHz."""

    tracks: Samples
    turns: tuple[Turn, ...]

    @property
    def length_s(self) -> float:
        return float(self.tracks.shape[1] / SAMPLE_RATE)

    def repeated(self, times: int) -> Meeting:
        """Return the same meeting several times in a row."""
        length = self.tracks.shape[1]
        turns = (
            replace(turn, start=turn.start + number * length)
            for number in range(times)
            for turn in self.turns
        )
        return Meeting(np.tile(self.tracks, times), tuple(turns))

    @property
    def speech_s(self) -> float:
        return sum(len(turn.samples) for turn in self.turns) / SAMPLE_RATE


def meet(
    mics: int, share: float, length_s: float, seed: int = 1, speech: Speakers | None = None
) -> Meeting:
    """Return people at `mics` microphones in a room, of whom one speaks for `share` of the time.

    It ends with the last turn that fits into `length_s`, so that it does not end with a long
    silence. `speech` holds recordings; with more microphones than speakers, some appear twice.

    Raises:
        SpeechError: nobody in `speech` has short utterances.
    """
    rng = random.Random(seed)
    end = round(length_s * SAMPLE_RATE)
    turns = list(_turns(rng, _voices(rng, mics, speech), share, end))
    end = _end(turns, end)
    tracks = _noise(mics, end)
    delays = np.random.default_rng(seed).uniform(*LATE_S, (mics, mics))
    for turn in turns:
        for mic in range(mics):
            own = mic == turn.mic
            gain = 1.0 if own else 10 ** (BLEED_DB / 20)
            late = 0 if own else round(delays[turn.mic, mic] * SAMPLE_RATE)
            _mix(tracks[mic], turn.samples * np.float32(gain), turn.start + late)
    return Meeting(_to_int16(tracks), tuple(turns))


def crowd(mics: int, length_s: float, seed: int = 1, speech: Speakers | None = None) -> Meeting:
    """Return people who all speak all the time, each in their own room; otherwise as `meet`."""
    rng = random.Random(seed)
    end = round(length_s * SAMPLE_RATE)
    turns: list[Turn] = []
    for mic, voice in enumerate(_voices(rng, mics, speech)):
        turns += _turns(rng, [voice], 1.0, end, first=mic)
    tracks = _noise(mics, _end(turns, end))
    for turn in turns:
        _mix(tracks[turn.mic], turn.samples.astype(np.float32), turn.start)
    return Meeting(_to_int16(tracks), tuple(sorted(turns, key=lambda turn: turn.end)))


def _end(turns: Sequence[Turn], latest: int) -> int:
    return min(latest, max(turn.end for turn in turns) + round(LEAD_S * SAMPLE_RATE))


def _voices(rng: random.Random, mics: int, speech: Speakers | None) -> list[Voice]:
    if speech is None:
        return [_synthetic(mic, rng) for mic in range(mics)]
    able = seats(speech, min(mics, max(1, brief(speech))))
    return [_recorded(said) for said in itertools.islice(itertools.cycle(able), mics)]


def _turns(
    rng: random.Random, voices: Sequence[Voice], share: float, end: int, first: int = 0
) -> list[Turn]:
    turns: list[Turn] = []
    at = round(LEAD_S * SAMPLE_RATE)
    while True:
        seat = rng.randrange(len(voices)) if len(voices) > 1 else 0
        samples = next(voices[seat])
        if at + len(samples) > end:
            return turns
        turns.append(Turn(first + seat, at, samples))
        pause = len(samples) * (1 - share) / share * rng.uniform(0.6, 1.4)
        at += len(samples) + max(round(pause), round(BREATH_S * SAMPLE_RATE))


def _recorded(said: Sequence[Recording]) -> Voice:
    """Return a person's utterances in order, over and over."""
    for recording in itertools.cycle(said):
        yield to_int16(level(recording.samples))


def _synthetic(mic: int, rng: random.Random) -> Voice:
    breath = np.zeros(round(BREATH_S * SAMPLE_RATE), np.int16)
    while True:
        parts: list[Samples] = []
        for _ in range(rng.choice(SENTENCES)):
            parts += [_said(sentence("en", rng), VOICES[mic % len(VOICES)]), breath]
        yield np.concatenate(parts[:-1])


@functools.cache
def _said(text: str, voice: str) -> Samples:
    return say(text, "en", voice)


def _noise(mics: int, samples: int) -> npt.NDArray[np.float32]:
    noise = np.random.default_rng(0).standard_normal((mics, samples), np.float32)
    return noise * np.float32(32768 * 10 ** (NOISE_DB / 20))


def _mix(track: npt.NDArray[np.float32], sound: npt.NDArray[np.float32], at: int) -> None:
    heard = sound[: max(0, len(track) - at)]
    track[at : at + len(heard)] += heard


def _to_int16(tracks: npt.NDArray[np.float32]) -> Samples:
    return np.clip(np.round(tracks), -32768, 32767).astype(np.int16)
