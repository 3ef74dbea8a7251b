"""Which utterances a room keeps, of people who are heard by every microphone."""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pytest

from node.core.model import SAMPLE_RATE, TICK
from node.core.room import doubletalk
from node.core.room.endpointing import Audio, Ended, Endpointing, Started, Withdrawn
from node.core.room.hearing import HOP
from node.core.room.room import Room
from tests.rig import talk

if TYPE_CHECKING:
    import numpy.typing as npt

    from node.core.room.endpointing import Samples
    from node.core.room.room import MicEvents, Mode
    from tests.rig.talk import Tracks, Turns

Utterance = tuple[str, float, float, str | None]
"""Microphone, first and last second of speech, and whose speech it was instead."""

TURNS: Turns = {0: [(0.2, 1.4), (3.4, 4.4)], 1: [(1.4, 2.6), (5.2, 6.2)]}
"""Two introduce themselves; then each speaks alone, with a pause that ends an utterance."""
SECONDS = 7.0


@pytest.fixture(autouse=True)
def _little_is_learned_from(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sound is not what these tests look at: 9 s are as good as half a minute, most of it empty."""
    monkeypatch.setattr(doubletalk, "LEARNED_HOPS", 9 * SAMPLE_RATE // HOP)


class Loudness:
    """Stands in for the speech model: a frame is speech where it is loud."""

    def __call__(self, frames: Samples) -> npt.NDArray[np.float32]:
        return np.where(np.abs(frames).max(axis=1) > talk.HEARD, np.float32(1), np.float32(0))

    def reset(self) -> None:
        pass


def room(mics: str, mode: Mode) -> Room:
    made = Room(Endpointing(hangover_ms=600), mode)
    for mic in mics:
        made.add(mic, Loudness())
    return made


def feed(made: Room, tracks: dict[str, Tracks]) -> MicEvents:
    """Half a second from each microphone in turn, as they deliver it."""
    heard: MicEvents = []
    sound = {mic: talk.samples_of(track) for mic, track in tracks.items()}
    longest = max(len(samples) for samples in sound.values())
    for begin in range(0, longest, SAMPLE_RATE // 2):
        for mic, samples in sound.items():
            heard += made.feed(mic, samples[begin : begin + SAMPLE_RATE // 2])
    return heard


def utterances(heard: MicEvents) -> list[Utterance]:
    """In the order in which they end."""
    begun: dict[str, Started] = {}
    made: list[Utterance] = []
    for mic, event in heard:
        if isinstance(event, Started):
            begun[mic] = event
        elif isinstance(event, Ended):
            first, last = (sample / SAMPLE_RATE for sample in event.speech)
            made.append((mic, round(first, 1), round(last, 1), event.crosstalk_of))
            begun.pop(mic)
    assert not begun
    return made


def finished(made: Room, mics: str, heard: MicEvents) -> list[Utterance]:
    for mic in mics:
        heard += made.flush(mic)
    return utterances(heard)


@cache
def _meeting() -> Tracks:
    return talk.meeting(TURNS, SECONDS)


def conversation(order: str) -> dict[str, Tracks]:
    tracks = dict(zip("ab", _meeting(), strict=True))
    return {mic: tracks[mic] for mic in order}


@cache
def _after_conversation(mics: str, mode: Mode) -> tuple[Room, MicEvents]:
    made = room(mics, mode)
    return made, feed(made, conversation(mics))


def after_conversation(mics: str, mode: Mode) -> tuple[Room, MicEvents]:
    """Return a room that has heard it, and what it made of it."""
    return deepcopy(_after_conversation(mics, mode))


def guest(order: str, seconds: float, **levels: float) -> dict[str, Tracks]:
    """Somebody without a microphone, with a level at each one."""
    spoken = talk.voice(5, seconds) * np.float32(talk.LOUDNESS / 2)
    return {mic: spoken * np.float32(levels[mic]) for mic in order}


INTRODUCED = 3.0
"""Second from which both are known to the room."""


def later(made: list[Utterance]) -> set[Utterance]:
    return {utterance for utterance in made if utterance[1] > INTRODUCED}


@pytest.mark.parametrize("mics", ["ab", "ba"])
def test_leaks_open_no_utterance(mics: str) -> None:
    made, events = after_conversation(mics, "drop")
    heard = finished(made, mics, events)
    assert later(heard) == {("a", 3.4, 4.4, None), ("b", 5.2, 6.2, None)}
    assert {mic for mic, _, _, other in heard if other is None} == {"a", "b"}


@pytest.mark.parametrize("mics", ["ab", "ba"])
def test_tagged_leaks_name_whose_speech_they_are(mics: str) -> None:
    made, events = after_conversation(mics, "tag")
    heard = later(finished(made, mics, events))
    own = {("a", 3.4, 4.4, None), ("b", 5.2, 6.2, None)}
    assert own < heard
    assert {(mic, other) for mic, _, _, other in heard - own} == {("b", "a"), ("a", "b")}


def test_the_last_words_of_the_one_before_are_faint_where_an_utterance_begins() -> None:
    """They lie within the sound that is kept before speech."""
    turns: Turns = {0: [(0.2, 1.4), (4.0, 5.0)], 1: [(1.4, 2.6), (3.0, 4.0)]}
    tracks = dict(zip("ab", talk.meeting(turns, 6.0), strict=True))
    made = room("ab", "drop")
    heard = [event for mic, event in feed(made, tracks) + made.flush("a") if mic == "a"]
    begun, start = max((at, e.start) for at, e in enumerate(heard) if isinstance(e, Started))
    sent = np.concatenate([event.samples for event in heard[begun:] if isinstance(event, Audio)])
    raw = talk.samples_of(tracks["a"])[start : start + len(sent)]
    before, own = slice(0, SAMPLE_RATE // 8), slice(SAMPLE_RATE // 2, SAMPLE_RATE)
    assert 3.5 < start / SAMPLE_RATE < 3.8
    assert rms(raw[before]) > 50
    assert rms(sent[before]) < 0.03 * rms(raw[before])
    assert np.array_equal(sent[own], raw[own])


@pytest.mark.parametrize("mode", ["drop", "tag"])
@pytest.mark.parametrize("seconds", [0.15, 0.2])
def test_a_short_word_is_kept_once_by_its_own_microphone(mode: Mode, seconds: float) -> None:
    made, _ = after_conversation("ab", mode)
    word = feed(made, guest("ab", seconds, a=1, b=0.3))
    kept = [one for one in finished(made, "ab", word) if one[-1] is None]
    assert [mic for mic, *_ in kept] == ["a"]


def rms(sound: Samples) -> float:
    return float(np.sqrt(np.square(sound.astype(float)).mean()))


def test_a_late_microphone_is_found_to_be_late() -> None:
    made = room("ab", "tag")
    assert made.lags_s() == {"a": None, "b": None}
    feed(made, dict(zip("ab", talk.meeting(TURNS, SECONDS, lag=SAMPLE_RATE // 10), strict=True)))
    assert made.lags_s() == pytest.approx({"a": 0, "b": 0.1}, abs=0.006)


def test_another_stream_of_a_microphone_may_be_late_otherwise() -> None:
    made, _ = after_conversation("ab", "tag")
    assert made.lags_s() == pytest.approx({"a": 0, "b": 0}, abs=0.006)
    assert made.begin_stream("b", made.position("b")) == []
    feed(made, dict(zip("ab", talk.meeting(TURNS, SECONDS, lag=SAMPLE_RATE // 10), strict=True)))
    assert made.lags_s() == pytest.approx({"a": 0, "b": 0.1}, abs=0.006)


def test_what_is_kept_has_the_raw_sound_beside_it() -> None:
    tracks = conversation("ab")
    made, heard = after_conversation("ab", "drop")
    for mic in "ab":
        heard += made.flush(mic)
    starts = [(mic, event.start) for mic, event in heard if isinstance(event, Started)]
    kept = [(mic, event) for mic, event in heard if isinstance(event, Ended)]
    compared = 0
    for mic, ended in kept:
        if ended.crosstalk_of is None and ended.raw is not None:
            start = max(at for who, at in starts if who == mic and at < ended.end)
            spoken = ended.speech[1]  # what follows may not have been heard by all yet
            sound = talk.samples_of(tracks[mic])[start:spoken]
            assert np.array_equal(ended.raw[: spoken - start], sound)
            assert len(ended.raw) == ended.end - start
            compared += 1
    assert compared == sum(ended.crosstalk_of is None for _, ended in kept) > 0


@pytest.mark.parametrize(("mics", "mode"), [("a", "drop"), ("ab", "tag"), ("ab", "off")])
def test_where_nothing_is_taken_out_there_is_no_raw_sound(mics: str, mode: Mode) -> None:
    made, heard = after_conversation(mics, mode)
    for mic in mics:
        heard += made.flush(mic)
    assert all(event.raw is None for _, event in heard if isinstance(event, Ended))


def test_every_microphone_alone_keeps_all_that_it_hears() -> None:
    made, events = after_conversation("ab", "off")
    heard = later(finished(made, "ab", events))
    assert sorted(mic for mic, *_ in heard) == ["a", "a", "b", "b"]
    assert {other for *_, other in heard} == {None}


@pytest.mark.parametrize("mode", ["drop", "tag"])
@pytest.mark.parametrize("mics", ["ab", "ba"])
def test_a_guest_is_kept_once_by_the_microphone_that_hears_better(mics: str, mode: Mode) -> None:
    """Whichever ends first."""
    made, _ = after_conversation(mics, mode)
    heard = finished(made, mics, feed(made, guest(mics, 1.2, a=1, b=0.85)))
    assert [one for one in heard if one[-1] is None] == [("a", SECONDS, SECONDS + 1.2, None)]
    assert [(mic, other) for mic, _, _, other in heard if other] == [("b", "a")]


def test_what_another_was_forgotten_for_is_kept() -> None:
    """Even if the guest then walks over, so that the other hears more of it better."""
    made, _ = after_conversation("ab", "tag")
    events = feed(made, guest("ab", 1.2, a=1, b=0.85)) + made.flush("b")
    heard = finished(made, "ab", events + feed(made, guest("ba", 2.4, a=0.8, b=1)))
    assert heard[0] == ("b", SECONDS, SECONDS + 1.2, "a")
    assert heard[1] == ("a", SECONDS, SECONDS + 3.6, None)


def test_one_who_is_heard_better_where_nothing_is_kept_is_not_lost() -> None:
    made, _ = after_conversation("ab", "tag")
    heard: MicEvents = []
    for at in np.split(np.arange(SAMPLE_RATE), 16):
        tracks = {mic: track[at] for mic, track in guest("ba", 1.0, a=1, b=0.85).items()}
        heard += feed(made, tracks) + made.flush("a")
    assert finished(made, "ab", heard) == [("b", SECONDS, SECONDS + 1.0, None)]


PATH = 48
"""Samples (1 m) by which a voice reaches the other microphone later."""


def table(first_end_s: float = 1.0) -> dict[str, Tracks]:
    """Two who take turns; the first says so little that nobody knows yet what leaks."""
    turns = {0: [(0.2, first_end_s), (4.4, 5.8)], 1: [(2.4, 3.6), (6.6, 8.0)]}
    spoken = np.zeros((2, 9 * SAMPLE_RATE), np.float32)
    for speaker, spans in turns.items():
        sound = np.mean([talk.voice(speaker + 2 * n, 9) for n in range(6)], axis=0)
        for start, end in spans:
            part = slice(int(start * SAMPLE_RATE), int(end * SAMPLE_RATE))
            spoken[speaker, part] = sound[part]
    leaks = 0.5 * np.roll(spoken[::-1], PATH, axis=1)
    noise = np.random.default_rng(9).standard_normal(spoken.shape) * talk.NOISE
    return dict(zip("ab", (spoken + leaks + noise).astype(np.float32), strict=True))


def test_what_was_kept_too_early_is_withdrawn_once_both_are_known() -> None:
    heard = feed(room("ab", "drop"), table())
    withdrawn = [(mic, event) for mic, event in heard if isinstance(event, Withdrawn)]
    made = utterances([(mic, event) for mic, event in heard if (mic, event) not in withdrawn])
    kept = [(mic, first) for mic, first, _, other in made if other is None]
    assert kept == [("a", 0.2), ("b", 0.2), ("b", 2.4), ("a", 4.4), ("b", 6.6)]
    starts = [event.start for mic, event in heard if mic == "b" and isinstance(event, Started)]
    assert withdrawn == [("b", Withdrawn(starts[0], "a"))]


class DeafAtFirst(Loudness):
    """Misses speech in the first two seconds, as a real one may."""

    def __init__(self) -> None:
        self._frames = 0

    def __call__(self, frames: Samples) -> npt.NDArray[np.float32]:
        self._frames += len(frames)
        deaf = self._frames * TICK < 2 * SAMPLE_RATE
        return super().__call__(frames) * np.float32(not deaf)


def test_nothing_is_withdrawn_that_nobody_else_has() -> None:
    made = Room(Endpointing(hangover_ms=600), "drop")
    made.add("a", DeafAtFirst())
    made.add("b", Loudness())
    heard = feed(made, table(0.8))
    withdrawn = [(mic, event) for mic, event in heard if isinstance(event, Withdrawn)]
    first = utterances([(mic, event) for mic, event in heard if (mic, event) not in withdrawn])[0]
    assert first == ("b", 0.2, 0.8, None)
    assert withdrawn == []


def one_after_the_other() -> dict[str, Tracks]:
    """Half a second of b's speaker, then of a's: both microphones hear one utterance."""
    spoken = np.zeros((2, 2 * SAMPLE_RATE), np.float32)
    for speaker, begin in ((1, 3200), (0, 11200)):
        part = slice(begin, begin + SAMPLE_RATE // 2)
        sound = np.mean([talk.voice(speaker + 2 * n, 9) for n in range(6)], axis=0)
        spoken[speaker, part] = sound[part]
    noise = np.random.default_rng(9).standard_normal(spoken.shape) * talk.NOISE
    heard = spoken + 0.5 * np.roll(spoken[::-1], PATH, axis=1) + noise
    return dict(zip("ab", heard.astype(np.float32), strict=True))


def test_what_is_no_longer_remembered_whole_is_not_judged_again() -> None:
    """When both become known, sound is kept from the middle of the first utterance on: what is
    left of it at b was a's.
    """
    made = room("ab", "drop")
    noise = np.random.default_rng(1).standard_normal((2, 28 * SAMPLE_RATE), np.float32)
    heard = feed(made, one_after_the_other())
    heard += feed(made, dict(zip("ab", noise * np.float32(talk.NOISE), strict=True)))
    heard += feed(made, {mic: track[2 * SAMPLE_RATE :] for mic, track in table().items()})
    assert any(isinstance(event, Ended) and event.crosstalk_of for _, event in heard)
    assert not any(isinstance(event, Withdrawn) for _, event in heard)
