"""Rooms in which microphones come and go or drift, in sound that is shaped like speech.

The voices are noise with syllables; a detector that hears loudness stands in for Silero.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest

from node.commands.memory_sink import MemorySink, RecordedUtterance
from node.core.model import SAMPLE_RATE, Assignment
from node.core.room.endpointing import Ended, Endpointing, Started
from node.core.room.hearing import KEPT_TICKS
from node.core.room.room import Room
from node.service.listening.microphone import Placer
from node.service.listening.recorder import Recorder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from node.adapters.vad import Silero
    from node.core.room.endpointing import Samples
    from node.core.room.room import MicEvents

    Sound = npt.NDArray[np.float64]
    Spans = Sequence[tuple[float, float]]

BLOCK = 768
NOISE, LOUD = 15.0, 250.0
SYLLABLE_S = 0.15


class LoudnessDetector:
    def __init__(self, loud: float = LOUD) -> None:
        self._loud = loud

    def __call__(self, frames: Samples) -> npt.NDArray[np.float32]:
        power = np.square(frames.astype(np.float32)).mean(axis=1)
        return np.where(power > self._loud**2, np.float32(0.9), np.float32(0.05))

    def reset(self) -> None:
        pass


class LoudnessModel:
    """Stands in for Silero where a recorder asks it for detectors."""

    def detector(self) -> LoudnessDetector:
        return LoudnessDetector()


@dataclass(frozen=True, slots=True)
class Heard:
    """An utterance that has ended; times in seconds."""

    mic: str
    start: float
    end: float
    crosstalk_of: str | None
    sound: Samples | None
    raw: Samples | None


def voice(seconds: float, seed: int) -> Sound:
    """Noise that falls with frequency like a voice, in syllables of different loudness."""
    rng = np.random.default_rng(seed)
    count = round(seconds * SAMPLE_RATE)
    hertz = np.fft.rfftfreq(count, 1 / SAMPLE_RATE)
    shape = (hertz > 100) / (1 + (hertz / 500) ** 1.2)
    coloured = np.fft.irfft(np.fft.rfft(rng.standard_normal(count)) * shape, count)
    length = round(SYLLABLE_S * SAMPLE_RATE)
    syllables = np.repeat(rng.choice([0.15, 0.6, 1.0, 1.5], count // length + 1), length)[:count]
    window = np.hanning(length // 3)
    sound = coloured * np.convolve(syllables, window / window.sum(), "same")
    scaled: Sound = sound / sound.std()
    return scaled


def spoken(seconds: float, seed: int, spans: Spans, level: float = 2500) -> Sound:
    sound = np.zeros(round(seconds * SAMPLE_RATE))
    said = voice(seconds, seed) * level
    for begin, end in spans:
        span = slice(round(begin * SAMPLE_RATE), round(end * SAMPLE_RATE))
        sound[span] = said[span]
    return sound


def heard_by(gains: Sequence[float], delays: Sequence[int], *voices: Sound, seed: int) -> Samples:
    """What one microphone hears of voices, so loud and so many samples late."""
    rng = np.random.default_rng(seed)
    sound = rng.normal(0, NOISE, len(voices[0]))
    for gain, delay, each in zip(gains, delays, voices, strict=True):
        sound[delay:] += gain * each[: len(each) - delay]
    return np.clip(np.rint(sound), -32768, 32767).astype(np.int16)


def two(a: Sound, b: Sound, leak: float, delay: int = 60) -> dict[str, Samples]:
    """Two microphones with a speaker each, who is `leak` as loud at the other one."""
    return {
        "A": heard_by((1, leak), (0, delay), a, b, seed=11),
        "B": heard_by((leak, 1), (delay, 0), a, b, seed=12),
    }


def blocks(tracks: dict[str, Samples]) -> Iterator[tuple[float, str, int, Samples]]:
    """Yield time, microphone, position and sound of all blocks, in turns."""
    for at in range(0, len(next(iter(tracks.values()))), BLOCK):
        for mic, track in tracks.items():
            yield at / SAMPLE_RATE, mic, at, track[at : at + BLOCK]


def room_of(*mics: str, loud: float = LOUD) -> Room:
    room = Room(Endpointing(), "drop")
    for mic in mics:
        room.add(mic, LoudnessDetector(loud))
    return room


def utterances(events: MicEvents) -> list[Heard]:
    begun: dict[str, float] = {}
    found = []
    for mic, event in events:
        if isinstance(event, Started):
            begun[mic] = event.start / SAMPLE_RATE
        elif isinstance(event, Ended):
            end = event.end / SAMPLE_RATE
            found.append(Heard(mic, begun[mic], end, event.crosstalk_of, event.sound, event.raw))
    return found


def own(found: list[Heard], after: float = 0) -> list[tuple[str, float]]:
    """The microphone and the beginning of each utterance that is kept."""
    kept = [each for each in found if each.crosstalk_of is None and each.end > after]
    return sorted((each.mic, each.start) for each in kept)


@pytest.mark.parametrize("how", ["unplugged", "switched off"])
def test_a_microphone_that_was_away_takes_over_nobodys_sentences(how: str) -> None:
    """It hears nothing of others meanwhile; that does not mean that it is far from them."""
    seconds = 60
    a = spoken(seconds, 1, [(1, 4), (9, 12), (40, 43), (50, 53)])
    b = spoken(seconds, 2, [(5, 8), (13, 19), (22, 26), (28, 31), (33, 38), (45, 48), (55, 58)])
    room, events, out = room_of("A", "B"), [], False
    for time_s, mic, at, sound in blocks(two(a, b, 0.2)):
        away = mic == "A" and 14 <= time_s < 20
        if away and how == "unplugged":
            events += [] if out else room.flush("A")
            out = True
        else:
            events += room.skip_to(mic, at)
            events += room.feed(mic, np.zeros_like(sound) if away else sound)
    for mic in "AB":
        events += room.flush(mic)
    found = own(utterances(events), after=21)
    assert [mic for mic, _ in found].count("A") == 2
    begins = [begin for mic, begin in found if mic == "B"]
    assert begins == pytest.approx([22, 28, 33, 45, 55], abs=0.6)


@pytest.mark.parametrize("joins_s", [5.5, 5.9])
def test_one_that_joins_leaves_what_was_being_said_alone(joins_s: float) -> None:
    """There is nothing to compare its beginning with."""
    seconds = 14
    a = spoken(seconds, 1, [(1, 6)])
    b = spoken(seconds, 2, [(8, 11)])
    tracks, room = two(a, b, 0.2), room_of("A")
    events, joined = [], False
    for time_s, mic, at, sound in blocks(tracks):
        if time_s >= joins_s and not joined:
            room.add("B", LoudnessDetector(), at)
            joined = True
        if mic == "A" or joined:
            events += room.skip_to(mic, at) + room.feed(mic, sound)
    for mic in "AB":
        events += room.flush(mic)
    first = next(each for each in utterances(events) if each.mic == "A")
    assert (first.crosstalk_of, first.sound, first.raw) == (None, None, None)
    assert first.start < 1.1
    assert first.end > 6


def test_one_that_is_given_up_costs_the_others_no_sound() -> None:
    """What the others had heard, but was not compared yet, is compared then."""
    seconds = 40
    a = spoken(seconds, 1, [(1, 4), (8, 12), (16, 19), (24, 36)])
    c = spoken(seconds, 2, [(4.6, 7.5), (12.5, 15.5), (20, 23), (26, 28), (33, 35)])
    tracks = {**two(a, c, 0.3), "D": heard_by((0.3, 0.3), (40, 50), a, c, seed=13)}
    room, events = room_of(*tracks), []
    given_up = False
    for time_s, mic, _, sound in blocks(tracks):
        if mic == "D" and time_s >= 29:
            if time_s >= 31 and not given_up:
                events += room.flush("D")
                given_up = True
            continue
        events += room.feed(mic, sound)
    for mic in tracks:
        events += room.flush(mic)
    (last,) = (each for each in utterances(events) if each.mic == "A" and each.start > 22)
    assert last.sound is not None
    assert last.raw is not None
    heard = rms(tracks["A"], 30.76, 31.0)
    begin = last.start
    assert rms(last.sound, 30.76 - begin, 31 - begin) > 0.5 * heard
    assert rms(last.raw, 30.76 - begin, 31 - begin) == pytest.approx(heard, rel=0.01)


def rms(sound: Samples, begin_s: float, end_s: float) -> float:
    span = sound[round(begin_s * SAMPLE_RATE) : round(end_s * SAMPLE_RATE)]
    return float(np.sqrt(np.square(span.astype(float)).mean()))


@pytest.mark.parametrize("seed", [1, 3])
def test_an_answer_close_behind_is_not_lost_with_what_it_answers(seed: int) -> None:
    """At a close microphone both are one utterance, of which most is the other's."""
    seconds = 50
    a = spoken(seconds, seed, [(1, 4), (9, 12), (24, 30)], 1500)
    b = spoken(seconds, seed + 1, [(5, 8), (13, 18), (30.2, 33.7)], 1500)
    tracks = {
        "A": heard_by((0.7, 0.7 * 0.7), (0, 70), a, b, seed=11),
        "B": heard_by((0.7 * 1.4, 1.4), (70, 0), a, b, seed=12),
    }
    room = room_of("A", "B", loud=120)
    events = [event for _, mic, _, sound in blocks(tracks) for event in room.feed(mic, sound)]
    for mic in tracks:
        events += room.flush(mic)
    kept = [each for each in utterances(events) if each.crosstalk_of is None]
    assert any(each.mic == "B" and each.start < 31 and each.end > 33.5 for each in kept)


