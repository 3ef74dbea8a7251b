"""Recorders started one after another: synthetic talk with a known place in each track."""

from __future__ import annotations

import itertools
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pytest

from node.core.model import SAMPLE_RATE
from node.core.room.alignment import Placed, align, envelopes, shift
from node.core.room.hearing import HOP

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from node.core.room.hearing import Floats

    Sound = npt.NDArray[np.floating]
    Samples = npt.NDArray[np.int16]

NOISE = 10 ** (-75 / 20)
VOICE = 0.1
MUFFLED = (np.hanning(9) / 5).astype(np.float32)
"""Removes the highest octave from what reaches a microphone from afar."""
BREATH = np.ones(6, np.float32) / 6
TIME_S = np.arange(SAMPLE_RATE, dtype=np.float32) / SAMPLE_RATE
RATE = SAMPLE_RATE / HOP
PATH = 64
"""Samples by which a voice reaches the others' microphones later."""
LONGEST_S = 130
"""Length of the longest meeting."""
NEAR_S = 0.02
"""Largest error of a shift: little more than one of the hops that ownership compares."""


def talk(seconds: float, rng: np.random.Generator) -> Sound:
    """Syllables of one person: bursts of noise around changing frequencies, with pauses."""
    sound = np.zeros(round(seconds * SAMPLE_RATE), np.float32)
    breath = np.convolve(rng.standard_normal(len(sound), np.float32), BREATH, "same")
    at = rng.uniform(0, 0.5)
    while at < seconds - 1:
        count = round(rng.uniform(0.08, 0.25) * SAMPLE_RATE)
        begin = round(at * SAMPLE_RATE)
        carrier = np.cos(np.float32(2 * np.pi * rng.uniform(300, 5000)) * TIME_S[:count])
        swell = np.sin(np.float32(np.pi * SAMPLE_RATE / count) * TIME_S[:count]) ** 2
        loudness = np.float32(VOICE * rng.uniform(0.3, 1))
        span = slice(begin, begin + count)
        sound[span] = breath[span] * carrier * swell * loudness
        at += count / SAMPLE_RATE + rng.exponential(0.1)
    return sound


@cache
def voice(number: int) -> tuple[Sound, Sound]:
    """What one person says, and what is heard of it from afar: 4 ms later and muffled.

    Callers share the arrays, so nobody may write to them.
    """
    near = talk(LONGEST_S, np.random.default_rng(number))
    far = np.convolve(np.roll(near, PATH), MUFFLED, "same")
    for sound in (near, far):
        sound.setflags(write=False)
    return near, far


@cache
def hiss(mic: int) -> Sound:
    """The noise of one person's microphone; callers share it, as they share voices."""
    count = LONGEST_S * SAMPLE_RATE
    sound = np.random.default_rng([mic, 1]).standard_normal(count, np.float32) * np.float32(NOISE)
    sound.setflags(write=False)
    return sound


def conversation(
    people: range, seconds: float, bleed_db: float, rng: np.random.Generator
) -> list[Sound]:
    """Return what the microphone of each hears; they take turns of 1 to 5 s."""
    count = round(seconds * SAMPLE_RATE)
    heard = np.stack([hiss(mic)[:count] for mic in people])
    bleed = np.float32(10 ** (bleed_db / 20))
    begin = 0
    for speaker in itertools.cycle(people):
        end = min(begin + round(rng.uniform(1, 5) * SAMPLE_RATE), count)
        near, far = voice(speaker)
        for mic, sound in zip(people, heard, strict=True):
            later = slice(begin + PATH, min(end + PATH, count))
            if mic == speaker:
                sound[begin:end] += near[begin:end]
            else:
                sound[later] += far[later] * bleed
        begin = end
        if begin == count:
            return list(heard)
    raise AssertionError("people never stop taking turns")


def recorded(sound: Sound, begin_s: float = 0.0) -> Samples:
    part = sound[round(begin_s * SAMPLE_RATE) :]
    return np.clip(np.round(part * 32767), -32768, 32767).astype(np.int16)


def meeting(
    seed: int, begins_s: tuple[float, ...], seconds: float, bleed_db: float
) -> list[Samples]:
    rng = np.random.default_rng(seed)
    heard = conversation(range(len(begins_s)), seconds, bleed_db, rng)
    return [recorded(sound, begin) for sound, begin in zip(heard, begins_s, strict=True)]


def heard(*tracks: Samples) -> list[Floats]:
    return [envelopes([track]) for track in tracks]


def placed(*tracks: Samples) -> list[Placed]:
    return align(heard(*tracks))


def starts(*tracks: Samples) -> list[float]:
    return [track.start_s for track in placed(*tracks)]


