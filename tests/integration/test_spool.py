"""The spool over a real store: what the disk refuses, and how much is on it."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import pytest

from node.adapters.store import Store
from node.core.model import MB, Session
from node.core.mqtt.topics import Topics
from node.core.room.endpointing import Ended
from node.service.items import DiskFailed, SpeechDropped
from node.service.listening.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from node.service.items import ThreadItem
    from node.service.listening.spool import SpooledUtterance

SESSION = "20261122T100000Z-aaaa"
OLD = "20260101T100000Z-00ff.{:05}.0.desk.s16le"
LOOKS = ("os.scandir", "os.listdir")
SECOND = 16000

looks: list[str] = []


def _hear(event: str, arguments: tuple[object, ...]) -> None:
    if event in LOOKS:
        looks.append(str(arguments[0]))


@pytest.fixture(scope="module", autouse=True)
def _audited() -> None:
    """For the rest of the process: a hook cannot be removed."""
    sys.addaudithook(_hear)


class Desk:
    """A spool over a folder that already has kept sound."""

    def __init__(self, folder: Path, kept: int) -> None:
        (folder / "audio").mkdir()
        for number in range(kept):
            (folder / "audio" / OLD.format(number)).write_bytes(bytes(MB))
        self.store = Store(folder, keep_audio=True)
        self.store.open()
        self.store.sessions.begin(Session(SESSION, datetime.now(UTC)), 0.0)
        self.items: list[ThreadItem] = []
        self.spool = Spool(
            utterances=self.store.utterances,
            audio=self.store.audio,
            max_mb=10,
            captured=lambda: None,
            misheard=lambda _speaker: None,
            topics=Topics("scribe", "lab"),
            post=self.items.append,
        )

    def refuse(self, *, refuses: bool) -> None:
        """Make SQLite refuse everything, or accept everything again."""
        with self.store.utterances._database.reading() as connection:
            connection.execute(f"PRAGMA query_only={'ON' if refuses else 'OFF'}")

    def begin(self, number: int = 0) -> SpooledUtterance:
        start = number * 100 * SECOND
        spoken = self.spool.begin(SESSION, "desk", "Alice", None, (start, start))
        assert spoken is not None
        self.spool.append(spoken, np.zeros(SECOND, np.int16), 0)
        return spoken

    def end(self, spoken: SpooledUtterance, number: int = 0) -> None:
        start = number * 100 * SECOND
        self.spool.end(spoken, Ended(start + SECOND, speech=(start, start + SECOND)))

    def is_refused(self) -> bool:
        refused = any(isinstance(item, DiskFailed) for item in self.items)
        self.items.clear()
        return refused

    def say(self, number: int, seconds: int = 1) -> bool:
        """Return whether there is room for it."""
        start = number * 100 * SECOND
        spoken = self.spool.begin(SESSION, "desk", "Alice", None, (start, start))
        if spoken is None:
            return False
        self.spool.append(spoken, np.zeros(seconds * SECOND, np.int16), 0)
        end = start + seconds * SECOND
        self.spool.end(spoken, Ended(end, speech=(start, end)))
        return True

    def transcribe(self) -> None:
        for utterance in self.store.utterances.next(100):
            self.store.utterances.transcribed(utterance, None)


@pytest.fixture
def desk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Desk]:
    made = Desk(tmp_path, request.param)
    yield made
    made.store.close()


@pytest.mark.parametrize("desk", [0], indirect=True)
@pytest.mark.parametrize("began_before", [True, False])
def test_what_is_to_be_forgotten_is_forgotten_when_the_disk_lets_go_of_it(
    desk: Desk, tmp_path: Path, *, began_before: bool
) -> None:
    """A neighbour's speech: refused once, and nothing of it stops its session from ending."""
    desk.refuse(refuses=not began_before)
    spoken = desk.begin()
    desk.refuse(refuses=True)
    desk.spool.discard(spoken)
    desk.spool.retry()
    assert desk.is_refused()
    assert desk.store.utterances.waiting(SESSION) == int(began_before)
    desk.refuse(refuses=False)
    desk.spool.retry()
    assert not desk.is_refused()
    assert desk.store.utterances.waiting(SESSION) == 0
    assert desk.store.utterances.next() == []
    assert not list((tmp_path / "spool").iterdir())


@pytest.mark.parametrize("desk", [0], indirect=True)
def test_what_the_disk_has_refused_is_taken_in_order(desk: Desk) -> None:
    """Begun before it refuses, and meanwhile; ended, forgotten, and still being spoken."""
    first = desk.begin(1)
    desk.refuse(refuses=True)
    desk.end(first, 1)
    second, forgotten, open_ = desk.begin(2), desk.begin(3), desk.begin(4)
    desk.spool.discard(forgotten)
    desk.end(second, 2)
    assert desk.is_refused()
    assert desk.store.utterances.waiting(SESSION) >= 2
    assert desk.store.utterances.next() == []
    desk.refuse(refuses=False)
    desk.spool.retry()
    waiting = desk.store.utterances.next(9)
    assert [(each.number, each.start) for each in waiting] == [
        (1, 100 * SECOND),
        (2, 200 * SECOND),
    ]
    assert all(len(desk.store.utterances.audio(each)) == SECOND for each in waiting)
    assert desk.store.utterances.waiting(SESSION) == 3
    desk.end(open_, 4)
    assert len(desk.store.utterances.next(9)) == 3
    assert not desk.is_refused()


@pytest.mark.parametrize("desk", [9], indirect=True)
def test_no_folder_is_looked_at_while_people_speak(desk: Desk) -> None:
    looks.clear()
    for number in range(10):
        assert desk.say(number)
    desk.transcribe()
    assert desk.say(10)
    assert looks == []


@pytest.mark.parametrize("desk", [12], indirect=True)
def test_what_is_known_is_what_is_there(desk: Desk, tmp_path: Path) -> None:
    """Spoken, forgotten, transcribed, given up, erased, and dropped for lack of room."""
    for number in range(6):
        assert desk.say(number, seconds=20)
    discarded = desk.spool.begin(SESSION, "desk", "Alice", None, (0, 0))
    assert discarded is not None
    desk.spool.append(discarded, np.zeros(SECOND, np.int16), 0)
    desk.spool.discard(discarded)
    first, second, *_ = desk.store.utterances.next(100)
    desk.store.utterances.transcribed(first, None)
    desk.store.utterances.fail(second, "a test")
    there = [*(tmp_path / "spool").iterdir(), *(tmp_path / "audio").iterdir()]
    assert desk.store.audio.total_bytes() == sum(file.stat().st_size for file in there)
    names = sorted(file.name for file in (tmp_path / "audio").iterdir())
    assert names[0] > OLD.format(0)  # the oldest made room
    desk.store.audio.forget(SESSION)
    there = [*(tmp_path / "spool").iterdir(), *(tmp_path / "audio").iterdir()]
    assert desk.store.audio.total_bytes() == sum(file.stat().st_size for file in there)
    desk.store.audio.forget(OLD.partition(".")[0])
    assert desk.store.audio.total_bytes() == 0
    assert not desk.store.audio.drop_oldest_kept()


@pytest.mark.parametrize("desk", [0], indirect=True)
def test_room_that_others_have_made_is_seen_before_speech_is_dropped(
    desk: Desk, tmp_path: Path
) -> None:
    stranger = tmp_path / "spool" / "photos.zip"
    stranger.write_bytes(bytes(11 * MB))
    desk.store.audio.look()
    stranger.unlink()
    assert desk.say(0)
    assert not any(isinstance(item, SpeechDropped) for item in desk.items)
