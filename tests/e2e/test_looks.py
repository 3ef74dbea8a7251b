"""`status`, `sessions` and `transcript`: a look at a running node and what it has stored."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.model.sentences import SENTENCES
from tests.rig.broker import Broker
from tests.rig.commands import Terminal, rows, run, write
from tests.rig.mqtt import Watcher
from tests.rig.node import configuration
from tests.rig.processes import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.rig.node import Room

HELLO = SENTENCES[0]


def test_a_session_seen_while_it_is_recorded_and_after(room: Room) -> None:
    config = ("--config", room.node.file)
    session = room.start(desk="Alice", door="Bruno")
    room.say("desk", HELLO)
    room.segments(session, 1)
    room.watcher.wait_for("scribe/lab/transcript/live", 10)

    def shown() -> str | None:
        done = run("status", *config)
        assert done.returncode == 0, done.stderr
        return done.stdout if HELLO.text in done.stdout and "dBFS" in done.stdout else None

    output = wait_until(shown, 30, "the sentence and the levels are shown") or ""
    assert f"scribe/lab: recording, session {session}, 1 segments" in output
    table = rows(output[output.index("#  ") :])
    assert [row[:4] for row in table[:2]] == [
        ["1", "desk", "Alice", "recording"],
        ["2", "door", "Bruno", "recording"],
    ]
    assert table[2][3:] == ["idle", "-"]
    assert HELLO.text in run("transcript", *config).stdout
    room.stop()

    assert "scribe/lab: idle" in run("status", *config).stdout
    (listed, *_) = rows(run("sessions", *config).stdout)
    assert listed[0] == session
    assert listed[3:6] == ["done", "1", "Alice, Bruno"]
    for form, mark in (
        ("srt", " --> "),
        ("vtt", "WEBVTT"),
        ("text", "] Alice: "),
        ("md", "**Alice** ("),
    ):
        done = run("transcript", session, "--format", form, *config)
        assert mark in done.stdout
        assert HELLO.text in done.stdout
    document = json.loads(run("transcript", session, "--format", "json", *config).stdout)
    assert document["session"]["session_id"] == session


def test_status_goes_on_live(room: Room) -> None:
    with Terminal("status", "--watch", "--config", room.node.file) as terminal:
        terminal.wait_output("scribe/lab: idle")
        room.start(sofa="Chloé")
        terminal.wait_output(r"scribe/lab: recording")
        terminal.wait_output("Chloé")
        room.stop()
        assert terminal.interrupt() == 0


def test_status_says_when_it_has_lost_the_broker(tmp_path: Path) -> None:
    with Broker() as broker, Watcher(broker.port) as watcher:
        watcher.publish("scribe/lab/status", "online", retain=True)
        config = write(tmp_path, configuration(tmp_path, broker.port, []))
        with Terminal("status", "--watch", "--config", config) as terminal:
            terminal.wait_output("scribe/lab: unknown")
            broker.kill()
            terminal.wait_output("no connection to the broker")
            assert terminal.interrupt() == 0


def test_a_node_nobody_knows(broker: Broker, tmp_path: Path) -> None:
    done = run("status", "--config", write(tmp_path, configuration(tmp_path, broker.port, [])))
    assert done.returncode == 1
    assert "knows no node scribe/lab" in done.stderr


def test_a_node_that_is_offline(broker: Broker, watcher: Watcher, tmp_path: Path) -> None:
    watcher.publish("scribe/lab/status", "offline", retain=True)
    done = run("status", "--config", write(tmp_path, configuration(tmp_path, broker.port, [])))
    assert done.returncode == 1
    assert "scribe/lab: offline" in done.stdout


def test_no_broker(tmp_path: Path) -> None:
    done = run("status", "--config", write(tmp_path, configuration(tmp_path, 1, [])))
    assert done.returncode == 1
    assert "no broker listens there" in done.stderr


def test_nothing_stored(tmp_path: Path) -> None:
    file = write(tmp_path, configuration(tmp_path, 1, []))
    for command in ("sessions", "transcript"):
        done = run(command, "--config", file)
        assert done.returncode == 1
        assert "holds no sessions yet" in done.stderr
    assert not (tmp_path / "storage").exists()


def test_a_session_that_is_not_there(room: Room) -> None:
    done = run("transcript", "nosuch", "--config", room.node.file)
    assert done.returncode == 1
    assert "there is no session nosuch" in done.stderr
