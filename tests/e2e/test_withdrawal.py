"""Another's speech is withdrawn: live, after a kill, and by `transcribe`."""

from __future__ import annotations

import json
import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.model.say import write_wav
from tests.rig.commands import run
from tests.rig.introductions import ANSWER, RATE, REPLY, tracks
from tests.rig.node import MODEL, TOPIC, Room, RunningNode, configuration
from tests.rig.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.rig.broker import Broker
    from tests.rig.mqtt import Message, Watcher

TRIES = 5
"""Attempts at a session that keeps the word twice: it depends on where frames begin."""

LIVE, FINAL = f"{TOPIC}/transcript/live", f"{TOPIC}/transcript/final"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tracks")
    alice, bruno = tracks()
    write_wav(folder / "Alice.wav", alice, RATE)
    write_wav(folder / "Bruno.wav", bruno, RATE)
    return folder / "Alice.wav", folder / "Bruno.wav"


@pytest.fixture
def table(
    files: tuple[Path, Path], broker: Broker, watcher: Watcher, tmp_path: Path
) -> Iterator[Room]:
    sounds = [{"mic": m, "file": str(f)} for m, f in zip(("desk", "door"), files, strict=True)]
    audio = {"source": "files", "devices": [], "files": sounds}
    config = configuration(tmp_path, broker.port, [], audio=audio, session={"resume": True})
    with RunningNode(tmp_path, config) as node:
        node.wait_online(watcher)
        yield Room(node, None, watcher)  # type: ignore[arg-type]  # files are heard


def introduced(table: Room) -> tuple[str, str, str]:
    """Begin a session in which the first word is published twice.

    Returns the session's id, the copy's id, and the copy's line.
    """
    for _ in range(TRIES):
        session = table.start(desk="Alice", door="Bruno")
        first, second = sorted(table.segments(session, 2)[:2], key=lambda body: body["mic"])
        if (first["mic"], second["mic"]) == ("desk", "door") and second["start"] < first["end"]:
            return session, second["id"], f"Bruno: {second['text']}"
        table.stop()
    raise AssertionError("the word was never kept twice")


def withdrawn(table: Room) -> list[dict[str, Any]]:
    events = [message.json() for message in table.watcher.messages(f"{TOPIC}/event")]
    return [event for event in events if event["event_type"] == "segment_withdrawn"]


def untimed(text: str) -> list[str]:
    return [line.partition("] ")[2] for line in text.splitlines()]


def replied(table: Room, session: str) -> None:
    """Wait for the last words."""

    def texts() -> list[str]:
        return [segment["text"] for segment in table.segments(session, 2)]

    wait_until(lambda: REPLY.text in texts(), 30, "Alice's reply")


def check_end(table: Room, session: str, line: str, copy: str) -> list[str]:
    """Check that what was withdrawn is only in the JSON file, once the session is written.

    Returns the lines of the transcript.
    """
    answer = table.stop()
    final = table.watcher.wait_for(
        lambda m: m.topic == FINAL and m.json()["session_id"] == session, 10
    ).json()
    # The broker was killed: what it had not acknowledged came again.
    segments = list({segment["id"]: segment for segment in table.segments(session, 2)}.values())
    assert [segment["seq"] for segment in segments] == list(range(1, len(segments) + 1))
    copies = list(dict.fromkeys(event["id"] for event in withdrawn(table)))  # repeats may come
    assert copy in copies
    own = {segment["id"] for segment in segments} - set(copies)
    assert len(own) == len(segments) - len(copies)
    assert answer["segments_total"] == final["segments_total"] == len(own)
    (listed,) = (s for s in table.do("session/list")["sessions"] if s["session_id"] == session)
    assert listed["segments_total"] == len(own)
    lines = untimed(final["text"])
    assert line not in lines
    files = {form: Path(path).read_text(encoding="utf-8") for form, path in answer["files"].items()}
    assert untimed(files["txt"]) == lines
    assert [files[form].count(" --> ") for form in ("srt", "vtt")] == [len(lines)] * 2
    document = json.loads(files["json"])
    assert {s["id"] for s in document["segments"] if s["crosstalk_of"] is None} == own
    crosstalk = {s["id"]: s["crosstalk_of"] for s in document["segments"] if s["crosstalk_of"]}
    assert crosstalk.keys() == set(copies)
    assert crosstalk[copy] == "desk"
    assert [f"{said['speaker']}: {said['words']}" for said in document["seglst"]] == lines
    table.watcher.wait_for(lambda m: m.topic == LIVE and untimed(m.json()["text"]) == lines, 10)
    return lines