@pytest.mark.parametrize("seed", range(6))
def test_tracks_that_hear_each_other_are_placed(seed: int) -> None:
    rng = np.random.default_rng(100 + seed)
    begins = rng.uniform(0, 30, 2 + seed % 2)
    found = placed(*meeting(seed, tuple(begins), 70, rng.uniform(-25, -2)))
    assert [track.group for track in found] == [0] * len(begins)
    assert [track.rate for track in found] == [1] * len(begins)
    assert [track.start_s for track in found] == pytest.approx(begins - begins.min(), abs=NEAR_S)


def test_tracks_begun_together_are_left_alone() -> None:
    found = placed(*meeting(1, (0.0, 0.03, 0.01), 60, -10))
    assert found == [Placed(0.0, 1.0, 0)] * 3


def test_a_shift_says_where_the_same_sound_is() -> None:
    one, other = heard(*meeting(2, (7.0, 0.0), 70, -15))
    found = shift(one, other)
    assert found is not None
    assert found.offset_s == pytest.approx(7, abs=NEAR_S)
    assert found.rate == 1
    back = shift(other, one)
    assert back is not None
    assert back.offset_s == pytest.approx(-7, abs=NEAR_S)


def test_a_short_track_within_a_long_one_is_found() -> None:
    long, whole = meeting(3, (0.0, 0.0), LONGEST_S, -12)
    assert starts(long, whole[75 * SAMPLE_RATE : 125 * SAMPLE_RATE]) == [
        0.0,
        pytest.approx(75, abs=NEAR_S),
    ]


def test_silence_counts_neither_way() -> None:
    """Recorders left on for three times as long after the talk."""
    rng = np.random.default_rng(14)
    silence = rng.standard_normal((2, 135 * SAMPLE_RATE), np.float32) * np.float32(NOISE)
    heard = np.concatenate([conversation(range(2), 45, -10, rng), silence], axis=1)
    tracks = [recorded(sound, begin) for sound, begin in zip(heard, (0, 8), strict=True)]
    assert starts(*tracks) == [0, pytest.approx(8, abs=NEAR_S)]


def test_noise_leaves_next_to_nothing() -> None:
    noise = np.random.default_rng(15).standard_normal(20 * SAMPLE_RATE) * NOISE
    hiss, said = heard(recorded(noise), recorded(voice(0)[0][: len(noise)] + noise))
    assert np.square(hiss).mean() < np.square(said).mean() / 300


def test_what_begins_in_digital_silence_does_not_outweigh_the_rest() -> None:
    """Recorders in a room with a fan, each of which first writes zeros for three seconds."""
    rng = np.random.default_rng(2)
    noise = rng.standard_normal((2, 60 * SAMPLE_RATE), np.float32) * np.float32(0.003)
    tracks = [
        recorded(sound, begin)
        for sound, begin in zip(conversation(range(2), 60, -10, rng) + noise, (7, 0), strict=True)
    ]
    for track in tracks:
        track[: 3 * SAMPLE_RATE] = 0
    assert starts(*tracks) == [pytest.approx(7, abs=NEAR_S), 0]


def test_clocks_that_run_apart_are_found() -> None:
    ppm = -190
    one, other = meeting(4, (0.0, 5.0), LONGEST_S, -10)
    at = np.arange(round(len(other) * (1 + ppm * 1e-6)) - 1) / (1 + ppm * 1e-6)
    drifted = np.interp(at, np.arange(len(other)), other).astype(np.int16)
    known = heard(one, drifted)
    first, second = align(known)
    assert first == Placed(0.0, 1.0, 0)
    assert (1 - second.rate) * 1e6 == pytest.approx(ppm, abs=30)
    for t in (0, len(drifted) / SAMPLE_RATE):
        truth = 5 + t / (1 + ppm * 1e-6)
        assert second.start_s + second.rate * t == pytest.approx(truth, abs=NEAR_S)
    back = align(known[::-1])
    assert (back[1].rate - 1) * 1e6 == pytest.approx(ppm, abs=30)


def test_tracks_of_an_hour_are_followed_to_their_ends() -> None:
    """Envelopes themselves, of clocks 90 ppm apart: 0.3 s at the end."""
    rng = np.random.default_rng(11)
    heard = rng.standard_normal((round(RATE * 3600), 8)).astype(np.float32)
    noise = rng.standard_normal((2, *heard.shape)).astype(np.float32)
    there = np.rint(np.arange(len(heard) - 8000) * (1 - 90e-6)).astype(np.int64) + 7500
    found = shift(heard + noise[0], heard[there] + noise[1, : len(there)])
    assert found is not None
    assert (found.rate - 1) * 1e6 == pytest.approx(90, abs=2)
    assert found.offset_s == pytest.approx(-7500 / RATE, abs=NEAR_S)


