"""A damaged database, and every step between two commits at which a process may die.

Each test leaves the storage folder as the fault would, and starts a node on it.
"""

from __future__ import annotations

import json
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from node.adapters.store import Store
from tests.model.sentences import SENTENCES
from tests.rig.lab import DATABASE, Lab
from tests.rig.node import ROOT, TOPIC
from tests.rig.processes import wait_until
from tests.rig.verdict import rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.rig.broker import Broker
    from tests.rig.mqtt import Watcher

HELLO, BONJOUR = SENTENCES[0], SENTENCES[31]
DIE_WITHIN_COMMIT = """
import os, pathlib, signal, sys
from node.adapters.store import Store

store = Store(pathlib.Path(sys.argv[1]), keep_audio=False)
store.open()
store.utterances.recover()
(utterance,) = store.utterances.next()
store.utterances.transcribed(utterance, lambda seq: os.kill(os.getpid(), signal.SIGKILL))
"""
UTTERANCE_9 = (
    "INSERT INTO utterance (session_id, number, mic, speaker, start, end, state)"
    " VALUES (?, 9, 'desk', 'Alice', 160000, 170000, ?)"
)


@pytest.fixture
def lab(tmp_path: Path, broker: Broker, watcher: Watcher) -> Iterator[Lab]:
    made = Lab(tmp_path, broker, watcher)
    yield made
    sys.stderr.write(made.node.program.output())  # shown if the test fails
    made.node.__exit__(None)


