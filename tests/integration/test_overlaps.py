"""The store knows who spoke during an utterance, whatever has happened to it since."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import pytest

from node.adapters.store import Store
from node.core.model import SAMPLE_RATE, Segment, Session
from node.core.room.endpointing import Ended

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from node.adapters.store import Utterance

SESSION = "20261122T100000Z-3f9c"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path, keep_audio=False)
    opened.open()
    opened.sessions.begin(Session(SESSION, datetime(2026, 11, 22, 10, tzinfo=UTC)), 0.0)
    yield opened
    opened.close()


def begun(store: Store, mic: str, start_s: float) -> Utterance:
    start = round(start_s * SAMPLE_RATE)
    utterance, recording = store.utterances.open(SESSION, mic, mic, None, start)
    recording.append(np.zeros(SAMPLE_RATE, np.int16))
    recording.finish(SAMPLE_RATE)
    return utterance


def ended(store: Store, utterance: Utterance, end_s: float) -> Utterance:
    """End its speech half a second before its sound; return it as the engine gets it."""
    end = round(end_s * SAMPLE_RATE)
    event = Ended(end + SAMPLE_RATE // 2, speech=(utterance.start, end))
    store.utterances.captured(utterance, event)
    return replace(utterance, end=event.end, speech=event.speech)


def transcribed(store: Store, utterance: Utterance) -> None:
    start, end = utterance.spoken

    def made(seq: int) -> tuple[Segment, str, str]:
        who = utterance.mic
        segment = Segment(utterance.id, SESSION, seq, who, who, start, end, "Oui.", "fr", 0.9, 0.9)
        return segment, "topic", "{}"

    assert store.utterances.transcribed(utterance, made) is not None


def test_one_who_is_still_speaking(store: Store) -> None:
    desk, _ = begun(store, "desk", 1.0), begun(store, "wall", 2.0)
    assert store.utterances.overlapped(ended(store, desk, 5.0))


def test_one_who_waits_for_the_engine(store: Store) -> None:
    desk, wall = begun(store, "desk", 1.0), begun(store, "wall", 2.0)
    desk = ended(store, desk, 5.0)
    ended(store, wall, 6.0)
    assert store.utterances.overlapped(desk)


def test_one_who_is_a_segment_already(store: Store) -> None:
    desk, wall = begun(store, "desk", 1.0), begun(store, "wall", 2.0)
    transcribed(store, ended(store, wall, 3.0))
    assert store.utterances.overlapped(ended(store, desk, 5.0))


def test_one_who_spoke_before_or_speaks_after(store: Store) -> None:
    wall = ended(store, begun(store, "wall", 0.0), 1.0)
    desk = begun(store, "desk", 1.1)
    begun(store, "sofa", 5.1)
    transcribed(store, wall)
    assert not store.utterances.overlapped(ended(store, desk, 5.0))


def test_what_a_mic_heard_of_another_is_no_overlap(store: Store) -> None:
    desk, wall = begun(store, "desk", 1.0), begun(store, "wall", 1.2)
    event = Ended(4 * SAMPLE_RATE, crosstalk_of="desk", speech=(wall.start, 3 * SAMPLE_RATE))
    store.utterances.captured(wall, event)
    assert not store.utterances.overlapped(ended(store, desk, 5.0))


def test_the_same_mic_does_not_overlap_itself(store: Store) -> None:
    desk, _ = begun(store, "desk", 1.0), begun(store, "desk", 2.0)
    assert not store.utterances.overlapped(ended(store, desk, 5.0))
