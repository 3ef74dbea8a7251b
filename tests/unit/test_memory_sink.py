"""The sink of `transcribe`: which utterances of recorded tracks it hands on, and when."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from node.commands.memory_sink import MAX_OVERLAPPED, MemorySink, RecordedUtterance, Withdrawal
from node.core.room.endpointing import Ended

if TYPE_CHECKING:
    from node.commands.memory_sink import OpenRecorded

SESSION = "20000101T000000Z-0000"
LENGTH = 1000


@pytest.fixture
def sink() -> MemorySink:
    return MemorySink()


def begin(sink: MemorySink, mic: str, start: int) -> OpenRecorded:
    """Begin an utterance with all its sound: samples that count from its first one."""
    spoken = sink.begin(SESSION, mic, mic.title(), "en", (start, start + 100))
    for part in np.split(np.arange(LENGTH, dtype=np.int16), 4):
        sink.append(spoken, part, 0)
    return spoken


def ended(spoken: OpenRecorded, crosstalk_of: str | None = None) -> Ended:
    """Return an end with speech from sample 100 to 700, at 800."""
    start = spoken.start
    return Ended(start + 800, crosstalk_of, (start + 100, start + 700))


def say(sink: MemorySink, mic: str, start: int) -> OpenRecorded:
    spoken = begin(sink, mic, start)
    sink.end(spoken, ended(spoken))
    return spoken


def taken(sink: MemorySink) -> list[RecordedUtterance]:
    items = list(sink.take())
    return [item for item in items if isinstance(item, RecordedUtterance)]


def test_an_utterance_has_its_place_and_its_sound_up_to_its_end(sink: MemorySink) -> None:
    say(sink, "desk", 5000)
    (spoken,) = taken(sink)
    utterance = spoken.utterance
    assert (utterance.id, utterance.speaker) == (f"{SESSION}/desk/1", "Desk")
    assert (utterance.language, utterance.crosstalk_of) == ("en", None)
    assert (utterance.start, utterance.end, utterance.speech) == (5000, 5800, (5100, 5700))
    assert np.array_equal(spoken.samples, np.arange(800))
    assert (spoken.speaker, spoken.start) == ("Desk", 5000)


def test_cleaned_sound_is_what_the_engine_gets(sink: MemorySink) -> None:
    spoken = begin(sink, "desk", 0)
    raw = np.ones(800, np.int16)
    sink.end(spoken, Ended(800, speech=(100, 700), sound=np.zeros(800, np.int16), raw=raw))
    (utterance,) = taken(sink)
    assert not utterance.samples.any()
    assert utterance.raw is raw


def test_nothing_comes_before_it_has_ended_and_nothing_comes_twice(sink: MemorySink) -> None:
    spoken = begin(sink, "desk", 0)
    assert taken(sink) == []
    sink.end(spoken, ended(spoken))
    assert len(taken(sink)) == 1
    assert taken(sink) == []


def test_no_sound_is_kept_of_what_has_ended(sink: MemorySink) -> None:
    kept = say(sink, "desk", 0)
    forgotten = begin(sink, "door", 0)
    sink.discard(forgotten)
    assert kept.pieces == forgotten.pieces == []


def test_numbers_go_by_the_order_of_the_ends(sink: MemorySink) -> None:
    long = begin(sink, "desk", 0)
    say(sink, "door", 5000)
    sink.end(long, ended(long))
    ids = [spoken.utterance.id for spoken in taken(sink)]
    assert ids == [f"{SESSION}/door/1", f"{SESSION}/desk/2"]


def test_what_is_discarded_has_no_number_and_is_another_s(sink: MemorySink) -> None:
    sink.discard(begin(sink, "desk", 0))
    say(sink, "desk", 5000)
    (spoken,) = taken(sink)
    assert spoken.utterance.number == 1
    assert (sink.utterances["desk"], sink.others["desk"]) == (2, 1)


def test_what_is_kept_as_another_s_says_so(sink: MemorySink) -> None:
    spoken = begin(sink, "desk", 0)
    sink.end(spoken, ended(spoken, "door"))
    assert taken(sink)[0].utterance.crosstalk_of == "door"
    assert (sink.utterances["desk"], sink.others["desk"]) == (1, 1)


def test_a_withdrawal_comes_behind_its_utterance(sink: MemorySink) -> None:
    spoken = say(sink, "desk", 0)
    say(sink, "door", 0)
    sink.withdraw(spoken, "door", keep=False)
    first, _, last = sink.take()
    assert last == Withdrawal(first.utterance, "door")
    assert (sink.utterances["desk"], sink.others["desk"]) == (1, 1)


def test_speech_at_another_track_overlaps_ended_or_not(sink: MemorySink) -> None:
    """Only speech counts: the sound before and after it overlaps with nothing."""
    say(sink, "desk", 0)
    say(sink, "door", 600)
    say(sink, "door", 5000)
    open_ = begin(sink, "hall", 9000)
    say(sink, "desk", 9300)
    sink.end(open_, ended(open_))
    assert [spoken.overlapped for spoken in taken(sink)] == [False, False, False, True, True]


def test_one_s_own_speech_does_not_overlap(sink: MemorySink) -> None:
    say(sink, "desk", 0)
    say(sink, "desk", 300)
    assert not any(spoken.overlapped for spoken in taken(sink))


@pytest.mark.parametrize("way", ["kept", "discarded", "withdrawn"])
def test_another_s_speech_overlaps_with_nothing(sink: MemorySink, way: str) -> None:
    copy = begin(sink, "desk", 0)
    if way == "discarded":
        sink.discard(copy)
    else:
        sink.end(copy, ended(copy, "door" if way == "kept" else None))
    if way == "withdrawn":
        sink.withdraw(copy, "door", keep=False)
    say(sink, "door", 0)
    assert taken(sink)[-1].overlapped is False


def test_only_so_many_are_remembered_of_a_track(sink: MemorySink) -> None:
    for number in range(MAX_OVERLAPPED):
        say(sink, "desk", number * LENGTH)
    say(sink, "door", 0)
    say(sink, "desk", MAX_OVERLAPPED * LENGTH)
    say(sink, "door", 10)
    at_the_door = [each for each in taken(sink) if each.utterance.mic == "door"]
    assert [spoken.overlapped for spoken in at_the_door] == [True, False]
