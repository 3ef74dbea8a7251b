"""The engine is given the speech as cleaned after its end, on any disk."""

from __future__ import annotations

import resource
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import pytest

from node.adapters.store import Store
from node.core.model import SAMPLE_RATE, TICK, Session
from node.core.mqtt.topics import Topics
from node.core.room.endpointing import Ended
from node.service.items import DiskFailed, SpeechDropped, ThreadItem
from node.service.listening import spool as spools
from node.service.listening.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy.typing as npt

SESSION = "20261122T100000Z-3f9c"
HEARD = np.full(2 * SAMPLE_RATE, 1000, np.int16)
END = SAMPLE_RATE + SAMPLE_RATE // 2
CLEANED = np.arange(END, dtype=np.int16)
"""As long as the utterance; the sound heard goes on beyond its end."""


class Desk:
    """A spool on a real disk."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(folder, keep_audio=False)
        self.store.open()
        self.store.sessions.begin(Session(SESSION, datetime(2026, 11, 22, 10, tzinfo=UTC)), 0.0)
        self.posted: list[ThreadItem] = []
        self.spool = Spool(
            utterances=self.store.utterances,
            audio=self.store.audio,
            max_mb=100,
            captured=lambda: None,
            misheard=lambda _speaker: None,
            topics=Topics("scribe", "lab"),
            post=self.posted.append,
        )

    def speak(
        self, sound: npt.NDArray[np.int16] | None, raw: npt.NDArray[np.int16] | None = None
    ) -> None:
        spoken = self.spool.begin(SESSION, "anna", "Anna", None, (0, 0))
        assert spoken is not None
        self.spool.append(spoken, HEARD, 0)
        self.spool.end(spoken, Ended(END, speech=(0, SAMPLE_RATE), sound=sound, raw=raw))

    def waiting(self) -> list[npt.NDArray[np.int16]]:
        utterances = self.store.utterances
        return [utterances.audio(one) for one in utterances.next(most=9)]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.store.close()


@contextmanager
def no_file_may_grow(beyond: int) -> Iterator[None]:
    """A disk that refuses to make any file longer; Python ignores the signal that says so."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (beyond, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_the_engine_is_given_the_cleaned_sound(desk: Desk) -> None:
    desk.speak(CLEANED)
    desk.speak(None)
    cleaned, heard = desk.waiting()
    assert np.array_equal(cleaned, CLEANED)
    assert np.array_equal(heard, HEARD[:END])


def test_the_engine_can_have_the_raw_sound_until_the_utterance_is_done(desk: Desk) -> None:
    desk.speak(CLEANED, raw=HEARD[:END])
    utterances = desk.store.utterances
    (waiting,) = utterances.next(most=9)
    raw = utterances.raw_audio(waiting)
    assert raw is not None
    assert np.array_equal(raw, HEARD[:END])
    utterances.transcribed(waiting, None)
    assert utterances.raw_audio(waiting) is None


def test_the_raw_sound_of_an_erased_session_is_forgotten(desk: Desk) -> None:
    desk.speak(CLEANED, raw=HEARD[:END])
    (waiting,) = desk.store.utterances.next(most=9)
    desk.store.utterances.forget_raw_audio(SESSION)
    assert desk.store.utterances.raw_audio(waiting) is None


def test_no_raw_sound_is_held_while_the_disk_refuses(desk: Desk) -> None:
    with no_file_may_grow(beyond=SAMPLE_RATE):
        desk.speak(None)
        desk.speak(CLEANED, raw=HEARD[:END])
    desk.spool.retry()
    assert [desk.store.utterances.raw_audio(one) for one in desk.store.utterances.next(9)] == [
        None,
        None,
    ]


def test_a_disk_that_refused_is_given_it_later(desk: Desk) -> None:
    with no_file_may_grow(beyond=SAMPLE_RATE):
        desk.speak(CLEANED)
        assert any(isinstance(item, DiskFailed) for item in desk.posted)
        assert desk.waiting() == []
    desk.spool.retry()
    assert [len(sound) for sound in desk.waiting()] == [END]
    assert np.array_equal(desk.waiting()[0], CLEANED)


def test_sound_that_memory_cannot_hold_goes_with_its_cleaned_copy(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spools, "MAX_MEMORY_S", 1)
    spoken = desk.spool.begin(SESSION, "anna", "Anna", None, (0, 0))
    assert spoken is not None
    desk.spool.append(spoken, HEARD[:TICK], 0)
    with no_file_may_grow(beyond=SAMPLE_RATE):
        for at in range(TICK, len(HEARD), TICK):
            desk.spool.append(spoken, HEARD[at : at + TICK], at)
        desk.spool.end(spoken, Ended(END, speech=(0, SAMPLE_RATE), sound=CLEANED))
    assert any(isinstance(item, SpeechDropped) for item in desk.posted)
    desk.spool.retry()
    (sound,) = desk.waiting()
    written = np.count_nonzero(sound)
    assert written <= SAMPLE_RATE // 2
    assert np.array_equal(sound, np.where(np.arange(END) < written, HEARD[:END], 0))
