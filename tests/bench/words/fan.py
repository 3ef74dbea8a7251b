"""Short utterances after a fan has run for a second, and for two minutes, through `transcribe`.

What a detector has heard for long may deafen it. Both times the last second of the fan, and the
fan behind the voice, are the same samples, at the same place among the detector's frames: what
differs in the texts comes from what was heard before.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import numpy as np

from node.commands import transcribe
from node.core.model import SAMPLE_RATE, TICK
from tests.bench.accuracy.node_way import transcript
from tests.bench.engine.sounds import as_int16, fan
from tests.bench.listening import loaded
from tests.bench.markdown import percent, table
from tests.bench.speech import AUDIBLE, FRAME
from tests.bench.texts import Errors, errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from node.adapters.whisper import Engine
    from node.core.model import Transcription
    from tests.bench.engine.sounds import Sound
    from tests.bench.speech import Recording, Samples

LONGEST_S = 4.0
"""Seconds of an utterance: a longer one has so many words that a late beginning costs little."""

FAN_DBFS = -55.0
LEVELS_DBFS = (-30.0, -45.0)
"""Of the fan, and of the voice where it is heard (see `AUDIBLE`): root mean squares."""

BEFORE = (32, 3750)
"""Frames of the detector (1.02 s, 120 s) for which the fan runs first."""

BEHIND_S = 2.0


@dataclass(frozen=True, slots=True)
class Row:
    """All utterances at one level behind so many frames of the fan."""

    level_dbfs: float
    frames: int
    clips: int
    errors: Errors
    unheard: int
    empty: int


class Lent:
    """One loaded engine for every run of the command; counts the utterances of each."""

    notice = None

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.asked: list[int] = []

    def load(self) -> None:
        self.asked.append(0)

    def transcribe(self, *given: Any, **options: Any) -> Transcription:
        self.asked[-1] += 1
        return self._engine.transcribe(*given, **options)


def rows(
    said: Sequence[Recording], model: Path, languages: Sequence[str], threads: int
) -> Iterator[Row]:
    """Send each utterance through by itself, at each level behind each run of the fan."""
    engine = loaded(model, languages, threads)
    for level in LEVELS_DBFS:
        for frames in BEFORE:
            lent = Lent(engine)
            with patch.object(transcribe, "Engine", lambda _settings, lent=lent: lent):
                written = [
                    _written(track(recording.samples, level, frames, seed), model, languages)
                    for seed, recording in enumerate(said)
                ]
            found = [errors(r.text, text) for r, text in zip(said, written, strict=True)]
            total = reduce(add, found, Errors())
            yield Row(level, frames, len(said), total, lent.asked.count(0), written.count(""))


def _written(track: Samples, model: Path, languages: Sequence[str]) -> str:
    return " ".join(line.text for line in transcript(track[None], "drop", model, languages).lines)


def track(samples: Samples, level_dbfs: float, frames: int, seed: int) -> Samples:
    """A voice at a level behind so many frames of the fan, which goes on."""
    rng = np.random.default_rng(seed)
    before = max(BEFORE) * TICK
    noise = fan(before + len(samples) + round(BEHIND_S * SAMPLE_RATE), rng)
    noise *= 10 ** (FAN_DBFS / 20) / np.sqrt(np.square(noise).mean())
    noise[before : before + len(samples)] += voice(samples, level_dbfs)
    return as_int16(noise[before - frames * TICK :])


def voice(samples: Samples, level_dbfs: float) -> Sound:
    """Samples so loud that what is heard of them has this level."""
    sound: Sound = samples / 32768
    powers = np.square(sound[: len(sound) // FRAME * FRAME].reshape(-1, FRAME)).mean(axis=1)
    heard = powers[powers > AUDIBLE**2 * powers.max()]
    scaled: Sound = sound * 10 ** (level_dbfs / 20) / np.sqrt(heard.mean())
    return scaled


def markdown(found: Sequence[Row]) -> str:
    columns = ("Voice", "fan before", "utterances", "words", "word errors", "unheard", "no text")
    return table(columns, [_cells(row) for row in found])


def _cells(row: Row) -> list[str]:
    return [
        f"{row.level_dbfs:g} dBFS",
        f"{row.frames * TICK / SAMPLE_RATE:.0f} s",
        str(row.clips),
        str(row.errors.said),
        percent(row.errors.rate),
        str(row.unheard),
        str(row.empty),
    ]
