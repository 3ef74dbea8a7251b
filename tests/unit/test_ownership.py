"""Whose a tick is, on 4 s of talk: noise in syllables, with leaks.

The integration tests have longer cases.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from node.core.model import SAMPLE_RATE, TICK
from node.core.room.hearing import KEPT_TICKS
from node.core.room.ownership import OWNED, Ownership
from node.core.room.room import TICKS_AT_ONCE
from tests.rig import talk

if TYPE_CHECKING:
    from tests.rig.talk import Tracks, Turns

NAMES = ("a", "b")
TURNS: Turns = {
    0: [(0.2, 1.4), (2.6, 3.2), (3.8, 4.6)],
    1: [(1.4, 2.6), (3.2, 3.8), (3.8, 4.6)],
}
SECONDS = 4.8
A_ALONE, B_ALONE, BOTH = (2.6, 3.2), (3.2, 3.8), (3.8, 4.6)
"""Times at which both have spoken before."""


def meeting(bleed_db: float = -10, gains: tuple[float, float] = (1, 1), lag_s: float = 0) -> Tracks:
    return talk.meeting(TURNS, SECONDS, bleed_db, gains, round(lag_s * SAMPLE_RATE))


def room(*mics: str) -> Ownership:
    ownership = Ownership()
    for mic in mics:
        ownership.add(mic)
    return ownership


def attend(ownership: Ownership, tracks: Tracks, mics: tuple[str, ...] = NAMES) -> None:
    """Hear and learn, without asking anything meanwhile."""
    tick = 0
    for frames, voices in talk.ticks(tracks, mics, at_once=10):
        ownership.hear(tick, frames, voices)
        tick += len(voices[mics[0]])
        ownership.learn(tick)


def shares(tracks: Tracks) -> Tracks:
    """Return both shares as judged along the way, shape (2, ticks); NaN: not asked."""
    ownership = room(*NAMES)
    found = np.full((2, tracks.shape[1] // TICK), np.nan, np.float32)
    for number, heard in enumerate(talk.ticks(tracks, NAMES, TICKS_AT_ONCE)):
        tick = number * TICKS_AT_ONCE
        ownership.hear(tick, *heard)
        ownership.learn(tick + TICKS_AT_ONCE)
        for judged in range(tick, tick + TICKS_AT_ONCE):
            for mic, share in ownership.judge(judged - ownership.delay_ticks).items():
                found[NAMES.index(mic), judged - ownership.delay_ticks] = share
    return found


def ticks_of(span: tuple[float, float], trim_s: float = 0.15) -> tuple[int, int]:
    """Ticks well within a time."""
    start, end = span
    return int((start + trim_s) * SAMPLE_RATE / TICK), int((end - trim_s) * SAMPLE_RATE / TICK)


def owned(found: Tracks, span: tuple[float, float]) -> list[float]:
    """Return the part of the ticks well within a time that are each microphone's."""
    first, last = ticks_of(span)
    part = (found[:, first:last] >= OWNED).mean(axis=1)
    return [float(mine) for mine in part]


@pytest.mark.parametrize("bleed_db", [-20, -6])
@pytest.mark.parametrize("gains", [(1, 1), (1, 0.25)])
def test_each_turn_is_its_speakers(bleed_db: float, gains: tuple[float, float]) -> None:
    found = shares(meeting(bleed_db, gains))
    assert owned(found, A_ALONE) == pytest.approx([1, 0], abs=0.05)
    assert owned(found, B_ALONE) == pytest.approx([0, 1], abs=0.05)
    assert owned(found, BOTH) == pytest.approx([1, 1], abs=0.05)


