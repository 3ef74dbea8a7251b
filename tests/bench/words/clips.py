"""Utterances as clips, transcribed by several systems with the same model."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

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
"""Longest utterance in seconds: the service always cuts one there."""

SEEDS = (1, 2, 3, 4, 5)
"""Of the chance that faster-whisper leaves some of its texts to."""

PAUSE = SAMPLE_RATE
"""Samples between two utterances of a speaker."""


class System(Protocol):
    """A way from a clip to its text."""

    def begin(self) -> None:
        """Note that another person speaks from here on."""

    def hear(self, start: int, samples: Samples) -> tuple[str, str]:
        """Return text and language of a clip that begins at sample `start`."""

    def also(self, samples: Samples) -> list[str]:
        """What it might as well have written of the clip heard last: a text for each other run.

        Nothing where all runs write the same.
        """


@dataclass(frozen=True, slots=True)
class Written:
    """What one system made of an utterance, and the processor seconds it took.

    `also` has the errors of the other runs of a system that draws lots.
    """

    text: str
    errors: Errors
    language_right: bool
    cpu_s: float
    also: tuple[Errors, ...] = ()


@dataclass(frozen=True, slots=True)
class Heard:
    """An utterance, and what each system made of it."""

    recording: Recording
    written: dict[str, Written]


class FasterWhisper:
    """faster-whisper with its defaults: any language, no context.

    It samples again, up to five times, what it does not trust, so two runs can write two texts.
    Therefore it is run with several random seeds.
    """

    def __init__(
        self,
        model: Path,
        _languages: Sequence[str],
        threads: int,
        *,
        seeds: Sequence[int] = SEEDS,
    ) -> None:
        self._models = [_sampling(model, threads, seed) for seed in seeds]
        self._drawn = False

    def begin(self) -> None:
        """Do nothing: it keeps no context."""

    def hear(self, _start: int, samples: Samples) -> tuple[str, str]:
        text, language, self._drawn = _transcribed(self._models[0], samples)
        return text, language

    def also(self, samples: Samples) -> list[str]:
        """As `System.also`: what is written without sampling is the same for every seed."""
        if not self._drawn:
            return []
        return [_transcribed(model, samples)[0] for model in self._models[1:]]


def _sampling(model: Path, threads: int, seed: int) -> Any:
    """A model whose chance begins at `seed`."""
    from ctranslate2 import set_random_seed  # noqa: PLC0415  # takes a second
    from faster_whisper import WhisperModel  # noqa: PLC0415

    set_random_seed(seed)
    whisper = WhisperModel(str(model), device="cpu", compute_type="int8", cpu_threads=threads)
    # A model's thread takes the seed when it samples for the first time. That run also pays for
    # what is done once.
    segments, _ = whisper.transcribe(np.ones(SAMPLE_RATE, np.float32) / 100, temperature=1.0)
    list(segments)
    return whisper


def _transcribed(whisper: Any, samples: Samples) -> tuple[str, str, bool]:
    """Text, language, and whether anything may have been sampled."""
    found, info = whisper.transcribe(samples.astype(np.float32) / np.float32(32768))
    segments = list(found)
    drawn = not segments or any(segment.temperature > 0 for segment in segments)
    return " ".join(segment.text.strip() for segment in segments), str(info.language), drawn


class Node:
    """The node's engine, with the speaker's language and, in `context`, their earlier words."""

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

    def also(self, _samples: Samples) -> list[str]:
        """Nothing is left to chance."""
        return []


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
    """Transcribe a speaker's utterances in order with every system, a second between them."""
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
    also = tuple(errors(recording.text, other) for other in system.also(samples))
    right = language == recording.lang
    return Written(text, errors(recording.text, text), right, spent, also)