def test_who_is_heard_by_one_alone_is_placed_through_that_one() -> None:
    rng = np.random.default_rng(5)
    left, middle = conversation(range(2), 90, -10, rng)
    other, right = conversation(range(2, 4), 90, -10, rng)
    tracks = heard(recorded(left, 20), recorded(middle + other, 3), recorded(right, 30))
    assert shift(tracks[0], tracks[2]) is None
    for order in itertools.permutations(range(3)):
        found = align([tracks[n] for n in order])
        assert [track.group for track in found] == [0, 0, 0]
        assert [track.start_s for track in found] == [
            pytest.approx((17, 0, 27)[n], abs=NEAR_S) for n in order
        ]


def test_tracks_that_share_no_sound_make_groups_of_their_own() -> None:
    rng = np.random.default_rng(6)
    one = conversation(range(2), 60, -10, rng)
    two = conversation(range(2, 4), 60, -10, rng)
    found = placed(recorded(one[0]), recorded(two[0], 4), recorded(one[1], 9), recorded(two[1]))
    assert [track.group for track in found] == [0, 1, 0, 1]
    assert [track.start_s for track in found] == [
        pytest.approx(start, abs=NEAR_S) for start in (0, 4, 9, 0)
    ]


def test_a_single_track_is_where_it_is() -> None:
    assert placed(recorded(np.zeros(SAMPLE_RATE))) == [Placed(0.0, 1.0, 0)]


def hum(count: int, rng: np.random.Generator) -> Sound:
    """Mains hum, as every recorder of a house has it."""
    time = np.arange(count) / SAMPLE_RATE
    return sum(
        0.02 / n * np.sin(2 * np.pi * (50 * n * time + rng.random())) for n in (1, 2, 3, 5, 9)
    ) + np.zeros(count)


def fan(count: int, rng: np.random.Generator) -> Sound:
    return np.convolve(rng.standard_normal(count), np.ones(20) / 20, "same") * 0.02


def unrelated() -> Iterator[tuple[str, list[Floats]]]:
    rng = np.random.default_rng(8)
    count = 60 * SAMPLE_RATE
    said = [voice(number)[0][:count] for number in range(4)]
    alone, other, silence = heard(recorded(said[0]), recorded(said[1]), recorded(np.zeros(count)))
    yield "two who talk elsewhere", [alone, other]
    yield "silence", [silence, silence]
    yield "talk and silence", [alone, silence]
    noise = [hiss(mic)[:count] for mic in range(2)]
    yield "noise of devices", heard(recorded(noise[0]), recorded(noise[1]))
    mains = hum(count, rng)
    yield "hum", heard(recorded(mains + noise[0]), recorded(hum(count, rng) + noise[1]))
    yield "hum under talk", heard(recorded(said[2] + mains), recorded(said[3] + mains))
    yield "two fans", heard(recorded(fan(count, rng)), recorded(fan(count, rng)))
    bell = talk(6, rng) * 3
    rung = np.stack(said[2:])
    rung[0, : len(bell)] += bell
    rung[1, 400_000 : 400_000 + len(bell)] += bell
    yield "the same bell", heard(recorded(rung[0]), recorded(rung[1]))
    beat = np.tile(talk(2, rng), 30)
    yield "a beat", heard(recorded(beat + noise[0]), recorded(np.roll(beat, 9000) + noise[1]))
    yield "too little in common", heard(*meeting(9, (0.0, 22.0), 40, -10))
    yield "nothing", [alone, *heard(recorded(np.zeros(100)))]
    yield "a moment", [alone, other[: 4000 // HOP]]


def test_nothing_is_claimed_of_tracks_that_share_nothing() -> None:
    for name, (first, second) in unrelated():
        assert shift(first, second) is None, name
        assert shift(second, first) is None, name


def test_a_song_that_was_played_in_two_meetings_does_not_join_them() -> None:
    """Envelopes themselves: 40 s of two quarters of an hour in which both hear much else."""
    rng = np.random.default_rng(12)
    one, other = rng.standard_normal((2, 56_000, 8)).astype(np.float32)
    other[30_000:32_500] = one[8192:10_692]
    assert shift(one, other) is None
    other[20_000:55_000] = one[:35_000]
    assert shift(one, other) is not None


def test_the_last_seconds_of_one_and_the_first_of_another_do_not_do() -> None:
    rng = np.random.default_rng(13)
    one, other = rng.standard_normal((2, 8192, 8)).astype(np.float32)
    other[:200] = one[-200:]
    assert shift(one, other) is None


def test_the_pieces_of_a_file_do_not_matter() -> None:
    sound = recorded(talk(15, np.random.default_rng(10)))
    whole = envelopes([sound])
    assert len(whole) == len(sound) // 256
    for length in (100, 4096, 70_001):
        pieces = [sound[at : at + length] for at in range(0, len(sound), length)]
        assert np.allclose(envelopes(pieces), whole, atol=1e-3)
