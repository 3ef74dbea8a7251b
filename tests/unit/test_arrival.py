"""Who speaks, by when sound arrives: noise voices at places some samples apart."""

from __future__ import annotations

import math
from copy import deepcopy
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pytest

from node.core.model import SAMPLE_RATE, TICK
from node.core.room.arrival import (
    HALF_WINDOW_TICKS,
    KEPT_WINDOWS,
    REMEMBERED_S,
    STEP_TICKS,
    Arrivals,
)
from node.core.room.hearing import HOP, Hearing

if TYPE_CHECKING:
    from collections.abc import Sequence

Sound = npt.NDArray[np.float64]
Samples = npt.NDArray[np.int16]

PATH = 48
"""Samples (1 m) by which a voice reaches another microphone later than its own."""

TURN = 40
"""Ticks of a turn (1.3 s)."""

BLEED = 10 ** (-3 / 20)

TURNS: list[tuple[int, ...]] = [(0,), (1,), (0,), (1,), (0, 1), (0,)]


def voices(count: int, turns: list[tuple[int, ...]], seed: int = 1) -> Sound:
    """Return the noise of each voice, (count, samples), speaking in turns."""
    rng = np.random.default_rng(seed)
    sound = np.zeros((count, len(turns) * TURN * TICK))
    for number, who in enumerate(turns):
        span = slice(number * TURN * TICK, (number + 1) * TURN * TICK)
        for voice in who:
            sound[voice, span] = rng.standard_normal(TURN * TICK)
    return sound


def later(sound: Sound, samples: int) -> Sound:
    return np.concatenate([np.zeros(samples), sound])[: len(sound)]


def room(
    said: Sound,
    mics: int,
    *,
    gains: tuple[float, ...] = (1, 1, 1, 1),
    device: int = 0,
    bleed: float = BLEED,
) -> Samples:
    """Return what microphones hear, voice n sitting at microphone n; the last device is late."""
    rng = np.random.default_rng(2)
    tracks = rng.standard_normal((mics, said.shape[1])) * 0.003
    for voice, sound in enumerate(said):
        for mic in range(mics):
            own = mic == voice
            tracks[mic] += sound if own else bleed * later(sound, PATH * abs(mic - voice))
    tracks[-1] = later(tracks[-1], device)
    scaled = tracks * np.array(gains[:mics])[:, None] * 1500
    heard: Samples = np.rint(scaled).clip(-32768, 32767).astype(np.int16)
    return heard


def round_a_table(
    said: Sound, paths: Sequence[Sequence[int]], levels: Sequence[Sequence[float]]
) -> Samples:
    """Return what microphones hear: each voice so much later and so loud at each of them."""
    tracks = np.random.default_rng(2).standard_normal(said.shape) * 0.003
    for sound, late, level in zip(said, paths, levels, strict=True):
        for mic in range(len(tracks)):
            tracks[mic] += level[mic] * later(sound, late[mic])
    heard: Samples = np.rint(tracks * 1500).astype(np.int16)
    return heard


def heard(
    tracks: Samples,
    lags: tuple[int, ...] = (0, 0, 0, 0),
    slips: Sequence[tuple[int, int, int]] = (),
    anew: tuple[int, int] = (0, -1),
) -> Arrivals:
    """Return all windows of the tracks, whose sound is this many hops late.

    `slips` are the tracks' corrections: track, sample, samples. `anew` is a track that may have
    moved, and the tick of that.
    """
    hearing, arrivals = Hearing(), Arrivals()
    names = [str(number) for number in range(len(tracks))]
    for name in names:
        hearing.add(name)
        arrivals.add()
    ticks = tracks.shape[1] // TICK
    hearing.hear(
        0, dict(zip(names, tracks, strict=True)), dict.fromkeys(names, np.ones(ticks, np.float32))
    )
    for slip in slips:
        hearing.slips.note(*slip)
    late = np.array(lags[: len(tracks)])
    behind = HALF_WINDOW_TICKS + int(late.max()) * HOP // TICK + 1
    for middle in range(0, ticks - behind, STEP_TICKS):
        if middle == anew[1]:
            arrivals.forget(*anew)
        arrivals.learn(hearing, late, middle)
        arrivals.estimate()
    return arrivals


