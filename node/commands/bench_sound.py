"""Babble that a voice detector takes for speech and that takes as long to transcribe."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from node.core.model import SAMPLE_RATE

if TYPE_CHECKING:
    import numpy.typing as npt

PITCH_HZ = 120
SYLLABLES_HZ = 4
"""Of a man's voice; syllables come four to five a second (Greenberg 1999)."""

FORMANTS_HZ = ((700, 1200, 2500), (300, 2200, 3000), (500, 900, 2400), (300, 800, 2300))
"""Resonances of a, i, o and u: a new vowel with each syllable."""

WIDTH_HZ = 120
LEVEL = 0.25


def voice(seconds: float, seed: int = 0) -> npt.NDArray[np.int16]:
    """Return a babble of vowels at -12 dBFS: int16 at 16 kHz, shape (seconds * 16000,)."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    syllable = (time * SYLLABLES_HZ).astype(int)
    vowels = rng.integers(len(FORMANTS_HZ), size=syllable[-1] + 1)
    pitch = PITCH_HZ * (1 + 0.1 * np.sin(2 * np.pi * 0.7 * time + seed))
    phase = 2 * np.pi * np.cumsum(pitch) / SAMPLE_RATE
    sound = np.zeros(len(time))
    for harmonic in range(1, 30):
        strength = np.array([_strength(harmonic * PITCH_HZ, f) for f in FORMANTS_HZ])
        sound += strength[vowels[syllable]] * np.sin(harmonic * phase)
    sound *= np.abs(np.sin(np.pi * SYLLABLES_HZ * time)) + 0.1
    sound += 1e-3 * rng.standard_normal(len(time))
    scaled: npt.NDArray[np.int16] = (32767 * LEVEL * sound / np.abs(sound).max()).astype(np.int16)
    return scaled


def _strength(frequency: float, formants: tuple[int, ...]) -> float:
    """Return how much of a harmonic passes the resonances, each 6 dB below the one before it."""
    parts = (
        2.0**-number / (1 + ((frequency - formant) / WIDTH_HZ) ** 2)
        for number, formant in enumerate(formants)
    )
    return sum(parts)
