"""What the microphones heard is the same, however it is delivered."""

from __future__ import annotations

import itertools
from functools import cache

import numpy as np
import numpy.typing as npt
from hypothesis import given, settings
from hypothesis import strategies as st

from node.core.model import TICK
from node.core.room.hearing import HOPS_PER_TICK, KEPT_TICKS, Hearing

MICS = ("a", "b")
TICKS = 24

Pieces = list[int]


def sound(seed: int, silent: range) -> npt.NDArray[np.int16]:
    """Noise that swells, with nothing at all in some ticks of the first microphone."""
    rng = np.random.default_rng(seed)
    heard = rng.standard_normal((len(MICS), TICKS, TICK)) * np.linspace(20, 2000, TICKS)[:, None]
    heard[0, list(silent)] = 0
    return heard.astype(np.int16)


def hear(tracks: npt.NDArray[np.int16], pieces: Pieces) -> Hearing:
    hearing = Hearing()
    for mic in MICS:
        hearing.add(mic)
    first = 0
    for count in pieces:
        part = slice(first, first + count)
        voices = {mic: np.linspace(0, 1, TICKS, dtype=np.float32)[part] for mic in MICS}
        hearing.hear(first, {mic: tracks[i, part] for i, mic in enumerate(MICS)}, voices)
        first += count
    return hearing


@st.composite
def pieces(draw: st.DrawFn) -> Pieces:
    """Ways to deliver all ticks."""
    cuts = sorted(draw(st.sets(st.integers(1, TICKS - 1), max_size=8)))
    return [end - begin for begin, end in itertools.pairwise((0, *cuts, TICKS))]


@settings(max_examples=15, deadline=None)
@given(pieces(), st.integers(0, 9), st.integers(0, TICKS), st.integers(0, 5))
def test_pieces_are_heard_like_the_whole(
    delivered: Pieces, seed: int, begin: int, silent: int
) -> None:
    tracks = sound(seed, range(begin, min(TICKS, begin + silent)))
    whole, parts = hear(tracks, [1] * TICKS), hear(tracks, delivered)
    for mine, theirs in zip(
        whole.window(0, TICKS * HOPS_PER_TICK, np.zeros(2, np.int64)),
        parts.window(0, TICKS * HOPS_PER_TICK, np.zeros(2, np.int64)),
        strict=True,
    ):
        np.testing.assert_allclose(mine, theirs, rtol=1e-3)


GAPPED = sound(2, range(0))[0]
"""Of this only some ticks are heard."""


@cache
def with_gaps() -> Hearing:
    hearing = Hearing()
    hearing.add("a")
    for tick in (*range(4, 12), *range(KEPT_TICKS + 2, KEPT_TICKS + 6)):
        voice = np.ones(1, np.float32)
        hearing.hear(tick, {"a": GAPPED[tick % TICKS][None]}, {"a": voice})
    return hearing


@given(st.integers(0, TICK * (TICKS + 4)), st.integers(1, 3 * TICK))
def test_sound_is_given_back_with_silence_where_nothing_was_heard(first: int, count: int) -> None:
    kept = GAPPED.copy()
    kept[[*range(6), *range(12, TICKS)]] = 0  # 4 and 5 have been overwritten
    expected = np.pad(kept.ravel(), (0, 8 * TICK))[first : first + count]
    assert np.array_equal(with_gaps().sound(0, first, count) * 32768, expected)


def test_the_floor_is_the_quietest_of_the_last_seconds() -> None:
    tracks = sound(1, range(0))
    floor = hear(tracks, [TICKS]).window(0, TICKS * HOPS_PER_TICK, np.zeros(2, np.int64))[1]
    power = hear(tracks, [TICKS]).window(0, TICKS * HOPS_PER_TICK, np.zeros(2, np.int64))[0]
    assert (floor[:, -1] < power[:, -4:].mean(axis=1) / 50).all()
    assert (np.diff(floor[:, 2:16], axis=1) <= 0).all()