@pytest.mark.parametrize("gains", [(0.75, 0.7), (0.7, 0.75)])
@pytest.mark.parametrize("order", ["AB", "BA"])
def test_a_guest_who_talks_for_long_is_written_once(gains: tuple[float, float], order: str) -> None:
    """Somebody without a microphone, beyond the length at which an utterance is split."""
    seconds = 60
    a = spoken(seconds, 1, [(1, 4), (9, 12)])
    b = spoken(seconds, 2, [(5, 8), (13, 16)])
    guest = spoken(seconds, 3, [(20 + 3 * n, 22.85 + 3 * n) for n in range(10)], 1500)
    tracks = {
        "A": heard_by((1, 0.3, gains[0]), (0, 60, 30), a, b, guest, seed=11),
        "B": heard_by((0.3, 1, gains[1]), (60, 0, 50), a, b, guest, seed=12),
    }
    room = room_of(*order)
    turns = {mic: tracks[mic] for mic in order}
    events = [event for _, mic, _, sound in blocks(turns) for event in room.feed(mic, sound)]
    for mic in order:
        events += room.flush(mic)
    kept = [each for each in utterances(events) if each.crosstalk_of is None and each.end > 19.5]
    spans = sorted((each.start, each.end) for each in kept)
    assert all(first[1] <= second[0] + 0.5 for first, second in pairwise(spans))
    assert spans[0][0] < 20.5
    assert spans[-1][1] > 49


