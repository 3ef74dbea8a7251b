"""Two people at a table whose microphones hear each other: at first, the first word is kept twice.

It is too short to tell how much leaks, in a room with echo; the copy at the second microphone is
withdrawn once both people have spoken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tests.model.say import say
from tests.model.sentences import SENTENCES

if TYPE_CHECKING:
    import numpy.typing as npt

RATE = 16000
WORD = "Paul."
ALICE, BRUNO = "en-us", "en-gb"
ANSWER = next(s for s in SENTENCES if s.voice == BRUNO and "radio" in s.text)
REPLY = next(s for s in SENTENCES if s.voice == ALICE and "Dinner" in s.text)

BEGIN_S, PAUSE_S, END_S = 4.0, 2.0, 1.5
LEVEL = 0.36
NOISE = 2.4
BLEED_DB = -6
PATH = 48
"""Samples by which a voice reaches the other microphone later (1 m)."""
ECHO, ECHO_DECAY = 0.1, 800
"""Echo in the sound that reaches the other microphone: its amplitude, and samples to a tenth of
it."""


def tracks() -> npt.NDArray[np.int16]:
    """Return Alice's and Bruno's tracks, of shape (2, samples)."""
    said = [
        (0, say(WORD, "en", ALICE)),
        (1, say(ANSWER.text, "en", BRUNO)),
        (0, say(REPLY.text, "en", ALICE)),
    ]
    seconds = BEGIN_S + sum(len(sound) / RATE + PAUSE_S for _, sound in said) + END_S
    spoken = np.zeros((2, round(seconds * RATE)))
    at = round(BEGIN_S * RATE)
    for speaker, sound in said:
        spoken[speaker, at : at + len(sound)] = sound * LEVEL
        at += len(sound) + round(PAUSE_S * RATE)
    leaks = [np.convolve(np.roll(track, PATH), _room())[: len(track)] for track in spoken[::-1]]
    heard = spoken + 10 ** (BLEED_DB / 20) * np.stack(leaks)
    heard += np.random.default_rng(9).standard_normal(heard.shape) * NOISE
    return np.round(heard).astype(np.int16)


def _room() -> npt.NDArray[np.float64]:
    """Return what a click becomes on its way: the click and 0.2 s of echo."""
    after = np.arange(RATE // 5)
    echo = np.random.default_rng(3).standard_normal(len(after)) * ECHO
    sound: npt.NDArray[np.float64] = echo * 10 ** (-after / ECHO_DECAY) + (after == 0)
    return sound
