"""Single values read back damaged: set aside, counted and reported, while the rest goes on.

Each test changes what a node left, in a way that no check of the whole file finds.
"""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

import pytest

from tests.rig.lab import Lab
from tests.rig.node import MODEL, TOPIC, RunningNode, configuration
from tests.rig.verdict import rows

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.rig.broker import Broker
    from tests.rig.mqtt import Watcher
    from tests.rig.node import Room

WORDS = "the combination of the safe"
"""No event and no log line may repeat what somebody said."""

SEGMENT_TOPIC = f"{TOPIC}/mic/desk/segment"
BROKEN_OFF = f'{{"text": "{WORDS}", "sta'
UNSENT = "INSERT INTO outbox (session_id, topic, payload) VALUES ('', ?, ?)"
UTTERANCE = (
    "INSERT INTO utterance (session_id, number, mic, speaker, start, end, state)"
    " VALUES (:session, 99, '{mic}', 'Alice', {start}, 170000, 'captured')"
)


@pytest.fixture
def lab(tmp_path: Path, broker: Broker, watcher: Watcher) -> Iterator[Lab]:
    made = Lab(tmp_path, broker, watcher)
    yield made
    sys.stderr.write(made.node.program.output())
    made.node.__exit__(None)


def events(watcher: Watcher, after: int) -> list[tuple[str, str]]:
    told = [message.json() for message in watcher.messages(f"{TOPIC}/event", after)]
    return [(event["event_type"], event["message"]) for event in told]


def check_well(lab: Lab, room: Room) -> None:
    """A session runs from start to stop, and nothing repeated what was said."""
    session = room.start(desk="Bruno")
    room.segments(session, 1)
    assert room.stop()["segments_total"] >= 1
    assert WORDS not in lab.node.program.output()
    assert lab.node.end() == 0


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        (SEGMENT_TOPIC, BROKEN_OFF),
        (SEGMENT_TOPIC, f'["{WORDS}"]'),
        (SEGMENT_TOPIC, ""),
        (f"{TOPIC}/mic/+/segment", '{"replayed": false}'),
        ("", '{"replayed": false}'),
    ],
)
def test_an_unsent_message(lab: Lab, watcher: Watcher, topic: str, payload: str) -> None:
    lab.hold_session()
    lab.change(UNSENT, topic, payload)
    lab.change(UNSENT, SEGMENT_TOPIC, '{"seq": 77, "session_id": ""}')
    after = watcher.count()
    room = lab.start()
    watcher.wait_for(lambda m: m.topic == SEGMENT_TOPIC and m.json()["seq"] == 77, 10, after)
    told = watcher.wait_for(f"{TOPIC}/event", 10, after).json()
    assert told["event_type"] == "message_refused"
    assert "damaged" in told["message"]
    assert WORDS not in told["message"]
    assert room.do("health/check")["set_aside"] == 1
    check_well(lab, room)
    ((kept,),) = rows(lab.storage, "SELECT payload FROM outbox WHERE refused IS NOT NULL")
    assert kept == payload


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE segment SET body='BROKEN_OFF' WHERE seq=1",
        "UPDATE segment SET body='{}' WHERE seq=1",
        """UPDATE segment SET body=json_set(body, '$.start', '"soon"') WHERE seq=1""",
        "UPDATE session SET speakers='BROKEN_OFF'",
        "UPDATE session SET speakers='[1]'",
        'UPDATE session SET files=\'{"txt": "/a/b/.."}\'',
        "UPDATE session SET started_at='20?6-11-22T10:00:01.200Z'",
        "UPDATE session SET ended_at='2026-11-22T10:00:01'",
        "UPDATE session SET title=x'ff00', language=7, max_duration_s='long'",
        "UPDATE session SET node=7, in_group=x'ff00', clock='{\"start\": 1}'",
        "UPDATE session SET state='stopping', utterances='a', segments='b'",
        "UPDATE session SET state='stopping', utterances=0, segments=0",
        "UPDATE session SET state='stopping', ended_at='', files='{\"tyt\": \"/a/b\"}'",
        "UPDATE session SET id='20269999T100000Z-00ff'",
        "UPDATE mic SET info='BROKEN_OFF'",
        "UPDATE mic SET info=json_set(info, '$.name', 7)",
        "INSERT INTO erasure VALUES ('20260101T100000Z-00ff', 'desk')",
        "INSERT INTO file VALUES ('20260101T100000Z-00ff', '..')",
        "INSERT INTO age VALUES ('old', 'then')",
    ],
)
def test_a_row_that_a_start_reads(lab: Lab, watcher: Watcher, statement: str) -> None:
    lab.hold_session()
    lab.change("DELETE FROM age")
    lab.change(statement.replace("BROKEN_OFF", BROKEN_OFF))
    after = watcher.count()
    room = lab.start()
    told = watcher.wait_for(f"{TOPIC}/event", 10, after).json()
    assert told["event_type"] == "data_damaged"
    assert WORDS not in told["message"]
    assert room.do("health/check")["set_aside"] >= 1
    assert room.ask("transcript/get")["status"] in {"ok", "error"}
    check_well(lab, room)
    assert rows(lab.storage, "SELECT content FROM damaged")
    after = watcher.count()
    lab.start()
    assert room.do("session/list")["total"] >= 1
    assert "data_damaged" not in [kind for kind, _ in events(watcher, after)]  # said once