def close_together(seconds: float) -> dict[str, Samples]:
    """Two microphones 1 m apart, whose speakers take eleven turns within 42 s."""
    a = spoken(seconds, 1, [(1, 4), (9, 12), (16, 19), (23, 26), (31.5, 34.5), (39, 42)])
    b = spoken(seconds, 2, [(5, 8), (12.5, 15.5), (19.5, 22.5), (26.5, 29.5), (35, 38)])
    return two(a, b, 0.7, delay=46)


def test_lost_sound_that_is_filled_inexactly_changes_no_name() -> None:
    """The step is about twice the path, so that one is then heard from where the other was."""
    tracks, room, events = close_together(46), room_of("A", "B"), []
    lost_at, lost, filled = 625 * BLOCK, 1600, 1508
    tracks["B"] = np.delete(tracks["B"], range(lost_at, lost_at + lost))
    for _, mic, at, sound in blocks(tracks):
        events += room.skip_to(mic, at + filled if mic == "B" and at >= lost_at else at)
        events += room.feed(mic, sound)
    for mic in "AB":
        events += room.flush(mic)
    kept = [each for each in utterances(events) if each.crosstalk_of is None]
    assert [each.mic for each in kept] == ["A", "B"] * 5 + ["A"]


ZERO = 1000.0
"""Time of sample 0, in seconds of the monotonic clock."""