@cache
def two_heard() -> Arrivals:
    """Return all windows of two people who take turns; whoever changes it takes a copy."""
    return heard(room(voices(2, TURNS), 2))


def told(arrivals: Arrivals, turn: int, gain_db: npt.NDArray[np.float64]) -> list[list[int]]:
    """Return the answers for ticks well within a turn, each once."""
    ticks = np.arange(turn * TURN + 8, (turn + 1) * TURN - 8)
    answers: list[list[int]] = np.unique(arrivals.whose(ticks, gain_db), axis=1).T.tolist()
    return answers


ALIKE = np.zeros(2)
ALL_ALIKE = np.zeros(3)
"""Gains of two and of three microphones."""


@pytest.mark.parametrize("gains", [(1, 1), (1, 0.1), (0.1, 1)])
def test_who_speaks_is_told_however_loud_microphones_are(gains: tuple[float, ...]) -> None:
    arrivals = heard(room(voices(2, TURNS), 2, gains=gains))
    assert told(arrivals, 2, ALIKE) == [[1, -1]]
    assert told(arrivals, 3, ALIKE) == [[-1, 1]]
    assert told(arrivals, 4, ALIKE) == [[0, 0]]


def test_a_late_device_changes_nothing() -> None:
    arrivals = heard(room(voices(2, TURNS), 2, device=5 * HOP + 100), (0, 5))
    assert told(arrivals, 2, ALIKE) == [[1, -1]]
    assert told(arrivals, 3, ALIKE) == [[-1, 1]]


