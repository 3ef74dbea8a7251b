"""When words are spoken: Whisper's alignment, limited to where there is sound.

The alignment gives every instant to some word: a pause goes to the word beside it, and the last
word lasts until the end of the sound, 0.4 s too long with `base` (median of recorded speech).
Loudness tells better: a word begins and ends where something is heard within its span.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy.typing as npt

    from node.core.model import Word

FRAMES_PER_S = 100
"""Frames of loudness in a second: those of Whisper's log spectrum."""

CLOSURE_FRAMES = 12
"""Shorter quiet is within a word: the closure of a stop lasts 0.05 to 0.1 s."""

CLICK_FRAMES = 3
"""A shorter sound is not speech."""

FLOOR_PERCENT, VOICE_PERCENT = 5, 90
"""Percentiles of loudness that are the noise of the room, and the voice."""

HEARD_SHARE = 0.3
"""Share of the way from noise to voice, in decibels, above which a frame is heard."""

LEAST_CONTRAST = 0.3
"""Difference between noise and voice (12 dB; Whisper's unit is 40 dB) needed to tell them apart."""


def audible(spectrum: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """In which frames of a log spectrum, of shape (mels, frames), something is said.

    In all of them if the noise is too loud to tell.
    """
    loudness = spectrum.max(axis=0)
    floor, voice = np.percentile(loudness, (FLOOR_PERCENT, VOICE_PERCENT))
    if voice - floor < LEAST_CONTRAST:
        return np.ones(len(loudness), bool)
    loud = loudness > floor + HEARD_SHARE * (voice - floor)
    return _without_short(
        _without_short(loud, CLICK_FRAMES, value=True), CLOSURE_FRAMES, value=False
    )


def within_speech(words: Iterable[Word], heard: npt.NDArray[np.bool_]) -> tuple[Word, ...]:
    """The words, each where something is heard within its span.

    A word with nothing in its span was spoken at the end of the one before, and shares its time by
    the number of letters. Each word begins after the one before is over, and has a length.

    Args:
        words: with seconds from the beginning of the sound.
        heard: frames of 10 ms of the same sound.
    """
    placed: list[Word] = []
    for word in words:
        free = placed[-1].end if placed else 0.0
        first, last = (round(max(free, at) * FRAMES_PER_S) for at in (word.start, word.end))
        loud = np.flatnonzero(heard[first:last])
        if len(loud):
            start, end = (first + int(at) for at in (loud[0], loud[-1] + 1))
            placed.append(replace(word, start=start / FRAMES_PER_S, end=end / FRAMES_PER_S))
        elif placed:
            placed[-1:] = _shared(placed[-1], word)
        else:
            placed.append(word)
    return tuple(_apart(placed))


def _apart(words: Iterable[Word]) -> Iterator[Word]:
    """The words, each starting after the one before has ended, and at least a frame long."""
    free = 0.0
    for word in words:
        start = max(free, word.start)
        free = max(word.end, round(start + 1 / FRAMES_PER_S, 2))
        yield replace(word, start=start, end=free)


def _shared(before: Word, word: Word) -> tuple[Word, Word]:
    """Two words in the time of the first."""
    letters = [max(1, len(each.word)) for each in (before, word)]
    share = letters[0] / sum(letters)
    middle = max(before.start, round(before.start + share * (before.end - before.start), 2))
    return replace(before, end=middle), replace(word, start=middle, end=before.end)


def _without_short(
    frames: npt.NDArray[np.bool_], shortest: int, *, value: bool
) -> npt.NDArray[np.bool_]:
    """The frames, with runs of `value` shorter than `shortest` turned into the other value."""
    runs = [(key, len(list(run))) for key, run in itertools.groupby(frames.tolist())]
    kept = [(key != value or length >= shortest, key, length) for key, length in runs]
    return np.repeat(
        [key if long else not key for long, key, _ in kept], [length for *_, length in kept]
    ).astype(bool)
