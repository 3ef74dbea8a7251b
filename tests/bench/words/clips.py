"""Utterances as clips, heard by several systems with the same model."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from node.core.model import SAMPLE_RATE
from tests.bench.listening import Listener, loaded
from tests.bench.texts import errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from tests.bench.speech import Recording, Samples
    from tests.bench.texts import Errors

    Maker = Callable[[Path, Sequence[str], int], "System"]

LONGEST_S = 28.0
"""Seconds of an utterance at most: where the service cuts one at the latest."""

PAUSE = SAMPLE_RATE
"""Samples between two utterances of a speaker."""


class System(Protocol):
    """One way from a clip to its text."""

    def begin(self) -> None:
        """Another person speaks from here on."""

    def hear(self, start: int, samples: Samples) -> tuple[str, str]:
        """Text and language of a clip that begins at sample `start`."""


@dataclass(frozen=True, slots=True)
class Written:
    """What one system made of an utterance, and the processor seconds it took."""

    text: str
    errors: Errors
    language_right: bool
    cpu_s: float


@dataclass(frozen=True, slots=True)
class Heard:
    """An utterance, and what was written of it by each system."""

    recording: Recording
    written: dict[str, Written]


class FasterWhisper:
    """faster-whisper with its defaults: any language, nothing from before."""

    def __init__(self, model: Path, _languages: Sequence[str], threads: int) -> None:
        from faster_whisper import WhisperModel  # noqa: PLC0415  # takes a second

        self._whisper = WhisperModel(
            str(model), device="cpu", compute_type="int8", cpu_threads=threads
        )
        self.hear(0, np.zeros(SAMPLE_RATE, np.int16))  # the first run pays for what is done once

    def begin(self) -> None:
        """Nothing is kept that could be forgotten."""

    def hear(self, _start: int, samples: Samples) -> tuple[str, str]:
        segments, info = self._whisper.transcribe(samples.astype(np.float32) / np.float32(32768))
        return " ".join(segment.text.strip() for segment in segments), str(info.language)


class Node:
    """The node's engine, with the language that a speaker keeps to; in `context` also the rest."""

    def __init__(
        self, model: Path, languages: Sequence[str], threads: int, *, context: bool
    ) -> None:
        self._engine = loaded(model, languages, threads)
        self._context = context
        self.begin()

    def begin(self) -> None:
        self._listener = Listener(self._engine, context=self._context)

    def hear(self, start: int, samples: Samples) -> tuple[str, str]:
        heard = self._listener.hear("speaker", start, samples)
        return heard.text, heard.language


def _alone(model: Path, languages: Sequence[str], threads: int) -> Node:
    return Node(model, languages, threads, context=False)


def _in_context(model: Path, languages: Sequence[str], threads: int) -> Node:
    return Node(model, languages, threads, context=True)


MAKERS: dict[str, Maker] = {
    "faster-whisper": FasterWhisper,
    "node, each alone": _alone,
    "node": _in_context,
}
"""By their names in the table."""


def hear(said: Sequence[Recording], systems: Mapping[str, System]) -> Iterator[Heard]:
    """Have every system hear one speaker's utterances in order, a second between them."""
    for system in systems.values():
        system.begin()
    start = 0
    for recording in said:
        samples = recording.samples
        yield Heard(
            recording,
            {name: _written(recording, start, samples, each) for name, each in systems.items()},
        )
        start += len(samples) + PAUSE


def _written(recording: Recording, start: int, samples: Samples, system: System) -> Written:
    before = time.process_time()
    text, language = system.hear(start, samples)
    spent = time.process_time() - before
    right = language == recording.lang
    return Written(text, errors(recording.text, text), right, spent)
