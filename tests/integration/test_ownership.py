"""Pure, but on 14 s of sound for each case: too slow for the unit tests, which have 4 s."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from node.core.model import SAMPLE_RATE, TICK
from node.core.room.ownership import OWNED, Ownership
from tests.rig import talk

if TYPE_CHECKING:
    from tests.rig.talk import Tracks, Turns

SECONDS = 14
TICKS = SECONDS * SAMPLE_RATE // TICK
SETTLED = 8 * SAMPLE_RATE // TICK
"""Both have spoken alone for at least 2 s."""
TURNS: Turns = {
    0: [(1, 3), (5, 7), (9, 10), (12, 13)],
    1: [(3, 5), (7, 8.5), (10.2, 11.5), (12, 13)],
}
"""From 12 to 13 s both speak."""
NAMES = ("a", "b")


def meeting(bleed_db: float = -10, gains: tuple[float, float] = (1, 1), lag: int = 0) -> Tracks:
    return talk.meeting(TURNS, SECONDS, bleed_db, gains, lag)


def shares(tracks: Tracks, names: tuple[str, ...] = NAMES) -> Tracks:
    """Return each microphone's share, shape (microphones, ticks), in the order of `tracks`."""
    ownership = Ownership()
    for name in names:
        ownership.add(name)
    found = np.ones((len(names), TICKS), np.float32)
    for tick, heard in enumerate(talk.ticks(tracks, names)):
        ownership.hear(tick, *heard)
        ownership.learn(tick + 1)
        judged = tick - ownership.delay_ticks
        if judged >= 0:
            for name, share in ownership.judge(judged).items():
                found[names.index(name), judged] = share
    return found


def owned(found: Tracks, mic: int, start: float, end: float) -> float:
    """Return the part of the ticks well within a time that are the microphone's."""
    first, last = int((start + 0.2) * SAMPLE_RATE / TICK), int((end - 0.2) * SAMPLE_RATE / TICK)
    return float((found[mic, first:last] >= OWNED).mean())


def test_silence_is_nobodys_leak() -> None:
    assert (shares(np.zeros((2, SECONDS * SAMPLE_RATE), np.float32)) == 1).all()


@pytest.mark.parametrize("bleed_db", [-20, -10, -6])
def test_each_turn_is_its_speakers(bleed_db: float) -> None:
    found = shares(meeting(bleed_db))
    assert owned(found, 0, 9, 10) > 0.95
    assert owned(found, 1, 9, 10) < 0.05
    assert owned(found, 1, 10.2, 11.5) > 0.95
    assert owned(found, 0, 10.2, 11.5) < 0.05


def test_who_speak_at_once_are_both_heard() -> None:
    found = shares(meeting(-10))
    assert owned(found, 0, 12, 13) > 0.9
    assert owned(found, 1, 12, 13) > 0.9


def test_permuting_microphones_permutes_the_answer() -> None:
    tracks = meeting(-8, gains=(1, 0.5))
    there = shares(tracks)
    back = shares(tracks[::-1], NAMES[::-1])[::-1]
    np.testing.assert_allclose(there, back, atol=1e-3)


@pytest.mark.parametrize("gain", [0.25, 4])
def test_a_gain_changes_nothing_once_settled(gain: float) -> None:
    plain, scaled = shares(meeting(-10)), shares(meeting(-10, gains=(1, gain)))
    same = (plain >= OWNED) == (scaled >= OWNED)
    assert same[:, SETTLED : -SAMPLE_RATE // TICK].mean() > 0.98


def attend(ownership: Ownership, tracks: Tracks, first: int = 0) -> None:
    """Hear all of some tracks and learn from them, from tick `first` on."""
    for tick, heard in enumerate(talk.ticks(tracks, NAMES), start=first):
        ownership.hear(tick, *heard)
        ownership.learn(tick + 1)


def two() -> Ownership:
    ownership = Ownership()
    for name in NAMES:
        ownership.add(name)
    return ownership


@pytest.mark.parametrize("lag_s", [-0.15, 0.02, 0.18])
def test_the_lag_is_found_in_the_leak(lag_s: float) -> None:
    ownership = two()
    attend(ownership, meeting(-10, lag=round(lag_s * SAMPLE_RATE)))
    lags = ownership.lags_s()
    assert lags["a"] is not None
    assert lags["b"] is not None
    assert lags["b"] - lags["a"] == pytest.approx(lag_s, abs=0.006)


def test_the_lag_is_found_anew_when_a_microphone_begins_anew() -> None:
    ownership = two()
    attend(ownership, meeting(-10, lag=1600))
    ownership.restarted("b", TICKS)
    assert ownership.lags_s() == {"a": 0.0, "b": pytest.approx(0.1, abs=0.006)}
    attend(ownership, meeting(-10, lag=160), first=TICKS)
    assert ownership.lags_s() == {"a": 0.0, "b": pytest.approx(0.01, abs=0.006)}


def test_who_has_no_microphone_is_heard_best_by_one() -> None:
    tracks = meeting(-10)
    guest = slice(12 * SAMPLE_RATE, 14 * SAMPLE_RATE)
    tracks[:, guest] = np.outer((1.0, 0.7), talk.voice(5, SECONDS)[guest] * 0.1)
    ownership = two()
    attend(ownership, tracks)
    stretch = (guest.start // TICK + 5, guest.stop // TICK - 10)
    assert ownership.review("b", *stretch).heard_better == "a"
    assert ownership.review("a", *stretch).heard_better is None


def test_of_two_who_speak_at_once_neither_is_heard_better_by_the_other() -> None:
    ownership = two()
    attend(ownership, meeting(-6))
    both = (12 * SAMPLE_RATE // TICK, 13 * SAMPLE_RATE // TICK)
    assert [ownership.review(name, *both).heard_better for name in NAMES] == [None, None]


def test_no_lag_is_claimed_without_a_leak() -> None:
    ownership = Ownership()
    for name in NAMES:
        ownership.add(name)
    assert ownership.lags_s() == {"a": None, "b": None}
