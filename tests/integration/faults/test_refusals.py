"""The broker refuses a password, a topic, a size: it is said, and blocks nothing else."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING

import pytest

from node.adapters.store import Store
from node.core.model import Segment, Session, started_at_of
from tests.rig.broker import Broker
from tests.rig.mqtt import Watcher
from tests.rig.node import TOPIC, RunningNode, configuration
from tests.rig.outbox import OLD_SESSION, fill_outbox, set_aside, wait_all, wait_waiting
from tests.rig.processes import wait_until

if TYPE_CHECKING:
    from pathlib import Path


def event(watcher: Watcher, event_type: str, timeout: float = 30) -> str:
    found = watcher.wait_for(
        lambda m: m.topic == f"{TOPIC}/event" and m.json()["event_type"] == event_type, timeout
    )
    message: str = found.json()["message"]
    return message


def test_a_wrong_password_is_said_once(tmp_path: Path) -> None:
    with Broker(users={"node": "right", "watcher": "secret"}) as broker:
        (tmp_path / "password").write_text("wrong")
        (tmp_path / "password").chmod(0o600)
        mqtt = {"username": "node", "password_file": str(tmp_path / "password")}
        config = configuration(tmp_path, broker.port, [], mqtt=mqtt)
        with RunningNode(tmp_path, config) as node:
            node.program.wait_output("refuses the connection: Not authorized", 20)
            wait_until(lambda: broker.log().count("not authorised") >= 2, 30, "it has tried again")
            assert node.program.output().count("broker: ") == 1, node.program.output()
            assert "wrong" not in node.program.output()
            _set_password(broker, "node", "wrong")
            with Watcher(broker.port, username="watcher", password="secret") as watcher:  # noqa: S106
                watcher.wait_for(f"{TOPIC}/status", 40)
                assert watcher.request(TOPIC, "health/check")["status"] == "ok"


def _set_password(broker: Broker, user: str, password: str) -> None:
    file = broker.folder / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", file, user, password], check=True)
    broker.stop()
    broker.start()


ACL = f"""\
user node
topic readwrite #
topic deny {TOPIC}/mic/secret/segment
topic deny {TOPIC}/health
user watcher
topic readwrite #
"""


def test_a_topic_refused_by_the_acl_blocks_nothing(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("right")
    (tmp_path / "password").chmod(0o600)
    fill_outbox(tmp_path / "storage", [1, 2])
    fill_outbox(tmp_path / "storage", [90, 91], mic="secret")
    fill_outbox(tmp_path / "storage", [3, 4])
    with (
        Broker(users={"node": "right", "watcher": "secret"}, acl=ACL) as broker,
        Watcher(broker.port, username="watcher", password="secret") as watcher,  # noqa: S106
    ):
        mqtt = {"username": "node", "password_file": str(tmp_path / "password")}
        config = configuration(tmp_path, broker.port, [], mqtt=mqtt)
        with RunningNode(tmp_path, config) as node:
            wait_all(watcher, [1, 2, 3, 4], 30)
            told = event(watcher, "message_refused")
            assert f"{TOPIC}/mic/secret/segment" in told
            assert "Not authorized" in told
            wait_waiting(node, 0)
            assert len(set_aside(node.storage)) == 2
            node.program.wait_output(f"the broker refuses {TOPIC}/health", 10)


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_message_too_large_for_the_broker_is_set_aside(protocol: str, tmp_path: Path) -> None:
    fill_outbox(tmp_path / "storage", [1, 2])
    fill_outbox(tmp_path / "storage", [90], filler=30_000)
    fill_outbox(tmp_path / "storage", [3, 4])
    with (
        Broker(extra="max_packet_size 20000") as broker,
        Watcher(broker.port) as watcher,
    ):
        config = configuration(tmp_path, broker.port, [], mqtt={"protocol": protocol})
        with RunningNode(tmp_path, config) as node:
            wait_all(watcher, [1, 2, 3, 4], 40)
            assert f"{TOPIC}/mic/desk/segment" in event(watcher, "message_refused")
            (reason,) = set_aside(node.storage)
            assert ("20000" if protocol == "5" else "too large") in reason


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_transcript_too_large_for_the_broker_blocks_nothing(
    protocol: str, tmp_path: Path
) -> None:
    """It is a retained state as well, and so is published first on every connection."""
    fill_outbox(tmp_path / "storage", [1, 2, 3])
    _past_session(tmp_path / "storage", segments=500)
    with Broker(extra="max_packet_size 20000") as broker, Watcher(broker.port) as watcher:
        config = configuration(tmp_path, broker.port, [], mqtt={"protocol": protocol})
        with RunningNode(tmp_path, config) as node:
            wait_all(watcher, [1, 2, 3], 60)
            assert f"{TOPIC}/transcript/last" in event(watcher, "message_refused")
            assert not set_aside(node.storage)
            assert watcher.request(TOPIC, "session/list")["data"]["total"] == 1


def _past_session(storage: Path, segments: int) -> None:
    session = Session(OLD_SESSION, started_at_of(OLD_SESSION))
    session.ended_at = session.started_at
    store = Store(storage, keep_audio=False)
    store.open()
    store.sessions.begin(session, 0.0)
    store.sessions.stopping(session)
    store.sessions.finish(session, [])
    store.close()
    rows = []
    for n in range(1, segments + 1):
        text = "Nous avons un cours lundi à sept heures."
        id_ = f"{session.id}/desk/{n}"
        one = Segment(id_, session.id, n, "desk", "Alice", n * 16000, n * 16000, text, "fr", 1, 1)
        rows.append((session.id, n, id_, json.dumps(asdict(one))))
    with closing(sqlite3.connect(storage / "scribe.db")) as db, db:
        db.executemany("INSERT INTO segment (session_id, seq, id, body) VALUES (?, ?, ?, ?)", rows)
