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
from tests.bench.words.clips import SEEDS, FasterWhisper

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
class Behind:
    """An utterance behind the fan: what `transcribe` wrote, and what faster-whisper wrote.

    faster-whisper is given the voice cut out of the fan where it begins and ends. `unheard` says
    that the node's engine was not even asked.
    """

    recording: Recording
    written: str
    told: str
    unheard: bool

    @property
    def errors(self) -> Errors:
        return errors(self.recording.text, self.written)

    @property
    def told_errors(self) -> Errors:
        return errors(self.recording.text, self.told)


@dataclass(frozen=True, slots=True)
class Row:
    """All utterances at one level behind so many frames of the fan."""

    level_dbfs: float
    frames: int
    heard: Sequence[Behind]

    @property
    def errors(self) -> Errors:
        return reduce(add, (each.errors for each in self.heard), Errors())

    @property
    def told_errors(self) -> Errors:
        return reduce(add, (each.told_errors for each in self.heard), Errors())


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
    said: Sequence[Recording],
    model: Path,
    languages: Sequence[str],
    threads: int,
    levels: Sequence[float] = LEVELS_DBFS,
) -> Iterator[Row]:
    """Send each utterance through by itself, at each level behind each run of the fan."""
    engine = loaded(model, languages, threads)
    peer = FasterWhisper(model, languages, threads, seeds=SEEDS[:1])
    for level in levels:
        told = [_told(peer, each.samples, level, seed) for seed, each in enumerate(said)]
        for frames in BEFORE:
            lent = Lent(engine)
            with patch.object(transcribe, "Engine", lambda _settings, lent=lent: lent):
                written = [
                    _written(track(recording.samples, level, frames, seed), model, languages)
                    for seed, recording in enumerate(said)
                ]
            each = zip(said, written, told, (not asked for asked in lent.asked), strict=True)
            yield Row(level, frames, [Behind(*one) for one in each])


def _told(peer: FasterWhisper, samples: Samples, level: float, seed: int) -> str:
    """What faster-whisper writes of the voice, fan and all, cut out where it begins and ends."""
    begin = BEFORE[0] * TICK
    behind = track(samples, level, BEFORE[0], seed)[begin : begin + len(samples)]
    return peer.hear(0, behind)[0]


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
    measures = ("word errors", "unheard", "no text", "word errors, told where: faster-whisper")
    columns = ("Voice", "fan before", "utterances", "words", *measures)
    return table(columns, [_cells(row) for row in found])


def _cells(row: Row) -> list[str]:
    return [
        f"{row.level_dbfs:g} dBFS",
        f"{row.frames * TICK / SAMPLE_RATE:.0f} s",
        str(len(row.heard)),
        str(row.errors.said),
        percent(row.errors.rate),
        str(sum(each.unheard for each in row.heard)),
        str(sum(not each.written for each in row.heard)),
        percent(row.told_errors.rate),
    ]


def missed(found: Sequence[Row]) -> list[str]:
    """Lines about the utterances of which nothing was written."""
    return [
        f"{row.level_dbfs:g} dBFS, {row.frames * TICK / SAMPLE_RATE:.0f} s of fan:"
        f" {each.recording.id} ({each.recording.text}) was"
        f" {'not heard' if each.unheard else 'heard without words'}; faster-whisper: {each.told}"
        for row in found
        for each in row.heard
        if not each.written
    ]