@pytest.mark.parametrize(("mic", "start"), [("de sk", "0"), ("desk", "'soon'"), ("desk", "-5")])
def test_an_utterance_that_waits(lab: Lab, watcher: Watcher, mic: str, start: str) -> None:
    session = lab.hold_session()
    lab.change(UTTERANCE.format(mic=mic, start=start).replace(":session", f"'{session}'"))
    lab.change("UPDATE session SET state='stopping', utterances=99")
    after = watcher.count()
    room = lab.start()
    watcher.wait_for(f"{TOPIC}/transcript/final", 20, after)
    assert [kind for kind, _ in events(watcher, after)] == ["data_damaged"]
    check_well(lab, room)


def test_rows_that_are_damaged_while_the_node_runs(lab: Lab, watcher: Watcher) -> None:
    session = lab.hold_session()
    room = lab.start()
    after = watcher.count()
    lab.change("UPDATE segment SET body=? WHERE seq=1", BROKEN_OFF)
    lab.change("UPDATE session SET speakers=?", BROKEN_OFF)
    lab.change(UTTERANCE.format(mic="de sk", start=0).replace(":session", f"'{session}'"))
    room.do("transcript/get", session_id=session)
    room.do("transcript/save", session_id=session)
    room.do("session/list")
    check_well(lab, room)
    assert {kind for kind, _ in events(watcher, after)} == {"data_damaged"}


def test_what_is_erased_is_erased_of_what_was_set_aside(lab: Lab) -> None:
    session = lab.hold_session()
    lab.change("UPDATE segment SET body=? WHERE seq=1", BROKEN_OFF)
    room = lab.start()
    room.do("transcript/get", session_id=session)
    ((content,),) = rows(lab.storage, "SELECT content FROM damaged")
    assert WORDS in content
    room.do("session/delete", session_id=session)
    assert not rows(lab.storage, "SELECT content FROM damaged")


@pytest.mark.parametrize(
    "name",
    [
        "20269999T100000Z-00ff.00007.0.desk.s16le",
        "20260101T100000Z-00ff.00007.99999999999999999999.desk.s16le",
        "20260101T100000Z-00ff.99999999999999999999.0.desk.s16le",
        "mus\udce9e.s16le",
    ],
)
def test_a_name_in_the_spool_that_tells_of_no_utterance(
    lab: Lab, watcher: Watcher, name: str
) -> None:
    lab.hold_session()
    (lab.storage / "spool" / name).write_bytes(b"\0\0" * 8000)
    after = watcher.count()
    room = lab.start()
    assert watcher.wait_for(f"{TOPIC}/event", 10, after).json()["event_type"] == "data_damaged"
    check_well(lab, room)
    assert (lab.storage / "failed" / name).stat().st_size == 16000
    assert not list((lab.storage / "spool").iterdir())


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xfe{", b"[1]", b'{"topics": 3}', b'{"topics": ["scribe/#"]}', b'{"topics": [3]}'],
)
def test_the_list_of_what_was_announced(lab: Lab, watcher: Watcher, content: bytes) -> None:
    lab.hold_session()
    file = lab.storage / "homeassistant.json"
    file.write_bytes(content)
    after = watcher.count()
    room = lab.start()
    told = watcher.wait_for(f"{TOPIC}/event", 10, after).json()
    assert told["event_type"] == "data_damaged"
    check_well(lab, room)
    (aside,) = lab.storage.glob("homeassistant.json.damaged-*")
    assert str(aside) in told["message"]
    assert aside.read_bytes() == content


@pytest.mark.parametrize("content", [b"Un mod\xe8le d'essai.", b"\xff\xfe\0"])
def test_a_models_notice(tmp_path: Path, broker: Broker, watcher: Watcher, content: bytes) -> None:
    model = tmp_path / "model"
    shutil.copytree(MODEL, model)
    (model / "notice.txt").write_bytes(content)
    config = configuration(tmp_path, broker.port, [], transcription={"model": str(model)})
    with RunningNode(tmp_path, config) as node:
        node.wait_online(watcher)
        info = watcher.wait_for(f"{TOPIC}/info").json()
        assert info["model_state"] == "ready"
        assert info["model_notice"] == content.decode(errors="replace")
        assert node.end() == 0


def test_a_models_configuration(tmp_path: Path, broker: Broker, watcher: Watcher) -> None:
    model = tmp_path / "model"
    shutil.copytree(MODEL, model)
    (model / "config.json").write_bytes(b"\xff{")
    config = configuration(tmp_path, broker.port, [], transcription={"model": str(model)})
    with RunningNode(tmp_path, config) as node:
        node.wait_online(watcher)
        assert watcher.request(TOPIC, "health/check")["status"] == "ok"
        assert node.end() == 0
