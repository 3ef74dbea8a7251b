from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.core.model import SAMPLE_RATE, TICK
from node.core.segmenter import Audio, Ended, Endpointing, Event, Started
from node.core.track import SILENCE_DBFS, Track

if TYPE_CHECKING:
    from node.core.segmenter import Samples

LOUD = 8000


class LoudnessDetector:
    """Stands in for the speech model: a frame is speech where it is loud."""

    def __init__(self) -> None:
        self.frames = 0
        self.resets = 0

    def __call__(self, samples: Samples) -> float:
        assert len(samples) == TICK
        self.frames += 1
        return 1.0 if np.abs(samples.astype(np.int32)).mean() > LOUD / 2 else 0.0

    def reset(self) -> None:
        self.resets += 1


def track(position: int = 0) -> Track:
    return Track(LoudnessDetector(), Endpointing(), position)


def sound(*parts: tuple[int, int]) -> Samples:
    """Constant level for so many samples, part after part."""
    return np.concatenate([np.full(count, level, np.int16) for level, count in parts])


def plain(events: list[Event]) -> list[Event | tuple[int, ...]]:
    """Events that can be compared: arrays compare element by element."""
    return [tuple(e.samples.tolist()) if isinstance(e, Audio) else e for e in events]


def marks(events: list[Event]) -> list[Event]:
    return [event for event in events if not isinstance(event, Audio)]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([0, LOUD]), st.integers(1, 12_000)), max_size=5),
    st.lists(st.integers(0, 3000), max_size=30),
)
def test_any_chunking_of_the_same_sound_gives_the_same_events(
    parts: list[tuple[int, int]], cuts: list[int]
) -> None:
    samples = sound((0, 1), *parts)
    whole, chunked = track(), track()
    expected = whole.feed(samples) + whole.flush()
    events: list[Event] = []
    for piece in np.split(samples, np.cumsum(cuts)):
        events += chunked.feed(piece)
    assert plain(events + chunked.flush()) == plain(expected)
    assert chunked.position == whole.position == len(samples)


def test_positions_count_from_where_the_track_begins() -> None:
    placed = track(position=1000)
    assert marks(placed.feed(sound((LOUD, 10 * TICK)))) == [Started(1000)]


def test_the_caller_may_use_its_buffer_again() -> None:
    reused = track()
    buffer = sound((LOUD, 10 * TICK))
    [_, audio, *_] = reused.feed(buffer)
    buffer[:] = 0
    assert isinstance(audio, Audio)
    assert audio.samples.min() == LOUD


def test_a_short_gap_is_silence_within_the_utterance() -> None:
    gapped = track()
    gapped.feed(sound((LOUD, 20 * TICK)))
    events = gapped.skip_to(30 * TICK) + gapped.feed(sound((LOUD, 10 * TICK))) + gapped.flush()
    assert marks(events) == [Ended(40 * TICK)]
    heard = np.concatenate([event.samples for event in events if isinstance(event, Audio)])
    assert heard.tolist() == [0] * 10 * TICK + [LOUD] * 10 * TICK


def test_a_long_gap_is_a_new_beginning() -> None:
    detector = LoudnessDetector()
    gapped = Track(detector, Endpointing())
    gapped.feed(sound((LOUD, 20 * TICK + 100)))
    there = 20 * TICK + 100 + SAMPLE_RATE + 1
    assert marks(gapped.skip_to(there)) == [Ended(20 * TICK + 100)]
    assert gapped.position == there
    assert detector.resets == 1
    assert marks(gapped.feed(sound((LOUD, 10 * TICK)))) == [Started(there)]


def test_a_gap_before_any_sound_moves_the_beginning() -> None:
    gapped = track()
    assert gapped.skip_to(5 * SAMPLE_RATE) == []
    assert marks(gapped.feed(sound((LOUD, 10 * TICK)))) == [Started(5 * SAMPLE_RATE)]


def test_going_back_is_not_possible() -> None:
    steady = track()
    steady.feed(sound((0, 1000)))
    assert steady.skip_to(1000) == []
    assert steady.skip_to(10) == []
    assert steady.position == 1000


def test_flush_keeps_the_samples_that_fill_no_frame() -> None:
    cut = track()
    events = cut.feed(sound((LOUD, 20 * TICK + 7))) + cut.flush()
    assert marks(events) == [Started(0), Ended(20 * TICK + 7)]
    heard = np.concatenate([event.samples for event in events if isinstance(event, Audio)])
    assert heard[: 20 * TICK + 7].tolist() == [LOUD] * (20 * TICK + 7)


def test_sound_after_a_flush_does_not_overlap() -> None:
    cut = track()
    first = cut.feed(sound((LOUD, 20 * TICK + 7))) + cut.flush()
    second = cut.feed(sound((LOUD, 20 * TICK)))
    assert marks(first)[-1] == Ended(20 * TICK + 7)
    assert marks(second) == [Started(20 * TICK + 7)]


def test_flush_of_nothing_says_nothing() -> None:
    assert track().flush() == []


@pytest.mark.parametrize(
    ("level", "expected"),
    [(-32768, 0.0), (16384, -6.0), (3277, -20.0), (1, -90.3), (0, SILENCE_DBFS)],
)
def test_level_is_rms_below_full_scale(level: int, expected: float) -> None:
    steady = track()
    steady.feed(sound((level, 4 * TICK)))
    assert steady.level_dbfs() == expected


def test_level_is_that_since_the_last_look() -> None:
    steady = track()
    assert steady.level_dbfs() == SILENCE_DBFS
    steady.feed(sound((16384, 2 * TICK)))
    steady.level_dbfs()
    steady.feed(sound((3277, 2 * TICK)))
    assert steady.level_dbfs() == -20.0
    assert steady.level_dbfs() == SILENCE_DBFS