def test_clocks_that_drift_apart_change_nothing() -> None:
    tracks = room(voices(2, [*TURNS, *TURNS]), 2)
    kept = np.arange(tracks.shape[1])
    lost = kept[kept % 5000 != 0]  # 200 ppm
    drifting = np.stack([tracks[0][: len(lost)], tracks[1][lost]])
    arrivals = heard(drifting[:, : drifting.shape[1] // TICK * TICK])
    assert told(arrivals, 8, ALIKE) == [[1, -1]]
    assert told(arrivals, 9, ALIKE) == [[-1, 1]]


def test_three_microphones_agree() -> None:
    turns: list[tuple[int, ...]] = [(0,), (1,), (2,), (0,), (1,), (2,), (0,)]
    arrivals = heard(room(voices(3, turns), 3))
    assert told(arrivals, 3, ALL_ALIKE) == [[1, -1, -1]]
    assert told(arrivals, 4, ALL_ALIKE) == [[-1, 1, -1]]
    assert told(arrivals, 5, ALL_ALIKE) == [[-1, -1, 1]]


def test_who_has_not_been_heard_yet_is_not_taken_for_who_sits_in_front_of_them() -> None:
    """The third speaks from behind the second, as heard by the first."""
    turns: list[tuple[int, ...]] = [(0,), (1,), (0,), (1,), (0,), (2,)]
    arrivals = heard(room(voices(3, turns), 3))
    assert arrivals.known_pairs == 2, "the third has not been placed yet"
    assert all(answer[1] <= 0 for answer in told(arrivals, 5, ALL_ALIKE))


def test_a_sensitive_microphone_whose_speaker_is_silent_owns_nobody() -> None:
    """What the second says is 12 dB louder at the third, which is set so, and is not the third's.

    Heard by the first and the third, it comes from where the third's speaker would be.
    """
    turns: list[tuple[int, ...]] = [(0,), (1,), (0,), (1,), (0,), (1,)]
    arrivals = heard(room(voices(3, turns), 3, gains=(1, 1, 4)))
    assert arrivals.known_pairs == 2
    gain_db = np.array([0, 0, 20 * np.log10(4)])
    assert all(answer[2] <= 0 for answer in told(arrivals, 5, gain_db))
    assert any(answer[2] > 0 for answer in told(arrivals, 5, ALL_ALIKE)), "without the gains it is"


@pytest.mark.parametrize(("bleed_db", "answer"), [(-0.4, [1, -1]), (-0.3, [0, 0])])
def test_the_least_that_both_are_louder_at_their_own_is_enough(
    bleed_db: float, answer: list[int]
) -> None:
    arrivals = heard(room(voices(2, TURNS), 2, bleed=10 ** (bleed_db / 20)))
    assert told(arrivals, 2, ALIKE) == [answer]


def test_a_microphone_as_loud_as_the_nearest_owns_nobody_who_is_heard_from_the_other_end() -> None:
    """The third one's speaker is silent, and it hears both others as loud as the second does."""
    paths = [[0, PATH, 30], [PATH, 0, PATH], [0, 0, 0]]
    levels = [[1.0, BLEED, BLEED], [BLEED, 1, 1], [0.0, 0, 0]]
    arrivals = heard(round_a_table(voices(3, TURNS), paths, levels))
    assert arrivals.known_pairs == 2, "the levels of the second and the third tell nothing"
    assert told(arrivals, 3, ALL_ALIKE) == [[-1, 1, -1]]


def test_an_echo_from_the_other_end_is_nobody_there() -> None:
    """The second one's voice comes to their own microphone once more by way of a wall, so late that
    it seems to come from the third one's end, where nobody speaks.
    """
    paths, echo = [[0, PATH, 30], [PATH, 0, PATH], [0, 0, 0]], 0.55
    levels = [[1.0, 0.7, 0.35], [0.3, 1, 0.5 * math.hypot(1, echo)], [0.0, 0, 0]]
    said = voices(3, TURNS)
    tracks = round_a_table(said, paths, levels)
    tracks[1] += np.rint(1500 * echo * later(said[1], 66)).astype(np.int16)
    assert all(answer[2] <= 0 < answer[1] for answer in told(heard(tracks), 3, ALL_ALIKE))


def test_a_voice_that_is_louder_at_one_end_is_not_the_others_for_coming_from_there() -> None:
    """The third one's first words, with an echo, before anybody knows where they sit."""
    paths = [[0, PATH, 80], [PATH, 0, PATH], [2 * PATH, PATH, 0]]
    levels = [[1.0, 0.7, 0.42], [0.5, 1, 0.6], [0.4, 0.6, 1]]
    said = voices(3, [(0,), (1,), (0,), (1,), (0,), (2,)])
    tracks = round_a_table(said, paths, levels)
    tracks[2] += np.rint(1500 * 0.4 * later(said[2], 96)).astype(np.int16)
    assert told(heard(tracks), 5, ALL_ALIKE) == [[-1, 0, 1]]


def test_where_both_ends_are_heard_neither_is_taken_for_the_other() -> None:
    """The second and the third speak at once; beside the first, the third cannot be made out."""
    arrivals = Arrivals()
    for _ in range(3):
        arrivals.add()
    arrivals._middle[0] = 0
    arrivals._apart[:] = arrivals._known[:] = ~np.eye(3, dtype=bool)
    arrivals._known[1, 2] = arrivals._known[2, 1] = False
    arrivals._place[:] = np.subtract.outer(np.arange(3), np.arange(3)) * -PATH
    for a, b, who in ((0, 1, (1,)), (0, 2, ()), (1, 2, (1, 2))):
        for peak, voice in enumerate(who):
            delay = arrivals._place[voice, a + b - voice]
            for pair in ((a, b), (b, a)):
                arrivals._delay[(*pair, 0, peak)], arrivals._height[(*pair, 0, peak)] = delay, 10
    arrivals._level[1, 2, 0], arrivals._level[2, 1, 0] = 4, -4
    assert arrivals.whose(np.array([0]), ALL_ALIKE)[:, 0].tolist() == [-1, 1, 0]


def test_nothing_is_said_while_one_alone_has_spoken() -> None:
    arrivals = heard(room(voices(2, [(0,), (0,), (0,)]), 2))
    assert told(arrivals, 1, ALIKE) == [[0, 0]]


def test_nothing_is_said_where_loudness_contradicts() -> None:
    """Each hears the other's speaker louder: whoever sits where, not as assumed."""
    tracks = room(voices(2, TURNS), 2)
    own = voices(2, TURNS)
    swapped = np.stack([later(own[1], PATH), later(own[0], PATH)]) * 3000
    arrivals = heard((tracks + np.rint(swapped)).astype(np.int16))
    assert told(arrivals, 2, ALIKE) == [[0, 0]]


def test_nothing_is_said_of_microphones_that_share_no_sound() -> None:
    rng = np.random.default_rng(3)
    arrivals = heard(rng.integers(-3000, 3000, (2, 200 * TICK)).astype(np.int16))
    assert told(arrivals, 2, ALIKE) == [[0, 0]]


def test_what_is_no_longer_kept_is_unknown() -> None:
    arrivals = two_heard()
    later_on = np.arange(2 * TURN + 8, 2 * TURN + 10) + KEPT_WINDOWS * STEP_TICKS
    assert not arrivals.whose(later_on, ALIKE).any()


def test_only_the_last_minute_counts() -> None:
    arrivals = deepcopy(two_heard())
    hearing = Hearing()
    for mic in "ab":
        hearing.add(mic)
    rng = np.random.default_rng(4)
    first = round(REMEMBERED_S * SAMPLE_RATE / TICK) + len(TURNS) * TURN
    sound = rng.integers(-3000, 3000, 400 * TICK).astype(np.int16)  # in the middle, at both alike
    ones = np.ones(400, np.float32)
    hearing.hear(first, {"a": sound, "b": sound}, {"a": ones, "b": ones})
    middles = range(
        (first + HALF_WINDOW_TICKS) // STEP_TICKS * STEP_TICKS + STEP_TICKS,
        first + 400 - HALF_WINDOW_TICKS,
        STEP_TICKS,
    )
    for middle in middles:
        arrivals.learn(hearing, np.zeros(2, np.int64), middle)
    assert arrivals.estimate()
    assert arrivals.known_pairs == 0
    assert not arrivals.whose(np.array(middles), ALIKE).any()


def test_all_begins_anew_where_a_microphone_joins() -> None:
    arrivals = deepcopy(two_heard())
    arrivals.add()
    assert not arrivals.whose(np.arange(2 * TURN, 3 * TURN), ALL_ALIKE).any()


def test_one_that_may_have_moved_is_placed_anew_and_the_others_stay() -> None:
    turns: list[tuple[int, ...]] = [(0,), (1,), (2,), (0,), (1,), (2,), (0,)]
    arrivals = heard(room(voices(3, turns), 3))
    arrivals.forget(2, 0)
    assert arrivals.known_pairs == 1
    answers = told(arrivals, 4, ALL_ALIKE)
    assert [-1, 1, 0] in answers
    assert not any(answer[2] for answer in answers)


def test_what_was_said_before_one_was_placed_anew_tells_nothing_of_its_speaker() -> None:
    """That nobody was heard from their place does not mean that they were silent."""
    turns: list[tuple[int, ...]] = [(0,), (1,), (2,), (3,)] * 3
    tracks = room(voices(4, turns), 4)
    arrivals = heard(tracks, anew=(3, 4 * TURN))
    assert arrivals.known_pairs == 6
    gain_db = np.zeros(4)
    assert not any(answer[3] for turn in range(4) for answer in told(arrivals, turn, gain_db))
    assert told(arrivals, 10, gain_db) == [[-1, -1, 1, -1]]


@pytest.mark.parametrize("step", [2 * PATH, -2 * PATH])
def test_a_correction_of_a_clock_moves_nobody(step: int) -> None:
    """Each would be heard from where the other was, or from where nobody is."""
    tracks = room(voices(2, [*TURNS, *TURNS]), 2)
    at = 6 * TURN * TICK
    tracks[1, at:] = np.roll(tracks[1, at:], step)
    arrivals = heard(tracks, slips=[(1, at, step)])
    assert [told(arrivals, turn, ALIKE) for turn in (2, 8)] == [[[1, -1]], [[1, -1]]]
    assert [told(arrivals, turn, ALIKE) for turn in (3, 9)] == [[[-1, 1]], [[-1, 1]]]
    unaware = heard(tracks)
    assert told(unaware, 8, ALIKE) != [[1, -1]] or told(unaware, 9, ALIKE) != [[-1, 1]]
