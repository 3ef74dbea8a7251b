"""Rooms, telephones and noise, so that the model hears more than clean synthetic speech."""

import random

import numpy as np
import numpy.typing as npt
from scipy.signal import butter, fftconvolve, sosfilt

RATE = 16000  # Hz
Samples = npt.NDArray[np.float32]


def filtered(samples: Samples, rng: random.Random, noise: np.random.Generator) -> Samples:
    """Sometimes a narrow band, sometimes an echoing room; the shape stays."""
    if rng.random() < 0.3:
        band = [rng.uniform(60, 350), rng.uniform(3200, 7600)]  # Hz
        sections = butter(2, band, "band", fs=RATE, output="sos")
        samples = sosfilt(sections, samples).astype(np.float32)
    if rng.random() < 0.3:
        samples = fftconvolve(samples, _room(rng, noise))[: len(samples)].astype(np.float32)
    return samples


def _room(rng: random.Random, noise: np.random.Generator) -> Samples:
    """An impulse response: the direct sound, then noise that falls by 60 dB."""
    n = int(rng.uniform(0.08, 0.4) * RATE)
    decay = np.exp(-6.9 * np.arange(n) / n).astype(np.float32)
    response = noise.standard_normal(n).astype(np.float32) * decay
    response /= np.sqrt((response**2).sum())
    response *= rng.uniform(0.1, 0.6)
    response[0] += 1
    return response


def with_noise(
    samples: Samples, rng: random.Random, noise: np.random.Generator, *, spoken: bool, knocks: bool
) -> Samples:
    """Add coloured noise, sometimes hum, and sometimes knocks where those are allowed.

    With speech (`spoken`) the noise is 6 to 40 dB below it.
    """
    if spoken:
        below_speech = 10 ** (-rng.uniform(6, 40) / 20)
        level = np.sqrt((samples**2).mean() + 1e-12) * below_speech
    else:
        level = 10 ** rng.uniform(-4.5, -1.2)
    background: Samples = _coloured(len(samples), rng, noise) * level
    if rng.random() < 0.15:
        phase = 2 * np.pi * rng.choice((50, 60, 100, 120, 440, 1000)) * np.arange(len(samples))
        background += (level * np.sin(phase / RATE)).astype(np.float32)
    if knocks and rng.random() < 0.3:
        _add_knocks(background, rng, noise)
    background += samples
    return background


def _coloured(n: int, rng: random.Random, noise: np.random.Generator) -> Samples:
    """White, pink or brown noise with an RMS of 1."""
    white = noise.standard_normal(n).astype(np.float32)
    kind = rng.random()
    if kind < 0.4:
        return white
    spectrum = np.fft.rfft(white)
    bins = np.arange(1, len(spectrum) + 1)
    spectrum /= bins ** (0.5 if kind < 0.8 else 1.0)
    coloured: Samples = np.fft.irfft(spectrum, n).astype(np.float32)
    coloured /= coloured.std() + 1e-9
    return coloured


def _add_knocks(background: Samples, rng: random.Random, noise: np.random.Generator) -> None:
    for _ in range(rng.randint(1, 6)):
        start = rng.randrange(max(1, len(background) - 900))
        n = min(800, len(background) - start)
        burst = noise.standard_normal(n) * np.exp(-np.arange(n) / rng.uniform(10, 150))
        background[start : start + n] += (burst * rng.uniform(0.02, 0.5)).astype(np.float32)
