"""The transcriber thread over a real store and the real engine: faults and hangs."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from node.adapters.store import DATABASE, Store
from node.adapters.whisper import Engine, EngineSettings
from node.core.model import Session
from node.core.mqtt.topics import Topics
from node.core.overload import Load
from node.core.room.endpointing import Ended
from node.service.items import DiskFailed, ModelReady, SoundUnreadable, ThreadDied, Transcribed
from node.service.listening.spool import withdrawal
from node.service.transcribing import transcriber
from node.service.transcribing.backlog import Backlog
from node.service.transcribing.results import MAX_ATTEMPTS
from node.service.transcribing.transcriber import Transcriber
from tests.model.sentences import SENTENCES
from tests.rig.node import MODEL, spoken
from tests.rig.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from node.adapters.store import Utterance
    from node.core.model import Transcription
    from node.service.items import ThreadItem

SESSION = "20261122T100000Z-aaaa"
PATIENCE_S = 30


class NotingEngine(Engine):
    """Notes after each pass over unfinished speech how overdue it is.

    `meanwhile` is called while it works on an utterance.
    """

    overdue_s: list[float]
    transcriber: Transcriber
    meanwhile: Callable[[], object] = staticmethod(lambda: None)

    def transcribe(self, *arguments: Any, **options: Any) -> Transcription:
        heard = super().transcribe(*arguments, **options)
        self.meanwhile()
        return heard

    def draft(self, *arguments: Any, **options: Any) -> str:
        text = super().draft(*arguments, **options)
        self.overdue_s.append(self.transcriber.overdue_s)
        return text


class Desk:
    """A store, a transcriber that works on it, and what it has reported."""

    def __init__(self, folder: Path) -> None:
        self.database = folder / DATABASE
        self.store = Store(folder, keep_audio=False)
        self.store.open()
        self.store.sessions.begin(Session(SESSION, datetime.now(UTC)), time.monotonic())
        self.engine = NotingEngine(EngineSettings("demo", MODEL, folder, languages=("en", "fr")))
        self.engine.overdue_s = []
        self.items: list[ThreadItem] = []
        self.transcriber = self.engine.transcriber = Transcriber(
            engine=self.engine,
            sessions=self.store.sessions,
            utterances=self.store.utterances,
            topics=Topics("scribe", "lab"),
            post=self.items.append,
            partials=True,
        )

    def say(self, mic: str, start: int = 0, *, garbled: bool = False) -> Utterance:
        """Say a sentence; `garbled`: its sound is left so, and the raw sound is kept beside it."""
        raw = sound = spoken(SENTENCES[6])
        if garbled:
            noise = np.random.default_rng(1).standard_normal(len(raw)) * 4400
            sound = np.rint(raw + noise).clip(-32768, 32767).astype(np.int16)
        utterance, recording = self.store.utterances.open(SESSION, mic, mic, None, start)
        recording.append(sound)
        recording.finish(len(sound))
        end = start + len(sound)
        ended = Ended(end, speech=(start, end), raw=raw if garbled else None)
        self.store.utterances.captured(utterance, ended)
        self.transcriber.captured()
        return utterance

    def withdraw(self, utterance: Utterance) -> None:
        self.store.utterances.withdraw(
            utterance, "door", keep=False, tell=partial(withdrawal, Topics("scribe", "lab"))
        )

    def remembers(self, mic: str) -> bool:
        """Return whether what somebody has said would help with what they say next."""
        return bool(self.transcriber._recogniser._contexts.of((SESSION, mic, mic), 10 * 16000))

    def wait_for(self, kind: type[Any]) -> None:
        wait_until(lambda: any(isinstance(i, kind) for i in self.items), PATIENCE_S, kind.__name__)

    def change(self, statement: str) -> None:
        """Change the database from outside."""
        with closing(sqlite3.connect(self.database, timeout=10)) as database, database:
            database.execute("PRAGMA legacy_alter_table=ON")
            database.execute(statement)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    made.transcriber.start()
    made.wait_for(ModelReady)
    yield made
    assert made.transcriber.stop(PATIENCE_S)
    made.store.close()


def test_what_the_disk_refuses_is_no_fault_of_the_utterance(desk: Desk) -> None:
    database = desk.store.utterances._database
    with database.reading() as connection:  # the transcriber has to wait
        desk.say("desk")
        connection.execute("PRAGMA query_only=ON")
    wait_until(
        lambda: sum(isinstance(item, DiskFailed) for item in desk.items) > MAX_ATTEMPTS,
        PATIENCE_S,
        "the disk is blamed again and again",
    )
    with database.reading() as connection:
        connection.execute("PRAGMA query_only=OFF")
    desk.wait_for(Transcribed)
    (segment,) = desk.store.sessions.segments(SESSION)
    assert segment.text == SENTENCES[6].text


def test_what_cannot_be_read_after_a_failure_holds_up_nobody(desk: Desk) -> None:
    """Nor its own speaker: it is tried again for ten minutes."""

    def fail() -> None:
        desk.engine.meanwhile = lambda: None
        (file,) = (each for each in spool.iterdir() if not each.name.endswith(".tried"))
        file.unlink()
        file.symlink_to("/proc/self/mem")  # whose first byte gives an I/O error
        raise RuntimeError("the first time")

    spool = desk.database.parent / "spool"
    desk.engine.meanwhile = fail
    desk.say("desk")
    desk.wait_for(SoundUnreadable)
    later = desk.say("desk", start=10 * 16000)
    desk.wait_for(Transcribed)
    assert [segment.id for segment in desk.store.sessions.segments(SESSION)] == [later.id]


@pytest.mark.parametrize(("load", "right"), [(Load.NORMAL, True), (Load.NO_PARTIALS, False)])
def test_what_is_garbled_is_heard_in_its_raw_sound_if_there_is_time(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, load: Load, *, right: bool
) -> None:
    monkeypatch.setattr(Backlog, "load", load)
    desk.say("desk", garbled=True)
    desk.wait_for(Transcribed)
    (segment,) = desk.store.sessions.segments(SESSION)
    assert (segment.text == SENTENCES[6].text) is right


@pytest.mark.parametrize(
    ("mistake", "error"),
    [
        ("ALTER TABLE segment RENAME TO away", sqlite3.OperationalError),
        ("CREATE UNIQUE INDEX wrong ON outbox (length(session_id))", sqlite3.IntegrityError),
    ],
)
def test_a_mistake_in_a_statement_is_not_tried_again(
    desk: Desk, mistake: str, error: type[sqlite3.Error]
) -> None:
    """It is a bug: the thread ends, and with it the process, which is then restarted."""
    desk.change(mistake)
    desk.say("desk")
    desk.say("door")
    desk.wait_for(ThreadDied)
    (died,) = [item for item in desk.items if isinstance(item, ThreadDied)]
    assert isinstance(died.error, error)
    assert not any(isinstance(item, DiskFailed) for item in desk.items)


def test_a_pass_over_a_long_utterance_may_take_as_long_as_its_text(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transcriber, "DEADLINE_S", 0.0)
    desk.say("desk")
    wait_until(lambda: bool(desk.engine.overdue_s), PATIENCE_S, "a pass has been made")
    assert set(desk.engine.overdue_s) == {0.0}


def test_what_was_misheard_helps_with_nothing_more(desk: Desk) -> None:
    utterance = desk.say("desk")
    desk.say("door", 5 * 16000)
    wait_until(
        lambda: desk.remembers("desk") and desk.remembers("door"), PATIENCE_S, "both learned"
    )
    desk.transcriber.misheard((SESSION, utterance.mic, utterance.speaker))
    desk.transcriber.captured()
    wait_until(lambda: not desk.remembers("desk"), PATIENCE_S, "one is forgotten")
    assert desk.remembers("door")


def test_what_is_withdrawn_before_the_engine_comes_to_it_is_dropped(desk: Desk) -> None:
    with desk.store.utterances._database.reading():  # the transcriber has to wait
        desk.withdraw(desk.say("desk"))
    desk.wait_for(Transcribed)
    assert desk.store.sessions.segments(SESSION) == []
    assert desk.store.utterances.waiting(SESSION) == 0
    assert desk.store.audio.total_bytes() == 0


def test_what_is_withdrawn_while_the_engine_is_at_it_leaves_nothing(desk: Desk) -> None:
    said: list[Utterance] = []
    desk.engine.meanwhile = lambda: desk.withdraw(said[0])
    with desk.store.utterances._database.reading():
        said.append(desk.say("desk"))
    desk.wait_for(Transcribed)
    desk.engine.meanwhile = lambda: None
    desk.say("door")
    wait_until(lambda: desk.remembers("door"), PATIENCE_S, "the next one is learned")
    assert not desk.remembers("desk")
    assert [segment.mic for segment in desk.store.sessions.segments(SESSION)] == ["door"]
    assert len(desk.store.outbox) == 1
