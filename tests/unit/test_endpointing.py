from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.core.model import SAMPLE_RATE, TICK
from node.core.room.endpointing import (
    DIP_FRAMES,
    Audio,
    Ended,
    Endpointer,
    Endpointing,
    Event,
    Started,
    _ticks,
)
from node.core.work.messages import MAX_CLIP

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from node.core.room.endpointing import Samples

HANGOVER, TAIL, MIN_SPEECH, PRE_ROLL, PAUSE, SOFT_CAP, HARD_CAP = 30, 10, 8, 10, 4, 625, 875
ONSET = 32
"""The defaults, in frames of 32 ms."""


@dataclass
class Utterance:
    start: int
    blocks: list[Samples] = field(default_factory=list)
    end: int | None = None

    @property
    def samples(self) -> Samples:
        assert self.end is not None
        return np.concatenate(self.blocks)[: self.end - self.start]

    @property
    def frames(self) -> tuple[int, int]:
        assert self.end is not None
        return self.start // TICK, self.end // TICK


def utterances(events: Iterable[Event]) -> list[Utterance]:
    """Utterances as a recorder keeps them; refuses an order of events it could not follow."""
    found: list[Utterance] = []
    for event in events:
        running = found[-1] if found and found[-1].end is None else None
        if isinstance(event, Started):
            assert running is None
            found.append(Utterance(event.start))
        elif isinstance(event, Audio):
            assert running is not None
            running.blocks.append(event.samples)
        else:
            assert running is not None
            assert isinstance(event, Ended)
            running.end = event.end
    return found


def counter(start: int, end: int) -> Samples:
    """Samples that show where they were, all about as loud: none is an onset."""
    return (np.arange(start, end) % 8192 + 16384).astype(np.int16)


class Feeder:
    """Feed frames of a sample counter, one for each probability."""

    def __init__(self, endpointing: Endpointing | None = None) -> None:
        self.endpointer = Endpointer(endpointing or Endpointing())
        self.position = 0
        self.events: list[Event] = []

    def feed(
        self, probabilities: Iterable[float], *, quieter: int = 1, foreign: bool = False
    ) -> Feeder:
        for probability in probabilities:
            frame = counter(self.position, self.position + TICK) // quieter
            self.events += self.endpointer.feed(frame, probability, foreign=foreign)
            self.position += TICK
        return self

    def speech(self, frames: int) -> Feeder:
        return self.feed([0.9] * frames)

    def silence(self, frames: int, *, foreign: bool = False) -> Feeder:
        return self.feed([0.1] * frames, foreign=foreign)

    def faint(self, frames: int, *, foreign: bool = False) -> Feeder:
        """Silence, 40 dB below all other frames."""
        return self.feed([0.1] * frames, quieter=100, foreign=foreign)

    def flush(self) -> list[Utterance]:
        self.events += self.endpointer.flush()
        return utterances(self.events)

    def found(self) -> list[tuple[int, int]]:
        """Return first frame and frame after the last of each utterance, after a flush."""
        return [utterance.frames for utterance in self.flush()]


def test_pre_roll_and_tail_are_kept() -> None:
    assert Feeder().silence(20).speech(10).silence(40).found() == [(20 - PRE_ROLL, 30 + TAIL)]


@pytest.mark.parametrize("late", [PRE_ROLL, 20, ONSET - 3])
def test_a_loud_onset_that_the_detector_hears_late_is_kept(late: int) -> None:
    feeder = Feeder().faint(40).silence(late).speech(10).silence(40)
    assert feeder.found() == [(40 - DIP_FRAMES, 40 + late + 10 + TAIL)]
    assert feeder.events[0] == Started((40 - DIP_FRAMES) * TICK)
    started = feeder.events[0]
    assert isinstance(started, Started)
    assert started.speech == 40 * TICK


def test_an_onset_may_dip() -> None:
    feeder = Feeder().faint(40).silence(8).faint(DIP_FRAMES).silence(8).speech(10).silence(40)
    assert feeder.found()[0][0] == 40 - DIP_FRAMES
    feeder = Feeder().faint(40).silence(8).faint(DIP_FRAMES + 1).silence(8).speech(10).silence(40)
    assert feeder.found()[0][0] == 40 + 8 + DIP_FRAMES + 1 - DIP_FRAMES


def test_no_more_of_an_onset_is_kept_than_a_second() -> None:
    feeder = Feeder().faint(40).silence(60).faint(2).silence(10).speech(10).silence(40)
    assert feeder.found()[0][0] == 40 + 60 + 2 + 10 - ONSET


def test_what_another_said_is_no_onset_and_no_silence() -> None:
    feeder = Feeder().faint(15, foreign=True).silence(12).speech(10).silence(40)
    assert feeder.found() == [(27 - PRE_ROLL, 37 + TAIL)]
    feeder = Feeder().faint(20).silence(15, foreign=True).speech(10).silence(40)
    assert feeder.found() == [(35 - PRE_ROLL, 45 + TAIL)]


def test_sound_before_the_first_frame_is_not_invented() -> None:
    assert Feeder().silence(3).speech(10).silence(40).found() == [(0, 13 + TAIL)]


