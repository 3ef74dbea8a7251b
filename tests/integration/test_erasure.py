"""What is deleted is gone: from the storage folder to the last byte, and from the broker."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from node.adapters.store import Store
from tests.model.sentences import SENTENCES
from tests.rig.clock import WallClock
from tests.rig.mqtt import Watcher
from tests.rig.node import TOPIC, Room, RunningNode, configuration
from tests.rig.processes import wait_until
from tests.rig.vmics import VirtualMic, VirtualMics

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.model.sentences import Sentence
    from tests.rig.broker import Broker
    from tests.rig.mqtt import Message

SECRET, OTHER, THIRD = SENTENCES[13], SENTENCES[31], SENTENCES[6]
YEAR_H = 24 * 365


@pytest.fixture(scope="module")
def mics() -> Iterator[VirtualMics]:
    with VirtualMics([VirtualMic("desk"), VirtualMic("door")]) as virtual:
        yield virtual


@pytest.fixture
def clock(tmp_path_factory: pytest.TempPathFactory) -> WallClock:
    return WallClock(tmp_path_factory.mktemp("clock"))


@pytest.fixture
def room(
    broker: Broker, watcher: Watcher, mics: VirtualMics, clock: WallClock, tmp_path: Path
) -> Iterator[Room]:
    node = RunningNode(tmp_path, settings(tmp_path, broker), mics.env | clock.env)
    with node:
        yield Room(node.wait_online(watcher), mics, watcher)


def settings(folder: Path, broker: Broker, **storage: int) -> dict[str, Any]:
    section = {"path": str(folder / "storage"), "keep_audio": True, **storage}
    # Words of their own time make every row longer than a page of the database at times.
    words = {"word_timestamps": True}
    return configuration(
        folder, broker.port, ["desk", "door"], storage=section, transcription=words
    )


def again(room: Room, configuration: dict[str, Any] | None = None) -> int:
    """End the node and start it again; return the number of the first message since."""
    assert room.node.end() == 0
    if configuration is not None:
        room.node.configure(configuration)
    after = room.watcher.count()
    room.node.start().wait_online(room.watcher, after)
    return after


def hold(room: Room, mic: str, *texts: Any) -> str:
    session = room.start(**{mic: "Alice"})
    room.say(mic, *texts)
    room.segments(session, len(texts))
    room.stop()
    return session


def traces(storage: Path, *words: str) -> list[str]:
    """Return the files that have any of these words in their name or content."""
    wanted = [word.encode() for word in words]
    return [
        str(file.relative_to(storage))
        for file in sorted(storage.rglob("*"))
        if file.is_file()
        and any(word in file.read_bytes() or word in file.name.encode() for word in wanted)
    ]


def retained(room: Room) -> list[Message]:
    """Return everything the broker tells a new client about the node."""
    with Watcher(room.watcher._port) as newcomer:
        newcomer.publish("marker")
        newcomer.wait_for("marker")
        return [message for message in newcomer.messages() if message.retain]


def shown(room: Room, *words: str) -> list[str]:
    """Return the retained topics that have any of these words."""
    return [m.topic for m in retained(room) if any(word.encode() in m.payload for word in words)]


def check_gone(room: Room, session: str, *words: str) -> None:
    """The words are gone at once; the id stays until the broker has forgotten them too."""
    assert traces(room.node.storage, *words) == []
    wait_until(lambda: not shown(room, session, *words), 5, "the broker shows nothing of it")
    wait_until(lambda: not traces(room.node.storage, session), 10, "nothing is left of its id")


def indexed(storage: Path, sentence: Sentence) -> set[str]:
    """The words of a sentence that are whole in some page of the search index.

    It stores them in small letters without accents, and mostly without what they have in common
    with the one before.
    """
    with closing(sqlite3.connect(f"file:{storage}/scribe.db?mode=ro", uri=True)) as database:
        rows = database.execute("SELECT block FROM spoken_index_data").fetchall()
    pages = b"".join(block for (block,) in rows)
    words = (word.strip(".,?!").lower() for word in sentence.text.split())
    return {word for word in words if word.isascii() and word.encode() in pages}


def expire(storage: Path, session: str, days: float) -> None:
    """Make a session older than it is while the node is not running."""
    with closing(sqlite3.connect(storage / "scribe.db")) as database, database:
        statement = "UPDATE session SET done_at_s = done_at_s - ? WHERE id = ?"
        assert database.execute(statement, (days * 86400, session)).rowcount == 1


def wait_noted(storage: Path, sessions: int) -> None:
    """Wait until the age clock knows that this many sessions have finished."""

    def noted() -> bool:
        with closing(sqlite3.connect(f"file:{storage}/scribe.db?mode=ro", uri=True)) as database:
            query = "SELECT count(*) FROM session WHERE done_at_s IS NOT NULL"
            return bool(database.execute(query).fetchone()[0] == sessions)

    wait_until(noted, 10, f"{sessions} sessions are noted as done")


def leave_more(storage: Path, session: str) -> None:
    """What faults leave: sound the engine failed on, a message the broker refused."""
    (storage / "failed" / f"{session}.00009.0.desk.s16le").write_bytes(b"\1\2" * 8000)
    (storage / "transcripts" / f".{next(_names(storage, session))}.part").write_text(SECRET.text)
    row = (session, f"{TOPIC}/mic/desk/segment", f'{{"text": "{SECRET.text}"}}', "too large")
    with closing(sqlite3.connect(storage / "scribe.db")) as database, database:
        statement = "INSERT INTO outbox (session_id, topic, payload, refused) VALUES (?, ?, ?, ?)"
        database.execute(statement, row)


def _names(storage: Path, session: str) -> Iterator[str]:
    files = (storage / "transcripts").glob("*.json")
    return (file.name for file in files if session in file.read_text(encoding="utf-8"))


def test_no_byte_of_a_deleted_session_is_left(room: Room) -> None:
    storage = room.node.storage
    session = room.start(desk="Alice")
    room.say("desk", SECRET)
    room.segments(session, 1)
    room.do("transcript/save")  # during the recording
    room.stop()
    room.do("transcript/save", session_id=session, formats=["text", "json"])
    other = hold(room, "door", OTHER)
    assert room.node.end() == 0
    leave_more(storage, session)
    after = room.watcher.count()
    room.node.start().wait_online(room.watcher, after)
    assert len(traces(storage, SECRET.text, session)) >= 4 + 4 + 2 + 1 + 1 + 1 + 1
    assert f"{TOPIC}/mic/desk/last_words" in shown(room, SECRET.text)
    assert room.do("session/search", query=SECRET.text)["total"] == 1
    terms = indexed(storage, SECRET) - indexed(storage, OTHER)
    assert terms
    room.do("session/delete", session_id=session)
    check_gone(room, session, SECRET.text)
    assert not terms & indexed(storage, SECRET)
    assert room.do("session/search", query=SECRET.text) == {"matches": [], "total": 0}
    # Other sessions' data stays.
    assert room.do("session/search", query=OTHER.text)["total"] == 1
    assert len(traces(storage, OTHER.text)) >= 4
    assert shown(room, OTHER.text)
    assert [s["session_id"] for s in room.do("session/list")["sessions"]] == [other]
    assert room.refused("transcript/get", session_id=session)["code"] == "unknown_session"


def test_the_only_session_takes_every_retained_word_with_it(room: Room) -> None:
    session = hold(room, "desk", SECRET, THIRD)
    retained_words = {
        f"{TOPIC}/mic/desk/last_words",
        f"{TOPIC}/transcript/last_words",
        f"{TOPIC}/transcript/live",
        f"{TOPIC}/transcript/last",
    }
    # The session's state names it too, until the session is done.
    wait_until(lambda: set(shown(room, session)) == retained_words, 10, "four topics name it")
    room.do("session/delete", session_id=session)
    check_gone(room, session, SECRET.text, THIRD.text)


def test_words_that_were_shown_last_are_taken_back_while_another_session_runs(room: Room) -> None:
    """The live text is still that of the previous session."""
    session = hold(room, "desk", SECRET)
    room.start(door="Bruno")
    assert f"{TOPIC}/transcript/live" in shown(room, SECRET.text)
    room.do("session/delete", session_id=session)
    check_gone(room, session, SECRET.text)
    room.stop()


def test_a_deletion_that_was_broken_off_is_finished_at_the_next_start(room: Room) -> None:
    """The process died when only the rows were gone."""
    session = hold(room, "desk", SECRET)
    assert room.node.end() == 0
    storage = room.node.storage
    waiting = storage / "spool" / f"{session}.00007.0.desk.s16le"
    waiting.write_bytes(b"\0\0" * 16000)
    store = Store(storage, keep_audio=True)
    assert store.open() is None
    store.traces.strike(session)
    store.close()
    assert traces(storage, SECRET.text, session)
    after = room.watcher.count()
    room.node.start().wait_online(room.watcher, after)
    check_gone(room, session, SECRET.text)
    assert room.do("session/list")["total"] == 0


@pytest.mark.parametrize("restarted", [False, True])
def test_a_file_that_cannot_be_removed_goes_as_soon_as_it_can(
    room: Room, *, restarted: bool
) -> None:
    """The rest goes before it. Its id is not forgotten, although the broker has forgotten all."""
    session = hold(room, "desk", SECRET)
    (name,) = _names(room.node.storage, session)
    file = room.node.storage / "transcripts" / name
    file.unlink()
    file.mkdir()  # which nobody can unlink, not even root
    error = room.refused("session/delete", session_id=session)
    assert "transcripts cannot be deleted" in error["message"]
    wait_until(lambda: not traces(room.node.storage, SECRET.text), 10, "all else is gone")
    wait_until(lambda: not shown(room, session, SECRET.text), 5, "the broker shows nothing of it")
    assert room.do("session/list")["total"] == 0
    file.rmdir()
    file.write_text(SECRET.text, encoding="utf-8")
    if restarted:
        again(room)
    wait_until(lambda: not file.exists(), 10, "the file is gone")
    check_gone(room, session, SECRET.text)


def test_another_program_that_reads_only_delays_it(room: Room) -> None:
    """`scribe-node sessions` and its like hold the log of the database for a moment."""
    session = hold(room, "desk", SECRET)
    storage = room.node.storage
    with closing(sqlite3.connect(f"file:{storage}/scribe.db?mode=ro", uri=True)) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM segment").fetchone()[0] == 1
        room.do("session/delete", session_id=session)
        assert traces(storage, SECRET.text)
    wait_until(lambda: not traces(storage, SECRET.text, session), 15, "nothing is left")


def test_a_session_that_waits_for_the_engine_can_be_deleted(room: Room, broker: Broker) -> None:
    """Cut off by a kill, without a model to finish it: it is never resumed."""
    session = room.start(desk="Alice")
    room.say("desk", SECRET)
    room.segments(session, 1)
    room.node.program.kill_group()
    missing = settings(room.node.folder, broker)
    missing["transcription"]["model"] = str(room.node.folder / "missing")
    room.node.configure(missing)
    after = room.watcher.count()
    room.node.start().wait_online(room.watcher, after)
    room.do("session/delete", session_id=session)
    check_gone(room, session, SECRET.text)


def test_old_sessions_go_by_themselves(room: Room, broker: Broker) -> None:
    storage = room.node.storage
    old, new = hold(room, "desk", SECRET), hold(room, "door", OTHER)
    again(room)  # it looks first at the start
    wait_noted(storage, 2)
    assert room.node.end() == 0
    expire(storage, old, days=30.1)
    expire(storage, new, days=29.9)
    room.node.configure(settings(room.node.folder, broker, keep_days=30))
    after = room.watcher.count()
    room.node.start().wait_online(room.watcher, after)
    event = room.watcher.wait_for(f"{TOPIC}/event", 10, after).json()
    assert event["event_type"] == "sessions_removed"
    assert event["message"] == "1 session was removed completely: storage.keep_days is 30"
    assert "INFO node.service.publishing.publisher: sessions_removed" in room.node.program.output()
    check_gone(room, old, SECRET.text)
    assert [s["session_id"] for s in room.do("session/list")["sessions"]] == [new]


def test_all_but_the_newest_sessions_go(room: Room, broker: Broker) -> None:
    sessions = []
    for _ in range(8):  # more than are removed at once
        sessions.append(room.start(desk="Alice"))
        room.stop()
    after = again(room, settings(room.node.folder, broker, keep_sessions=1))
    event = room.watcher.wait_for(f"{TOPIC}/event", 15, after).json()
    assert event["message"].startswith("7 sessions were removed")
    assert [s["session_id"] for s in room.do("session/list")["sessions"]] == sessions[-1:]


@pytest.mark.parametrize("hours", [10 * YEAR_H, -50 * YEAR_H])
def test_a_wrong_clock_removes_nothing(
    room: Room, broker: Broker, clock: WallClock, hours: int
) -> None:
    """Years ahead or in 1976, at a start, and corrected during a run."""
    sessions = {hold(room, "desk", SECRET)}
    clock.step_to(hours)
    again(room, settings(room.node.folder, broker, keep_days=2))
    sessions.add(hold(room, "door", OTHER))
    clock.step_to(0)
    room.do("health/check")
    after = again(room)
    room.do("health/check")
    assert {s["session_id"] for s in room.do("session/list")["sessions"]} == sessions
    assert not room.watcher.messages(f"{TOPIC}/event", after)