def is_withdrawal_of(copy: str) -> Callable[[Message], bool]:
    return lambda m: m.topic == f"{TOPIC}/event" and m.json().get("id") == copy


def is_live_without(line: str) -> Callable[[Message], bool]:
    return lambda m: m.topic == LIVE and line not in untimed(m.json()["text"])


def test_a_copy_is_published_and_then_withdrawn(table: Room) -> None:
    session, copy, line = introduced(table)
    event = table.watcher.wait_for(is_withdrawal_of(copy), 30)
    body = event.json()
    assert (body["event_type"], body["mic"], event.retain) == ("segment_withdrawn", "door", False)
    order = [
        message.topic.rpartition("/")[2]
        for message in table.watcher.messages()
        if message.topic.endswith(("/segment", "/event")) and message.json().get("id") == copy
    ]
    assert order == ["segment", "event"]  # once each
    table.watcher.wait_for(is_live_without(line), 10, table.watcher.messages().index(event))
    replied(table, session)
    got = table.do("transcript/get", session_id=session, format="json")
    assert copy not in {segment["id"] for segment in got["segments"]}
    assert line not in untimed(table.do("transcript/get", session_id=session)["text"])
    lines = check_end(table, session, line, copy)
    assert {f"Bruno: {ANSWER.text}", f"Alice: {REPLY.text}"} < set(lines)


def test_a_withdrawal_that_was_not_said_yet_outlives_a_kill(table: Room, broker: Broker) -> None:
    session, copy, line = introduced(table)
    broker.kill()
    table.watcher.wait_disconnected()
    wait_until(lambda: _waits(table.node.storage), 30, "the event waits in the outbox")
    table.node.program.signal(signal.SIGKILL)
    table.node.program.wait(10)
    broker.start()
    table.watcher.wait_connected()
    assert withdrawn(table) == []
    after = table.watcher.count()
    table.node.start().wait_online(table.watcher, after)
    table.watcher.wait_for(is_withdrawal_of(copy), 30, after)
    table.state("recording", after)
    # Whether or not anybody says anything more.
    table.watcher.wait_for(is_live_without(line), 10, after)
    check_end(table, session, line, copy)


def _waits(storage: Path) -> bool:
    with closing(sqlite3.connect(f"file:{storage}/scribe.db?mode=ro", uri=True)) as database:
        query = "SELECT count(*) FROM outbox WHERE payload LIKE '%segment_withdrawn%'"
        return bool(database.execute(query).fetchone()[0])


def test_transcribe_leaves_it_out_of_the_text(files: tuple[Path, Path]) -> None:
    options = ("--offset", "0", "--model", MODEL)
    document = json.loads(run("transcribe", *files, *options, "--format", "json").stdout)
    copies = [s for s in document["segments"] if s["crosstalk_of"] is not None]
    assert ("track-2", "track-1", 2) in {(s["mic"], s["crosstalk_of"], s["seq"]) for s in copies}
    own = [f"{s['speaker']}: {s['text']}" for s in document["segments"] if s not in copies]
    assert own[1:] == [f"Bruno: {ANSWER.text}", f"Alice: {REPLY.text}"]
    assert [f"{line['speaker']}: {line['words']}" for line in document["seglst"]] == own
    assert untimed(run("transcribe", *files, *options).stdout) == own
    assert document["session"]["segments_total"] == len(own)
