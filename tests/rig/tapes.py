"""Recorded tracks of known sentences: what a microphone played from a file has heard, and when.

A file source starts at its session's first sample, even after a restart that resumes the session,
so a time on the tape is a time in the session.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.model.say import say
from tests.rig.patience import stretched
from tests.rig.vmics import write_wav

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from tests.model.sentences import Sentence

RATE = 16000
LEAD_S = 1.0
"""What a recorder takes to begin, at most: a tape runs from the session's beginning on."""
GAPS_S = (1.2, 1.8)
"""Twice the silence that ends an utterance, so that each sentence is an utterance."""


@dataclass(frozen=True, slots=True)
class Line:
    """A sentence on the tape of `mic`, in seconds of the session."""

    mic: str
    text: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Tape:
    """A track that is played over and over; `lines` are those of the first time."""

    mic: str
    file: Path
    lines: tuple[Line, ...]
    length: float

    def within(self, begin: float, end: float) -> Iterator[Line]:
        """Yield the lines spoken entirely between two times of the session, in seconds."""
        turn = max(0, int(begin // self.length))
        while turn * self.length < end:
            for line in self.lines:
                start, stop = (at + turn * self.length for at in (line.start, line.end))
                if begin <= start and stop <= end:
                    yield Line(self.mic, line.text, start, stop)
            turn += 1


def record(folder: Path, mic: str, sentences: Sequence[Sentence], rng: random.Random) -> Tape:
    """Speak sentences onto a tape in random order, with random pauses between them."""
    lead = _quiet(stretched(LEAD_S))
    parts, at, lines = [lead], len(lead), []
    for sentence in rng.sample(sentences, len(sentences)):
        sound, pause = voice(sentence), _quiet(rng.uniform(*GAPS_S))
        lines.append(Line(mic, sentence.text, at / RATE, (at + len(sound)) / RATE))
        parts += [sound, pause]
        at += len(sound) + len(pause)
    file = write_wav(folder / f"{mic}.wav", np.concatenate(parts), RATE)
    return Tape(mic, file, tuple(lines), at / RATE)


def tape_recorder(*tapes: Tape) -> dict[str, Any]:
    """Return the `audio` section for a node that hears tapes."""
    files = [{"mic": tape.mic, "file": str(tape.file), "loop": True} for tape in tapes]
    return {"source": "files", "devices": [], "files": files}


@cache
def voice(sentence: Sentence) -> npt.NDArray[np.int16]:
    return say(sentence.text, sentence.language, sentence.voice)


def _quiet(seconds: float) -> npt.NDArray[np.int16]:
    return np.zeros(round(seconds * RATE), np.int16)
