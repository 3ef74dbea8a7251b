"""Utterances as the node cuts them, and sounds without speech."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from node.adapters.whisper import Engine, EngineSettings
from node.core.model import SAMPLE_RATE
from tests.model.say import say

if TYPE_CHECKING:
    from collections.abc import Callable

Samples = npt.NDArray[np.int16]
Sound = npt.NDArray[np.float64]

MODEL = Path("config/demo/model")
VOICES = {
    "en": ("en-us", "en-gb", "en-us+f3", "en-gb+m3", "en-us+f1"),
    "fr": ("fr-fr", "fr-be", "fr-fr+m3", "fr-fr+f1", "fr-fr+m5"),
}
BEFORE_S, AFTER_S = 0.3, 0.6
"""The sound around an utterance's speech: the pre-roll and the pause that ends it."""

LEVEL = 10 ** (-30 / 20)
"""Root mean square of the noises: loud for a room."""

CLICK = 800
"""Samples in the click of a key."""


@functools.cache
def engine(window: Literal["fit", "full"] = "fit", threads: int = 1) -> Engine:
    """Return the demonstration model as the node runs it."""
    settings: dict[str, Any] = {"model": str(MODEL), "folder": MODEL, "download_root": MODEL}
    loaded = Engine(
        EngineSettings(**settings, languages=("en", "fr"), threads=threads, window=window)
    )
    loaded.load()
    return loaded


@functools.cache
def clean(text: str, language: str, voice: str) -> Samples:
    return say(text, language, voice)


def utterance(
    texts: tuple[str, ...], language: str, voice: str, snr_db: float, rng: np.random.Generator
) -> Samples:
    """Return sentences with pauses of 0.3 s, in white noise."""
    parts = [clean(text, language, voice).astype(np.float64) for text in texts]
    pause = np.zeros(round(BEFORE_S * SAMPLE_RATE))
    spoken = np.concatenate([piece for part in parts for piece in (pause, part)])
    sound = np.pad(spoken, (0, round(AFTER_S * SAMPLE_RATE)))
    power = float(np.square(spoken).mean())
    noise = rng.standard_normal(len(sound)) * np.sqrt(power) * 10 ** (-snr_db / 20)
    return as_int16((sound + noise) / 32768)


def normalised(text: str) -> str:
    """Return the text in lower case without punctuation: only wrong words are errors."""
    return " ".join(re.findall(r"[\w'-]+", text.lower()))


def as_int16(sound: Sound) -> Samples:
    return np.clip(np.round(sound * 32767), -32768, 32767).astype(np.int16)


def silence(count: int, rng: np.random.Generator) -> Sound:
    return rng.standard_normal(count) * 0


def white(count: int, rng: np.random.Generator) -> Sound:
    return rng.standard_normal(count) * LEVEL


def pink(count: int, rng: np.random.Generator) -> Sound:
    """Return noise that falls by 3 dB per octave."""
    spectrum = np.fft.rfft(rng.standard_normal(count))
    spectrum /= np.sqrt(np.arange(1, len(spectrum) + 1))
    sound: Sound = np.fft.irfft(spectrum, count)
    return sound * LEVEL / np.std(sound)


def fan(count: int, rng: np.random.Generator) -> Sound:
    """Return pink noise with mains hum and the tones of fan blades."""
    time = np.arange(count) / SAMPLE_RATE
    tones = ((50, 0.8), (100, 0.5), (237, 0.3), (474, 0.2))
    hum = sum(np.sin(2 * np.pi * hertz * time) * level for hertz, level in tones)
    return pink(count, rng) * 0.6 + np.asarray(hum) * LEVEL


def keyboard(count: int, rng: np.random.Generator) -> Sound:
    """Return two to twelve clicks per second."""
    sound = np.zeros(count + CLICK)
    at = 0
    while at < count:
        decay = np.exp(-np.arange(CLICK) / 60)
        sound[at : at + CLICK] += rng.standard_normal(CLICK) * decay * rng.uniform(0.05, 0.5)
        at += int(rng.uniform(0.08, 0.5) * SAMPLE_RATE)
    return sound[:count]


NOISES: dict[str, Callable[[int, np.random.Generator], Sound]] = {
    "digital silence": silence,
    "white noise": white,
    "pink noise": pink,
    "fan": fan,
    "keyboard": keyboard,
}