def listening(room: Room, sink: MemorySink) -> tuple[Recorder[Any], dict[str, Placer]]:
    """Return a recorder of two microphones, and what places their sound."""
    recorder: Recorder[Any] = Recorder(
        "session", room, cast("Silero", LoudnessModel()), sink, "drop"
    )
    placers = {mic: Placer(mic, ZERO, recorder) for mic in "AB"}
    for mic, placer in placers.items():
        recorder.join(mic, Assignment(mic))
        placer.go()
    return recorder, placers


@pytest.mark.parametrize("late", [560, 1600])
def test_a_stream_that_is_soon_back_may_be_late_otherwise(late: int) -> None:
    """The device has another delay, although it was away for less than a second."""
    tracks, room = close_together(46), Room(Endpointing(), "drop")
    lost, back = round(22.8 * SAMPLE_RATE), 23 * SAMPLE_RATE
    tracks["B"] = np.insert(tracks["B"], lost, np.zeros(late, np.int16))
    _, placers = listening(room, MemorySink())
    for _, mic, at, sound in blocks(tracks):
        if mic == "B" and lost <= at < back:
            placers[mic].lose()
            continue
        if mic == "B" and back <= at < back + BLOCK:
            assert room.lags_s()["B"] == pytest.approx(0, abs=0.006)
        placers[mic].take(sound, ZERO + (at + len(sound)) / SAMPLE_RATE, sound)
        placers[mic].pour()
    assert room.lags_s()["B"] == pytest.approx(late / SAMPLE_RATE, abs=0.006)
    seen = room._ownership._arrivals._seen[0, 1]
    assert seen[0][0] > back / SAMPLE_RATE, "nothing counts that was heard with the old delay"


def test_a_clock_that_is_corrected_changes_no_name() -> None:
    """The step is about twice the path, so that one is then heard from where the other was."""
    seconds, ppm = 46, 200
    tracks, sink = close_together(seconds), MemorySink()
    fast = np.arange(seconds * SAMPLE_RATE) / (1 + ppm / 1e6)
    tracks["B"] = np.rint(np.interp(fast, np.arange(len(fast)), tracks["B"])).astype(np.int16)
    recorder, placers = listening(Room(Endpointing(), "drop"), sink)
    for _, mic, at, sound in blocks(tracks):
        rate = SAMPLE_RATE * (1 + ppm / 1e6 if mic == "B" else 1)
        placers[mic].take(sound, ZERO + (at + len(sound)) / rate, sound)
        placers[mic].pour()
    ends = {mic: recorder.close(mic) for mic in placers}
    assert ends["B"] < ends["A"] - 80, "its clock has been corrected"
    recorded = [one.utterance for one in sink.take() if isinstance(one, RecordedUtterance)]
    assert [one.mic for one in recorded] == ["A", "B"] * 5 + ["A"]


def test_hours_leave_nothing_behind() -> None:
    seconds = 14
    minute = two(spoken(seconds, 1, [(0, 3)]), spoken(seconds, 2, [(3, 6)]), 0.2)
    room = room_of("A", "B")
    for turn in range(16):
        for _, mic, at, sound in blocks(minute):
            room.skip_to(mic, at + turn * seconds * SAMPLE_RATE)
            room.feed(mic, sound)
    assert len(room._ownership._voiced) <= 2 * KEPT_TICKS
