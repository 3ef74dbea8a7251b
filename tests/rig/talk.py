"""Talk in a room as the ownership math hears it: voices made of noise, microphones that leak.

It takes milliseconds to make, and it is known exactly who speaks when. No voice detector would
recognise it as speech, so `ticks` also yields what one would say.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from node.core.model import SAMPLE_RATE, TICK

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Tracks = npt.NDArray[np.float32]
"""Sound of shape (microphones, samples), or (samples,), between -1 and 1."""

Frames = dict[str, npt.NDArray[np.int16]]
Voices = dict[str, npt.NDArray[np.float32]]
Turns = dict[int, list[tuple[float, float]]]
"""Seconds, from and to, in which each of two people speaks."""

LOUDNESS = 0.2
"""Peak amplitude at the speaker's own microphone."""

NOISE = 0.0005
"""Root mean square of each microphone's own noise (-66 dBFS)."""

HEARD = 200
"""16-bit level above which the stand-in for a voice detector hears speech."""


@cache
def voice(seed: int, seconds: float) -> Tracks:
    """Return noise with the loudness of syllables: 5 per second, each with its own pitch.

    Callers share one array, so nobody may write to it.
    """
    rng = np.random.default_rng(seed)
    length = round(seconds * SAMPLE_RATE)
    sound = np.zeros(length + 4200, np.float32)
    begin = 0
    while begin < length:
        count = int(rng.integers(2000, 4200))
        carrier = np.cos(2 * np.pi * rng.uniform(300, 3000) / SAMPLE_RATE * np.arange(count))
        breath = np.convolve(rng.standard_normal(count), np.hanning(64), "same")
        piece = breath * carrier * np.hanning(count)
        sound[begin : begin + count] = piece / np.abs(piece).max() * rng.uniform(0.3, 1)
        begin += count
    sound.setflags(write=False)
    return sound[:length]


def meeting(
    turns: Turns,
    seconds: float,
    bleed_db: float = -10,
    gains: tuple[float, float] = (1, 1),
    lag: int = 0,
    *,
    pitches: int = 1,
) -> Tracks:
    """Return two people at their own microphones; the second one's is `lag` samples late.

    Each syllable has `pitches` pitches; several fill the bands as speech does.
    """
    spoken = np.zeros((2, round(seconds * SAMPLE_RATE)), np.float32)
    for speaker, spans in turns.items():
        sound = np.mean([voice(speaker + 2 * n, seconds) for n in range(pitches)], axis=0)
        for start, end in spans:
            part = slice(int(start * SAMPLE_RATE), int(end * SAMPLE_RATE))
            spoken[speaker, part] = sound[part] * LOUDNESS
    leak = 10 ** (bleed_db / 20)
    heard = np.stack([spoken[0] + leak * spoken[1], spoken[1] + leak * spoken[0]])
    heard += np.random.default_rng(9).standard_normal(heard.shape).astype(np.float32) * NOISE
    heard[1] = np.roll(heard[1], lag)
    return heard * np.array(gains, np.float32)[:, None]


def samples_of(tracks: Tracks) -> npt.NDArray[np.int16]:
    """Return the same in 16 bits."""
    return np.clip(np.round(tracks * 32767), -32768, 32767).astype(np.int16)


def ticks(
    tracks: Tracks, names: Sequence[str], at_once: int = 1
) -> Iterator[tuple[Frames, Voices]]:
    """Yield what the microphones hear in each tick, and what a voice detector would say.

    `at_once` ticks come together, at the end perhaps fewer.
    """
    sound = samples_of(tracks)
    whole = sound.shape[1] // TICK * TICK
    for begin in range(0, whole, at_once * TICK):
        frames = sound[:, begin : min(begin + at_once * TICK, whole)]
        loudest = np.abs(frames).reshape(len(frames), -1, TICK).max(axis=2)
        voices = (loudest > HEARD).astype(np.float32)
        yield dict(zip(names, frames, strict=True)), dict(zip(names, voices, strict=True))
