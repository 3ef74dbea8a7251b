"""Minutes in which nobody speaks: whatever a system writes was never said."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from node.core.model import SAMPLE_RATE
from tests.bench.accuracy.acoustics import Recording
from tests.bench.accuracy.scene import Scene
from tests.bench.accuracy.store import digest
from tests.bench.engine.sounds import LEVEL, as_int16, fan, keyboard, silence

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.bench.engine.sounds import Samples, Sound

MICS_DB = (0.0, -8.0)
"""What each of two microphones hears of the sound."""

DEVICE_DB = -78.0
CHORDS_HZ = ((220, 262, 330), (196, 247, 294), (175, 220, 262), (147, 175, 220))
CHORD_S, DECAY_S = 2.5, 1.2


def quiet(kind: str, seconds: float) -> Scene:
    """Return a meeting of two microphones without a word."""
    rng = np.random.default_rng(list(NOISES).index(kind))
    sound = NOISES[kind](round(seconds * SAMPLE_RATE), rng)
    tracks = np.stack([_captured(sound * 10 ** (level / 20), rng) for level in MICS_DB])
    nothing = np.zeros((0, len(MICS_DB)))
    none = np.zeros(len(MICS_DB))
    recording = Recording(tracks, none, none, nothing, none)
    return Scene(kind, digest(kind, tracks), digest(), [], recording)


def _captured(sound: Sound, rng: np.random.Generator) -> Samples:
    return as_int16(sound + rng.standard_normal(len(sound)) * 10 ** (DEVICE_DB / 20))


def _music(count: int, rng: np.random.Generator) -> Sound:
    """Return chords of plucked harmonic tones with vibrato."""
    time = np.arange(count) / SAMPLE_RATE
    beat = (time / CHORD_S).astype(int) % len(CHORDS_HZ)
    sound: Sound = np.zeros(count)
    for voice in range(3):
        vibrato = 1 + 0.004 * np.sin(2 * np.pi * rng.uniform(4, 6) * time)
        pitch = np.array(CHORDS_HZ)[beat, voice] * vibrato
        phase = 2 * np.pi * np.cumsum(pitch) / SAMPLE_RATE
        for harmonic in range(1, 7):
            sound += np.sin(harmonic * phase) / harmonic
    sound *= np.exp(-(time % CHORD_S) / DECAY_S)
    return sound * LEVEL / np.std(sound)


NOISES: dict[str, Callable[[int, np.random.Generator], Sound]] = {
    "silence": silence,
    "fan": fan,
    "keyboard": keyboard,
    "music": _music,
}