def test_without_a_leak_all_speech_is_ones_own_and_no_lag_is_claimed() -> None:
    ownership = room(*NAMES)
    attend(ownership, meeting(-60))
    assert ownership.lags_s() == {"a": None, "b": None}
    first, last = ticks_of(A_ALONE)
    judged = ownership.judge((first + last) // 2)
    assert list(judged.values()) == pytest.approx([1, 1])


@pytest.mark.parametrize("lag_s", [-0.15, 0.02, 0.208])
def test_the_lag_is_found_in_the_leak(lag_s: float) -> None:
    ownership = room(*NAMES)
    attend(ownership, meeting(lag_s=lag_s))
    lags = ownership.lags_s()
    expected = {"a": max(0, -lag_s), "b": max(0, lag_s)}
    assert lags == pytest.approx(expected, abs=0.006)


def test_once_a_lag_is_found_what_was_heard_before_is_compared_anew() -> None:
    """Until then each microphone was compared with what the other heard of earlier words."""
    tracks = talk.meeting({0: [(0.2, 2.4)]}, 3.6, -3, lag=SAMPLE_RATE // 5, pitches=3)
    ownership = room(*NAMES)
    heard = enumerate(talk.ticks(tracks, NAMES))
    while ownership.lags_s()["b"] is None:
        tick, sound = next(heard)
        ownership.hear(tick, *sound)
        ownership.learn(tick + 1)
    spoken = 8, tick - ownership.delay_ticks
    assert ownership.review("a", *spoken).owned_ticks > 30
    assert ownership.review("b", *spoken).owned_ticks == 0


def test_ticks_in_which_nobody_speaks_are_not_judged() -> None:
    quiet = np.random.default_rng(1).standard_normal((2, 2 * SAMPLE_RATE)).astype(np.float32) * 3e-4
    assert np.isnan(shares(quiet)).all()
    found = shares(meeting())
    assert not np.isnan(found[:, slice(*ticks_of((0.2, 4.4), 0))]).any()


def test_who_spoke_long_ago_is_forgotten() -> None:
    ownership, ticks = room(*NAMES), 32
    sound = {mic: np.zeros(ticks * TICK, np.int16) for mic in NAMES}
    voices = {mic: np.ones(ticks, np.float32) for mic in NAMES}
    for tick in range(0, 3 * KEPT_TICKS, ticks):
        ownership.hear(tick, sound, voices)
    ownership.learn(3 * KEPT_TICKS)
    assert min(ownership._voiced) == 2 * KEPT_TICKS


def test_a_tick_is_judged_alike_whenever_it_is_asked_for() -> None:
    """In order, twice each, only what is new is worked out; backwards, all of it each time, with
    echoes from further back.
    """
    ownership = room(*NAMES)
    attend(ownership, meeting(lag_s=0.1))
    asked = range(*ticks_of((2.2, 3.6)))
    along = [[ownership.judge(tick)["b"] for _ in range(2)] for tick in asked]
    back = [ownership.judge(tick)["b"] for tick in reversed(asked)]
    assert [once for once, _ in along] == pytest.approx(back[::-1], abs=0.05)
    assert [once for once, _ in along] == [twice for _, twice in along]


def test_an_utterance_is_judged_once_more_when_it_ends() -> None:
    ownership = room(*NAMES)
    attend(ownership, meeting())
    leak, own = (ownership.review(mic, *ticks_of(A_ALONE)) for mic in ("b", "a"))
    first, last = ticks_of(A_ALONE)
    assert (leak.owned_ticks, leak.loudest) == (0, "a")
    assert own.owned_ticks > 0.8 * (last - first)
    assert (own.loudest, own.heard_better) == ("b", None)


def with_guest(gains: tuple[float, ...]) -> Tracks:
    """Somebody without a microphone speaks last."""
    tracks = np.concatenate([meeting()[:, : int(BOTH[0] * SAMPLE_RATE)]] * 2)[: len(gains)]
    guest = talk.voice(5, 1.2) * 0.1
    return np.concatenate([tracks, np.outer(np.array(gains, np.float32), guest)], axis=1)


GUEST = (BOTH[0], BOTH[0] + 1.2)


def test_who_has_no_microphone_is_heard_best_by_one() -> None:
    ownership = room(*NAMES)
    attend(ownership, with_guest((1.0, 0.85)))
    near, far = (ownership.review(mic, *ticks_of(GUEST)) for mic in NAMES)
    assert far.owned_ticks > 20, "it would be kept: no other speaker explains it"
    assert (far.heard_better, near.heard_better) == ("a", None)


def test_of_two_who_speak_at_once_neither_is_heard_better_by_the_other() -> None:
    ownership = room(*NAMES)
    attend(ownership, meeting(-6))
    better = [ownership.review(mic, *ticks_of(BOTH)).heard_better for mic in NAMES]
    assert better == [None, None]


def test_lags_of_microphones_that_do_not_all_hear_each_other() -> None:
    """The third one hears the second speaker alone, so that its lag is found by way of b."""
    tracks = meeting(-15, lag_s=0.05)
    third = np.roll(meeting(-90)[1:], round(0.12 * SAMPLE_RATE), axis=1)
    ownership = room("c", "b", "a")
    attend(ownership, np.concatenate([third, tracks[::-1]]), ("c", "b", "a"))
    assert ownership.lags_s() == pytest.approx({"a": 0, "b": 0.05, "c": 0.12}, abs=0.006)


def test_one_that_hears_nobody_has_no_lag() -> None:
    ownership = room("deaf", *NAMES)
    tracks = meeting(lag_s=0.05)
    deaf = np.random.default_rng(3).standard_normal(tracks[:1].shape).astype(np.float32) * 5e-4
    attend(ownership, np.concatenate([deaf, tracks]), ("deaf", *NAMES))
    lags = ownership.lags_s()
    assert lags.pop("deaf") is None
    assert lags == pytest.approx({"a": 0, "b": 0.05}, abs=0.006)


def test_a_microphone_that_is_alone_learns_nothing() -> None:
    ownership = room("a")
    attend(ownership, meeting()[:1], ("a",))
    assert ownership.lags_s() == {"a": None}
    assert ownership.judge(ticks_of(A_ALONE)[0])["a"] == 1
