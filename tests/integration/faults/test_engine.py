"""The engine raising, hanging, or killing the process, always at the same utterance."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from node.adapters.store.audio import MAX_CRASHES
from tests.model.sentences import SENTENCES
from tests.rig.node import TOPIC, Room, RunningNode, configuration
from tests.rig.processes import wait_until
from tests.rig.verdict import rows
from tests.rig.vmics import VirtualMic, VirtualMics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.rig.broker import Broker
    from tests.rig.mqtt import Watcher

HELLO, MUSIC = SENTENCES[0], SENTENCES[4]
LONG = SENTENCES[22]


@pytest.fixture
def lab(broker: Broker, watcher: Watcher, tmp_path: Path) -> Iterator[Callable[[str], Room]]:
    """Starts a node whose engine fails on long sentences in the way given."""
    with VirtualMics([VirtualMic("desk")]) as mics:
        nodes = []

        def start(fault: str) -> Room:
            config = configuration(tmp_path, broker.port, ["desk"], session={"resume": False})
            env = {**(mics.env or os.environ), "ENGINE_FAULT": fault}
            node = RunningNode(tmp_path, config, env, "tests.rig.failing_engine")
            nodes.append(node)
            return Room(node.start().wait_online(watcher), mics, watcher)

        yield start
        for node in nodes:
            node.__exit__(None)


def failures(room: Room, after: int = 0) -> list[dict[str, Any]]:
    events = [message.json() for message in room.watcher.messages(f"{TOPIC}/event", after)]
    return [event for event in events if event["event_type"] == "transcription_failed"]


def kept(room: Room) -> list[Path]:
    return list((room.node.storage / "failed").iterdir())


def test_raising_once(lab: Callable[[str], Room]) -> None:
    room = lab("raise_once")
    session = room.start(desk="Alice")
    room.say("desk", LONG, HELLO)
    texts = [segment["text"] for segment in room.segments(session, 2)]
    room.stop()
    assert texts == [LONG.text, HELLO.text]
    assert not failures(room)
    assert not kept(room)
    assert not list((room.node.storage / "spool").iterdir())


def test_raising_always(lab: Callable[[str], Room]) -> None:
    room = lab("raise")
    session = room.start(desk="Alice")
    room.say("desk", LONG, HELLO)
    (segment,) = room.segments(session, 1)
    answer = room.stop()
    assert segment["text"] == HELLO.text
    assert segment["seq"] == 1
    assert answer["segments_total"] == 1
    (event,) = failures(room)
    (audio,) = kept(room)
    assert str(audio) in event["message"]
    assert "the engine is out of order" in event["message"]
    assert audio.stat().st_size > 60_000
    ((reason,),) = rows(room.node.storage, "SELECT reason FROM utterance WHERE state='failed'")
    assert "the engine is out of order" in reason
    assert room.node.program.output().count("RuntimeError: the engine is out of order") == 2


@pytest.mark.parametrize(("fault", "status"), [("hang", 1), ("abort", -6)])
def test_ending_the_process(lab: Callable[[str], Room], fault: str, status: int) -> None:
    """Restarted like a service: the utterance is set aside, all others are transcribed."""
    room = lab(fault)
    session = room.start(desk="Alice")
    room.say("desk", HELLO, LONG, MUSIC, pause_s=0.9)
    room.segments(session, 1)
    deaths = 0
    while room.node.program.wait(30) == status:
        deaths += 1
        assert not failures(room)
        after = room.watcher.count()
        room.node.start()
        if deaths == MAX_CRASHES:
            break
    final = room.watcher.wait_for(f"{TOPIC}/transcript/final", 30, after).json()
    assert deaths == MAX_CRASHES
    assert final["session_id"] == session
    assert HELLO.text in final["text"]
    wait_until(lambda: failures(room, after), 5, "the failure is said")
    assert "it has crashed the process" in failures(room)[0]["message"]
    assert len(kept(room)) == 1
    assert room.node.end() == 0