def truncated(database: Path) -> None:
    with database.open("r+b") as file:
        file.truncate(database.stat().st_size // 2 // 4096 * 4096 + 100)


def garbage_in_the_middle(database: Path) -> None:
    with database.open("r+b") as file:
        file.seek(database.stat().st_size // 3)
        file.write(random.Random(2).randbytes(database.stat().st_size // 3))


def garbage_at_the_start(database: Path) -> None:
    with database.open("r+b") as file:
        file.write(random.Random(3).randbytes(100))


def empty(database: Path) -> None:
    database.write_bytes(b"")


def a_folder(database: Path) -> None:
    database.unlink()
    (database / "photos").mkdir(parents=True)


def garbage_in_the_log(database: Path) -> None:
    database.with_name(f"{DATABASE}-wal").write_bytes(random.Random(4).randbytes(8192))


@pytest.mark.parametrize(
    "damage",
    [truncated, garbage_in_the_middle, garbage_at_the_start, empty, a_folder, garbage_in_the_log],
    ids=lambda damage: damage.__name__,
)
def test_damaged_database(lab: Lab, watcher: Watcher, damage: Callable[[Path], None]) -> None:
    """It is set aside and reported; waiting speech is adopted by its file names."""
    lab.hold_session()
    broken_off = "20260101T100000Z-00ff"
    waiting = lab.leave(broken_off, number=7, start=32000, sentence=HELLO)
    damage(lab.storage / DATABASE)
    after = watcher.count()
    room = lab.start()
    event = watcher.wait_for(f"{TOPIC}/event", after=after).json()
    assert event["event_type"] == "database_damaged"
    (aside,) = lab.storage.glob("*.damaged-*")
    assert str(aside) in event["message"]
    (segment,) = room.segments(broken_off, 1)
    assert segment["id"] == f"{broken_off}/desk/7"
    assert segment["text"] == HELLO.text
    assert segment["replayed"]
    final = watcher.wait_for(f"{TOPIC}/transcript/final", 20, after).json()
    assert final["session_id"] == broken_off
    assert not waiting.exists()
    session = room.start(desk="Bruno")
    room.segments(session, 1)
    assert room.stop()["segments_total"] >= 1


def test_no_damage_keeps_the_node_from_starting(lab: Lab, tmp_path: Path) -> None:
    """Garbage of any size anywhere: read by the store as the start does, in many copies."""
    lab.hold_session()
    rng = random.Random(5)
    original = (lab.storage / DATABASE).read_bytes()
    for turn in range(60):
        copy = tmp_path / f"copy{turn}"
        shutil.copytree(lab.storage, copy)
        data = bytearray(original)
        size = rng.choice([1, 16, 200, 4096, 20000])
        at = rng.randrange(len(data))
        data[at : at + size] = rng.randbytes(len(data[at : at + size]))
        (copy / DATABASE).write_bytes(data)
        store = Store(copy, keep_audio=False)
        damage = store.open()
        store.utterances.recover()
        for session in store.sessions.unfinished():
            store.sessions.segments(session.id)
        store.sessions.page(10, 0)
        store.close()
        assert (damage is not None) == bool(list(copy.glob("*.damaged-*")))


def test_killed_within_the_commit(lab: Lab, watcher: Watcher) -> None:
    """The segment was made and not committed: its audio is still there to make it again."""
    session = lab.hold_session()
    lab.leave(session, number=9, start=160000, sentence=BONJOUR)
    command = [sys.executable, "-c", DIE_WITHIN_COMMIT, str(lab.storage)]
    assert subprocess.run(command, check=False, cwd=ROOT).returncode == -signal.SIGKILL
    after = watcher.count()
    lab.start()
    final = watcher.wait_for(f"{TOPIC}/transcript/final", 20, after).json()
    assert final["text"].count(BONJOUR.text) == 1
    segments = [m.json() for m in watcher.messages(f"{TOPIC}/mic/+/segment", after)]
    assert [s["seq"] for s in segments] == [final["segments_total"]]
    assert_one_set_of_files(lab, session)


def test_audio_without_row(lab: Lab, watcher: Watcher) -> None:
    """A power cut has taken the row of a finished session's last utterance back."""
    session = lab.hold_session()
    lab.leave(session, number=9, start=160000, sentence=BONJOUR)
    after = watcher.count()
    room = lab.start()
    final = watcher.wait_for(f"{TOPIC}/transcript/final", 20, after).json()
    assert final["session_id"] == session
    mine = [s for s in room.segments(session, 2) if s["id"].endswith("/9")]
    assert [(s["text"], s["speaker"]) for s in mine] == [(BONJOUR.text, "Alice")]
    assert final["text"].count(BONJOUR.text) == 1
    assert_one_set_of_files(lab, session)


def test_row_without_audio(lab: Lab, watcher: Watcher) -> None:
    """It is given up and reported, and holds up nothing."""
    session = lab.hold_session()
    lab.change(UTTERANCE_9, session, "captured")
    lab.change("UPDATE session SET state='stopping', utterances=9")
    lab.leave(session, number=10, start=180000, sentence=BONJOUR)
    after = watcher.count()
    room = lab.start()
    final = watcher.wait_for(f"{TOPIC}/transcript/final", 20, after).json()
    assert BONJOUR.text in final["text"]
    event = watcher.wait_for(f"{TOPIC}/event", after=after).json()
    assert event["event_type"] == "transcription_failed"
    assert "No such file" in event["message"]
    assert room.do("session/list")["sessions"][0]["state"] == "done"


def test_died_while_a_neighbours_speech_was_forgotten(lab: Lab, watcher: Watcher) -> None:
    """Its sound is gone but not its row: nothing to transcribe, nothing to report."""
    session = lab.hold_session()
    lab.change(UTTERANCE_9, session, "open")
    lab.change("UPDATE session SET state='stopping', utterances=9")
    after = watcher.count()
    room = lab.start()
    watcher.wait_for(f"{TOPIC}/transcript/final", 20, after)
    room.do("health/check")
    assert not watcher.messages(f"{TOPIC}/event", after)
    assert not rows(lab.storage, "SELECT * FROM utterance")


def test_audio_whose_segment_is_committed(lab: Lab, watcher: Watcher) -> None:
    """The process died between the commit and deleting the audio: nothing is said twice."""
    session = lab.hold_session()
    document = finished_document(lab, session)
    first = document["segments"][0]
    number = int(first["id"].rpartition("/")[2])
    left = lab.leave(session, number=number, start=0, sentence=HELLO)
    mark = left.with_name(f"{left.name}.tried")
    mark.write_bytes(b".")
    after = watcher.count()
    room = lab.start()
    room.do("health/check")
    assert not left.exists()
    assert not mark.exists()
    assert not watcher.messages(f"{TOPIC}/mic/+/segment", after)
    assert finished_document(lab, session) == document


def test_audio_that_cannot_be_read_at_first(lab: Lab, watcher: Watcher) -> None:
    """The disk is to blame, not the engine: others go first, and it is tried until readable."""
    session = lab.hold_session()
    lab.change(UTTERANCE_9, session, "captured")
    lab.change("UPDATE session SET state='stopping', utterances=10")
    lab.change(UTTERANCE_9.replace("9,", "10,"), session, "captured")
    lab.leave(session, number=10, start=160000, sentence=BONJOUR)
    bad = lab.leave(session, number=9, start=160000, sentence=HELLO)
    good = bad.with_name("aside")
    bad.rename(good)
    bad.symlink_to("/proc/self/mem")  # whose first byte gives an I/O error
    after = watcher.count()
    room = lab.start()
    event = watcher.wait_for(f"{TOPIC}/event", after=after).json()
    assert event["event_type"] == "sound_unreadable"
    assert "Input/output error" in event["message"]
    assert event["mic"] == "desk"
    segment = watcher.wait_for(f"{TOPIC}/mic/+/segment", 20, after).json()
    assert segment["text"] == BONJOUR.text
    wait_until(lambda: room.do("health/check")["uptime_s"] > 6, 15, "it has been tried often")
    assert len(watcher.messages(f"{TOPIC}/event", after)) == 1
    assert not list((lab.storage / "failed").iterdir())
    good.rename(bad)
    final = watcher.wait_for(f"{TOPIC}/transcript/final", 20, after).json()
    assert HELLO.text in final["text"]
    assert BONJOUR.text in final["text"]


def test_a_mistake_in_a_statement_ends_the_process(lab: Lab, watcher: Watcher) -> None:
    """Not taken for a full disk and tried for ever: status 1, and the next start works."""
    session = lab.hold_session()
    lab.change(UTTERANCE_9, session, "captured")
    lab.change("UPDATE session SET state='stopping', utterances=9")
    lab.leave(session, number=9, start=160000, sentence=BONJOUR)
    lab.change(
        "CREATE TRIGGER wrong BEFORE DELETE ON utterance BEGIN SELECT RAISE(ABORT, 'wrong'); END"
    )
    lab.start()
    assert lab.node.program.wait(30) == 1
    assert "IntegrityError: wrong" in lab.node.program.output()
    lab.change("DROP TRIGGER wrong")
    after = watcher.count()
    lab.start()
    final = watcher.wait_for(f"{TOPIC}/transcript/final", 20, after).json()
    assert final["text"].count(BONJOUR.text) == 1


def test_damage_that_only_shows_when_it_is_met(lab: Lab, watcher: Watcher) -> None:
    """An index of rows that do not exist, which no quick check finds: the next start does."""
    lab.hold_session()
    session = "20260101T100000Z-00ff"
    lab.change(
        "INSERT INTO session (id, started_at, ended_at, speakers, files, state) VALUES"
        " (?, '2026-01-01T10:00:00.000Z', '2026-01-01T10:01:00.000Z', '{}', '{}', 'done')",
        session,
    )
    lab.change("INSERT INTO segment VALUES ('x', ?, 1, '{}')", session)
    delete_behind_the_index(lab, "DELETE FROM segment WHERE id='x'")
    lab.start()
    watcher.publish(f"{TOPIC}/request/transcript/get", json.dumps({"session_id": session}))
    assert lab.node.program.wait(20) == 1
    assert "is damaged" in lab.node.program.output()
    after = watcher.count()
    room = lab.start()
    event = watcher.wait_for(f"{TOPIC}/event", after=after).json()
    assert event["event_type"] == "database_damaged"
    assert "index" in event["message"]
    assert room.do("session/list")["total"] == 0


def delete_behind_the_index(lab: Lab, statement: str) -> None:
    """Delete from the table of segments, and not from the index that finds them."""
    index = "FROM sqlite_schema WHERE name='segments_of_session'"
    (row,) = rows(lab.storage, f"SELECT * {index}")
    with closing(sqlite3.connect(lab.storage / DATABASE)) as database, database:
        database.execute("PRAGMA writable_schema=ON")
        database.execute(f"DELETE {index}")
    lab.change(statement)
    with closing(sqlite3.connect(lab.storage / DATABASE)) as database, database:
        database.execute("PRAGMA writable_schema=ON")
        database.execute("INSERT INTO sqlite_schema VALUES (?, ?, ?, ?, ?)", row)


def test_audio_that_was_given_up(lab: Lab) -> None:
    """The process died between the row of a failure and the move of its audio."""
    session = lab.hold_session()
    lab.change(UTTERANCE_9, session, "failed")
    left = lab.leave(session, number=9, start=160000, sentence=BONJOUR)
    room = lab.start()
    room.do("health/check")
    assert not left.exists()
    assert (lab.storage / "failed" / left.name).exists()


def test_died_between_writing_files_and_done(lab: Lab, watcher: Watcher) -> None:
    """The names were noted, some files written: the same files come again, and no others."""
    session = lab.hold_session()
    before = finished_document(lab, session)
    (files,) = rows(lab.storage, "SELECT files FROM session WHERE id=?", session)[0]
    lab.change("UPDATE session SET state='stopping'")
    txt = Path(json.loads(files)["txt"])
    txt.write_text("half of a li", encoding="utf-8")
    Path(json.loads(files)["srt"]).unlink()
    after = watcher.count()
    lab.start()
    final = watcher.wait_for(f"{TOPIC}/transcript/final", 20, after).json()
    assert final["files"] == json.loads(files)
    assert finished_document(lab, session) == before
    assert txt.read_text(encoding="utf-8") == final["text"]
    assert_one_set_of_files(lab, session)


def test_died_before_the_names_were_noted(lab: Lab, watcher: Watcher) -> None:
    session = lab.hold_session()
    for file in (lab.storage / "transcripts").iterdir():
        file.unlink()
    lab.change("UPDATE session SET state='stopping', files='{}'")
    after = watcher.count()
    lab.start()
    final = watcher.wait_for(f"{TOPIC}/transcript/final", 20, after).json()
    assert final["session_id"] == session
    assert_one_set_of_files(lab, session)


def test_died_between_acknowledgement_and_striking_off(lab: Lab, watcher: Watcher) -> None:
    """The message goes again, under the same id and marked as replayed."""
    session = lab.hold_session()
    (first, *_) = (m for m in watcher.messages(f"{TOPIC}/mic/+/segment"))
    lab.change(
        "INSERT INTO outbox (session_id, topic, payload) VALUES (?, ?, ?)",
        session,
        first.topic,
        first.text,
    )
    after = watcher.count()
    lab.start()
    again = watcher.wait_for(f"{TOPIC}/mic/+/segment", after=after).json()
    assert again == {**first.json(), "replayed": True}


def finished_document(lab: Lab, session: str) -> dict[str, Any]:
    (files,) = rows(lab.storage, "SELECT files FROM session WHERE id=?", session)[0]
    document: dict[str, Any] = json.loads(
        Path(json.loads(files)["json"]).read_text(encoding="utf-8")
    )
    return document


def assert_one_set_of_files(lab: Lab, session: str) -> None:
    (files,) = rows(lab.storage, "SELECT files FROM session WHERE id=?", session)[0]
    there = sorted(str(path) for path in (lab.storage / "transcripts").iterdir())
    assert there == sorted(json.loads(files).values())
    assert not list((lab.storage / "spool").iterdir())