def test_hangover_ends_an_utterance_and_not_before() -> None:
    feeder = Feeder().speech(10).silence(HANGOVER - 1)
    assert not any(isinstance(event, Ended) for event in feeder.events)
    feeder.silence(1)
    assert feeder.events[-1] == Ended((10 + TAIL) * TICK)


@pytest.mark.parametrize(
    ("probability", "frames"), [(0.5, MIN_SPEECH), (0.75, 6), (1.0, MIN_SPEECH // 2)]
)
def test_an_utterance_starts_the_sooner_the_surer_its_speech_is(
    probability: float, frames: int
) -> None:
    feeder = Feeder().feed([probability] * (frames - 1))
    assert feeder.events == []
    assert feeder.feed([probability]).events[0] == Started(0)


def test_a_click_is_no_utterance_however_low_the_threshold_is() -> None:
    clicks = Endpointing(start_threshold=0.05, stop_threshold=0.02)
    assert Feeder(clicks).feed([1.0] * 3).feed([0.0] * 40).found() == []


def test_short_noise_is_dropped() -> None:
    assert Feeder().feed([0.5] * (MIN_SPEECH - 1)).silence(40).found() == []


def test_short_noises_do_not_add_up_to_an_utterance() -> None:
    noises = Feeder()
    for _ in range(3):
        noises.speech(3).silence(40)
    assert noises.found() == []


def test_noise_still_open_at_the_end_is_dropped() -> None:
    assert Feeder().feed([0.5] * (MIN_SPEECH - 1)).found() == []


def test_a_pause_shorter_than_the_hangover_does_not_split() -> None:
    feeder = Feeder().speech(10).silence(HANGOVER - 1).speech(10).silence(40)
    assert feeder.found() == [(0, 10 + HANGOVER - 1 + 10 + TAIL)]


def test_pre_roll_never_reaches_into_the_utterance_before() -> None:
    feeder = Feeder(Endpointing(hangover_ms=600)).speech(10).silence(17).speech(10)
    assert feeder.found() == [(0, 10 + TAIL), (10 + TAIL, 10 + 17 + 10)]


def test_speech_goes_on_above_the_lower_threshold() -> None:
    feeder = Feeder().speech(10).feed([0.4] * 30)
    assert feeder.found() == [(0, 40)]
    assert Feeder().feed([0.4] * 30).found() == []


def test_flush_keeps_what_is_open() -> None:
    assert Feeder().speech(10).silence(3).found() == [(0, 13)]
    assert Feeder().speech(10).silence(TAIL + 3).found() == [(0, 10 + TAIL)]


def test_after_a_flush_it_can_go_on_elsewhere() -> None:
    feeder = Feeder().speech(10)
    feeder.events += feeder.endpointer.flush()
    feeder.endpointer.jump(feeder.position + 5)
    feeder.position += 5
    first, second = feeder.speech(10).flush()
    assert (first.start, first.end) == (0, 10 * TICK)
    assert (second.start, second.end) == (10 * TICK + 5, 20 * TICK + 5)


def test_soft_cap_splits_in_the_middle_of_the_longest_pause() -> None:
    feeder = Feeder().speech(350).silence(5).speech(50).silence(8).speech(SOFT_CAP - 413)
    assert feeder.found() == [(0, 409), (409, SOFT_CAP)]


def test_pauses_of_the_first_half_or_within_words_do_not_split() -> None:
    feeder = Feeder().speech(100).silence(15).speech(300).silence(3).speech(300)
    assert feeder.found() == [(0, 718)]


def test_the_shortest_pause_that_splits() -> None:
    feeder = Feeder().speech(400).silence(PAUSE).speech(300)
    assert feeder.found() == [(0, 402), (402, 704)]
    assert len(Feeder().speech(400).silence(PAUSE - 1).speech(300).found()) == 1


def test_hard_cap_splits_at_the_quietest_frame() -> None:
    endpointer = Endpointer(Endpointing())
    events: list[Event] = []
    for index in range(HARD_CAP):
        level = 10 if index in {100, 600} else 1000
        events += endpointer.feed(np.full(TICK, level, np.int16), 0.9)
    assert [u.frames for u in utterances(events + endpointer.flush())] == [
        (0, 600),
        (600, HARD_CAP),
    ]


def test_a_pause_that_runs_at_the_hard_cap_ends_the_utterance() -> None:
    feeder = Feeder().speech(HARD_CAP - 2).silence(60)
    assert feeder.found() == [(0, HARD_CAP - 2 + TAIL)]


def test_the_longest_utterance_can_be_sent_to_a_worker() -> None:
    for pause in range(TAIL + 2):
        for utterance in Feeder().speech(HARD_CAP - 1).silence(pause).speech(2).flush():
            assert len(utterance.samples) <= MAX_CLIP


def test_a_pause_that_runs_at_the_hard_cap_is_where_speech_is_split() -> None:
    feeder = Feeder().speech(HARD_CAP - 2).silence(6).speech(20)
    assert feeder.found() == [(0, HARD_CAP + 1), (HARD_CAP + 1, HARD_CAP + 24)]


def test_sparse_noise_never_becomes_an_utterance() -> None:
    endpointing = Endpointing(min_speech_ms=2000, hangover_ms=5000, soft_cap_s=1, hard_cap_s=2)
    assert Feeder(endpointing).feed(([0.9] + [0.0] * 30) * 100).found() == []


def test_silence_that_leads_in_is_no_pause_to_split_at() -> None:
    endpointing = Endpointing(hangover_ms=3000, soft_cap_s=1, hard_cap_s=2.9)
    feeder = Feeder(endpointing).speech(8).silence(80).speech(40)
    assert feeder.found() == [(0, 66), (66, 128)]


@st.composite
def endpointings(draw: st.DrawFn) -> Endpointing:
    soft_cap_s = draw(st.floats(1, 2))
    return Endpointing(
        min_speech_ms=draw(st.integers(30, 300)),
        hangover_ms=draw(st.integers(100, 3000)),
        pre_roll_ms=draw(st.integers(0, 400)),
        soft_cap_s=soft_cap_s,
        hard_cap_s=soft_cap_s + draw(st.floats(0.1, 1)),
    )


probabilities = st.lists(
    st.tuples(st.sampled_from([0.0, 0.3, 0.4, 0.6, 1.0]), st.integers(1, 60)), max_size=12
).map(lambda runs: [probability for probability, length in runs for _ in range(length)])


def long_runs(heard: Sequence[float], endpointing: Endpointing) -> list[tuple[int, int]]:
    """Return frames [first, end) of every run of speech long enough to be confirmed."""
    runs, start = [], None
    for index, probability in enumerate([*heard, 0.0]):
        if probability >= endpointing.start_threshold:
            start = index if start is None else start
        elif start is not None:
            runs.append((start, index))
            start = None
    least = _ticks(endpointing.min_speech_ms)
    return [(first, end) for first, end in runs if end - first >= least]


@settings(max_examples=40, deadline=None)
@given(endpointings(), probabilities)
def test_every_sample_of_speech_is_in_exactly_one_utterance(
    endpointing: Endpointing, heard: list[float]
) -> None:
    found = Feeder(endpointing).feed(heard).flush()
    covered = 0
    kept = np.zeros(len(heard) * TICK, bool)
    for utterance in found:
        assert utterance.end is not None
        assert covered <= utterance.start < utterance.end <= len(kept)
        np.testing.assert_array_equal(utterance.samples, counter(utterance.start, utterance.end))
        covered = utterance.end
        kept[utterance.start : utterance.end] = True
    for first, end in long_runs(heard, endpointing):
        assert kept[first * TICK : end * TICK].all()


@settings(max_examples=40, deadline=None)
@given(endpointings(), probabilities)
def test_no_utterance_is_too_long_or_without_speech(
    endpointing: Endpointing, heard: list[float]
) -> None:
    longest = endpointing.hard_cap_s * SAMPLE_RATE + (TAIL + 1) * TICK
    for utterance in Feeder(endpointing).feed(heard).flush():
        first, end = utterance.frames
        assert (end - first) * TICK <= longest
        assert max(heard[first:end]) >= endpointing.stop_threshold


@settings(max_examples=40, deadline=None)
@given(endpointings(), probabilities)
def test_no_utterance_ends_sooner_than_was_said(
    endpointing: Endpointing, heard: list[float]
) -> None:
    feeder = Feeder(endpointing)
    earliest = 0
    for probability in heard:
        before = len(feeder.events)
        for event in feeder.feed([probability]).events[before:]:
            if isinstance(event, Ended):
                assert feeder.position >= earliest
            if isinstance(event, Audio):
                earliest = feeder.position + event.more


@settings(max_examples=40, deadline=None)
@given(endpointings(), probabilities)
def test_speech_begins_where_its_beginning_said(
    endpointing: Endpointing, heard: list[float]
) -> None:
    feeder = Feeder(endpointing).feed(heard)
    feeder.flush()
    begun = [event.speech for event in feeder.events if isinstance(event, Started)]
    assert begun == [event.speech[0] for event in feeder.events if isinstance(event, Ended)]


def test_while_somebody_speaks_the_whole_pause_is_to_come() -> None:
    feeder = Feeder().speech(20).silence(5)
    said = [event.more // TICK for event in feeder.events if isinstance(event, Audio)]
    heard_first = 5  # frames of 0.9 are as much as eight of 0.5
    assert said == [*[HANGOVER] * (20 - heard_first + 1), *range(HANGOVER - 1, HANGOVER - 6, -1)]


@settings(max_examples=40, deadline=None)
@given(endpointings(), probabilities)
def test_a_split_goes_on_where_it_cut(endpointing: Endpointing, heard: list[float]) -> None:
    feeder = Feeder(endpointing)
    for probability in heard:
        before = len(feeder.events)
        new = feeder.feed([probability]).events[before:]
        ends = [event.end for event in new if isinstance(event, Ended)]
        starts = [event.start for event in new if isinstance(event, Started)]
        if ends and starts:  # what is confirmed only by the split began before
            assert ends == starts[-len(ends) :]
