from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.core.model import SAMPLE_RATE, TICK
from node.core.room.endpointing import (
    DETECTOR_LATE_MS,
    Audio,
    Ended,
    Endpointer,
    Endpointing,
    Event,
    Started,
)
from node.core.room.room import Room

if TYPE_CHECKING:
    import numpy.typing as npt

    from node.core.room.endpointing import Samples
    from node.core.room.room import MicEvents, Mode

LOUD = 8000


class LoudnessDetector:
    """Stands in for the speech model: a frame is speech where it is loud."""

    def __call__(self, frames: Samples) -> npt.NDArray[np.float32]:
        means = np.abs(frames.astype(np.int32)).mean(axis=1)
        return np.where(means > LOUD / 2, np.float32(1), np.float32(0))

    def reset(self) -> None:
        pass


def room(*mics: str, mode: Mode = "drop") -> Room:
    heard = Room(Endpointing(), mode)
    for mic in mics:
        heard.add(mic, LoudnessDetector())
    return heard


def sound(*parts: tuple[int, int]) -> Samples:
    return np.concatenate([np.full(count, level, np.int16) for level, count in parts])


def of(heard: MicEvents, mic: str) -> list[Event]:
    return [event for name, event in heard if name == mic]


def plain(events: list[Event]) -> list[Event | tuple[int, ...]]:
    return [tuple(e.samples.tolist()) if isinstance(e, Audio) else e for e in events]


def samples_of(events: list[Event]) -> list[int]:
    return [s for e in events if isinstance(e, Audio) for s in e.samples.tolist()]


parts = st.lists(st.tuples(st.sampled_from([0, LOUD]), st.integers(1, 12_000)), max_size=5)


def heard_alone(samples: Samples) -> list[Event]:
    """Return the utterances of one track, by endpointing alone."""
    endpointer, detector = Endpointer(Endpointing()), LoudnessDetector()
    frames = np.pad(samples, (0, -len(samples) % TICK)).reshape(-1, TICK)
    voices = detector(frames).tolist()
    events = [
        event
        for frame, voice in zip(frames, voices, strict=True)
        for event in endpointer.feed(frame, voice)
    ]
    return [
        replace(event, end=min(event.end, len(samples))) if isinstance(event, Ended) else event
        for event in events + endpointer.flush()
    ]


@settings(max_examples=25, deadline=None)
@given(parts, st.sampled_from(["drop", "tag", "off"]))
def test_one_microphone_is_heard_as_its_endpointing_has_it(
    spoken: list[tuple[int, int]], mode: Mode
) -> None:
    samples = sound((0, 1), *spoken)
    alone = room("a", mode=mode)
    expected = heard_alone(samples)
    events = of(alone.feed("a", samples) + alone.flush("a"), "a")
    assert plain(events) == plain(expected)
    assert alone.position("a") == len(samples)


@settings(max_examples=8, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3000)), max_size=40))
def test_no_sample_is_lost_or_doubled(order: list[tuple[str, int]]) -> None:
    """However the blocks of three microphones arrive, each is judged whole, once, in order."""
    three = room("a", "b", "c", mode="tag")
    track = sound((LOUD, 40 * TICK))
    fed = dict.fromkeys("abc", 0)
    events: MicEvents = []
    for mic, count in order:
        events += three.feed(mic, track[fed[mic] : fed[mic] + count])
        fed[mic] = min(len(track), fed[mic] + count)
    for mic in "abc":
        events += three.feed(mic, track[fed[mic] :]) + three.flush(mic)
    for mic in "abc":
        assert [e for e in of(events, mic) if isinstance(e, Started)] == [Started(0)]
        assert samples_of(of(events, mic)) == track.tolist()


def test_a_microphone_waits_for_the_others_no_longer_than_a_third_of_a_second() -> None:
    pair = room("a", "b")
    pair.feed("b", sound((0, TICK)))
    assert pair.feed("a", sound((LOUD, 10 * TICK))) == []
    assert of(pair.feed("a", sound((LOUD, 20 * TICK))), "a")[0] == Started(0)


def test_one_that_is_flushed_is_not_waited_for() -> None:
    pair = room("a", "b", mode="tag")
    pair.feed("b", sound((0, TICK)))
    pair.feed("a", sound((LOUD, 9 * TICK)))
    assert pair.flush("b") == []
    assert of(pair.feed("a", sound((LOUD, 8 * TICK))), "a")[0] == Started(0)


