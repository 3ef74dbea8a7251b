"""What is said in the rooms: recorded utterances, or sentences that espeak-ng speaks."""

from __future__ import annotations

import hashlib
import random
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from node.core.model import SAMPLE_RATE
from tests.bench.speech import recordings
from tests.bench.words.clips import LONGEST_S
from tests.model.say import say
from tests.model.sentences import SENTENCES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

Samples = npt.NDArray[np.int16]

TABLE = 4
"""People in a room, each at a microphone."""

SENTENCES_EACH = 10


@dataclass(frozen=True, slots=True)
class Said:
    """An utterance and its text."""

    samples: Samples
    text: str
    language: str

    @property
    def seconds(self) -> float:
        return len(self.samples) / SAMPLE_RATE


@dataclass(frozen=True, slots=True)
class Turn:
    """Somebody in a room has spoken, and stops `end_s` after the beginning."""

    end_s: float
    room: int
    mic: int
    said: Said


People = list[list[Said]]
"""What each person may say."""


def recorded(folder: Path) -> People:
    """Return what is recorded in a folder, except for what is too long to be one utterance.

    Raises:
        SpeechError: there is nothing.
    """
    people = (
        [Said(r.samples, r.text, r.lang) for r in said if r.seconds <= LONGEST_S]
        for said in recordings(folder).values()
    )
    return [person for person in people if person]


def synthetic() -> People:
    spoken = [Said(say(s.text, s.language, s.voice), s.text, s.language) for s in SENTENCES]
    return [spoken[i : i + SENTENCES_EACH] for i in range(0, len(spoken), SENTENCES_EACH)]


def fingerprint(samples: Samples) -> str:
    """Return what a simulated engine knows an utterance by."""
    return hashlib.sha256(samples.tobytes()).hexdigest()


def talk(people: People, rooms: int, share: float, seconds: float, seed: int) -> list[Turn]:
    """Return who says what and when: in each room one at a time, `share` of the time.

    The pauses are exponential, and independent between rooms.
    """
    length_s = statistics.fmean(said.seconds for person in people for said in person)
    pause_s = length_s * (1 - share) / share
    turns = []
    for room in range(rooms):
        rng = random.Random(f"{seed}/{room}")
        table = rng.sample(people, min(TABLE, len(people)))
        turns += _in_one_room(room, table, pause_s, seconds, rng)
    return sorted(turns, key=lambda turn: turn.end_s)


def _in_one_room(
    room: int, table: Sequence[list[Said]], pause_s: float, seconds: float, rng: random.Random
) -> list[Turn]:
    turns: list[Turn] = []
    now = rng.expovariate(1 / pause_s)
    while True:
        mic = rng.randrange(len(table))
        said = rng.choice(table[mic])
        now += said.seconds
        if now > seconds:
            return turns
        turns.append(Turn(now, room, mic, said))
        now += rng.expovariate(1 / pause_s)
