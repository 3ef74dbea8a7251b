"""Everything a speaker says as one recording, through the command `transcribe`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from node.core.model import SAMPLE_RATE
from tests.bench.accuracy.node_way import transcript
from tests.bench.texts import errors

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.bench.speech import Recording, Samples
    from tests.bench.texts import Errors

PAUSE_S = 1.2
NOISE_DB = -60.0
"""Noise of a quiet room, in dB below full scale."""


@dataclass(frozen=True, slots=True)
class Whole:
    """A speaker: what they said, and what the transcript has."""

    name: str
    kind: str
    lang: str
    utterances: int
    said: str
    written: str
    errors: Errors


def through(said: Sequence[Recording], model: Path, languages: Sequence[str]) -> Whole:
    """Transcribe a speaker's utterances, all in one language."""
    lines = transcript(recording_of(said)[None], "drop", model, languages).lines
    text = " ".join(recording.text for recording in said)
    written = " ".join(line.text for line in lines)
    first = said[0]
    found = errors(text, written)
    return Whole(first.speaker, first.kind, first.lang, len(said), text, written, found)


def recording_of(said: Sequence[Recording]) -> Samples:
    """Return utterances with pauses of low noise before, between and after them."""
    rng = np.random.default_rng(0)
    level = 32768 * 10 ** (NOISE_DB / 20)

    def pause() -> Samples:
        noise = rng.standard_normal(round(PAUSE_S * SAMPLE_RATE)) * level
        return np.round(noise).astype(np.int16)

    return np.concatenate([pause(), *(part for one in said for part in (one.samples, pause()))])