def test_a_promise_ends_with_its_utterance_also_where_that_began_alone() -> None:
    """Otherwise the next utterance would be kept, whoever spoke."""
    heard = room("a")
    heard.feed("a", sound((LOUD, 40 * TICK)))
    heard.add("b", LoudnessDetector(), 40 * TICK)
    heard._promised.add("a")
    assert any(isinstance(event, Ended) for _, event in heard.flush("a"))
    assert heard._promised == set()


def test_what_comes_late_is_kept() -> None:
    pair = room("a", "b")
    pair.feed("b", sound((0, TICK)))
    pair.feed("a", sound((0, 100 * TICK)))
    late = pair.feed("b", sound((LOUD, 60 * TICK), (0, 39 * TICK))) + pair.flush("b")
    [started, *_, ended] = of(late, "b")
    assert (started, ended) == (Started(0), Ended(71 * TICK))


def test_a_beginning_within_a_tick_lies_on_the_grid() -> None:
    placed = room(mode="off")
    placed.add("a", LoudnessDetector(), 1000)
    events = of(placed.feed("a", sound((LOUD, 20 * TICK))) + placed.flush("a"), "a")
    assert (events[0], events[-1]) == (Started(1000), Ended(1000 + 20 * TICK))
    assert samples_of(events)[: 20 * TICK] == [LOUD] * 20 * TICK


def test_a_long_gap_is_a_new_beginning() -> None:
    gapped = room("a", "b", mode="tag")
    gapped.feed("a", sound((LOUD, 20 * TICK + 100)))
    there = 20 * TICK + 100 + SAMPLE_RATE + 1
    assert of(gapped.skip_to("a", there), "a")[-1] == Ended(20 * TICK + 100)
    assert gapped.position("a") == there


def test_nothing_is_heard_twice() -> None:
    heard = room("a")
    heard.feed("a", sound((0, 20 * TICK)))
    assert heard.skip_to("a", 10 * TICK) == []
    assert heard.position("a") == 20 * TICK


def test_a_short_gap_is_silence() -> None:
    gapped = room("a")
    gapped.feed("a", sound((LOUD, 20 * TICK)))
    events = gapped.skip_to("a", 30 * TICK) + gapped.feed("a", sound((LOUD, 10 * TICK)))
    assert samples_of(of(events, "a")) == [0] * 10 * TICK + [LOUD] * 10 * TICK


def test_level_is_that_since_the_last_look() -> None:
    heard = room("a")
    heard.feed("a", sound((16384, 2 * TICK)))
    assert heard.level_dbfs("a") == pytest.approx(-6.0)
    assert heard.level_dbfs("a") == -100


@pytest.mark.parametrize("mode", ["drop", "tag", "off"])
def test_a_room_is_busy_while_somebody_speaks_or_may_be_about_to(mode: Mode) -> None:
    quiet, speech = sound((0, SAMPLE_RATE)), sound((LOUD, TICK))
    heard = room("a", "b", mode=mode)

    def feed(*sounds: Samples) -> bool:
        for mic, samples in zip(("a", "b"), sounds, strict=True):
            heard.feed(mic, samples)
        return heard.busy

    assert not feed(quiet, quiet)
    assert feed(speech, quiet[:TICK]), "the first frame of speech counts"
    assert feed(quiet[: SAMPLE_RATE // 4], quiet[: SAMPLE_RATE // 4]), "it may go on"
    assert not feed(quiet, quiet)


def test_silence_ends_an_utterance_without_waiting_for_whose_it_is() -> None:
    heard = room("a", "b")
    quiet = np.zeros(TICK, np.int16)
    spoken = np.full(TICK, LOUD, np.int16)
    hangover = (Endpointing().hangover_ms - DETECTOR_LATE_MS) * SAMPLE_RATE // 1000 // TICK
    for _ in range(30):
        heard.feed("a", spoken)
        heard.feed("b", quiet)
    ended = []
    for _ in range(hangover):
        events = of(heard.feed("a", quiet) + heard.feed("b", quiet), "a")
        ended.append(any(isinstance(event, Ended) for event in events))
    assert ended == [False] * (hangover - 1) + [True]
