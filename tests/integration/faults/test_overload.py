"""More speech than the machine can transcribe: what is given up, reported, and restored."""

from __future__ import annotations

import os
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from tests.model.sentences import ENGLISH, FRENCH
from tests.rig.node import TOPIC, Room, RunningNode, configuration
from tests.rig.vmics import VirtualMic, VirtualMics

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.rig.broker import Broker
    from tests.rig.mqtt import Watcher

SLOW_S = 6.0
"""Two microphones with a sentence every three seconds."""

LADDER = ["normal", "no_partials", "together", "beam_1", "overloaded"]
SAID = {"desk": ENGLISH[5:9], "door": FRENCH[5:9]}


@pytest.fixture
def room(broker: Broker, watcher: Watcher, tmp_path: Path) -> Iterator[Room]:
    slow = tmp_path / "slow"
    slow.touch()
    with VirtualMics([VirtualMic("desk"), VirtualMic("door")]) as mics:
        own = {"ENGINE_SLOW_S": str(SLOW_S), "ENGINE_SLOW_WHILE": str(slow)}
        config = configuration(tmp_path, broker.port, ["desk", "door"], crosstalk={"mode": "off"})
        env = {**(mics.env or os.environ), **own}
        with RunningNode(tmp_path, config, env, "tests.rig.slow_engine") as node:
            yield Room(node.wait_online(watcher), mics, watcher)


def loads(room: Room) -> list[str]:
    """Return the overload steps in the order in which `T/health` showed them."""
    shown = [message.json()["load"] for message in room.watcher.messages(f"{TOPIC}/health")]
    return [shown[0], *(now for before, now in pairwise(shown) if now != before)]


def events(room: Room, event_type: str) -> list[dict[str, Any]]:
    said = [message.json() for message in room.watcher.messages(f"{TOPIC}/event")]
    return [event for event in said if event["event_type"] == event_type]


def test_the_ladder_is_climbed_said_and_left_and_nothing_is_lost(
    room: Room, tmp_path: Path
) -> None:
    session = room.start(desk="Alice", door="Bruno")
    for mic, sentences in SAID.items():
        room.say(mic, *sentences)
    room.watcher.wait_for(is_event("overloaded"), 60)
    (tmp_path / "slow").unlink()
    segments = room.segments(session, 8)
    room.watcher.wait_for(is_event("recovered"), 60)
    answer = room.stop()
    assert answer["segments_total"] == 8
    for mic, sentences in SAID.items():
        texts = [segment["text"] for segment in segments if segment["mic"] == mic]
        assert texts == [sentence.text for sentence in sentences]
    ends = [segment["end"] for segment in segments]
    assert ends == sorted(ends)
    climbed = loads(room)[: loads(room).index("overloaded") + 1]
    left = loads(room)[len(climbed) - 1 :]
    assert climbed == [rung for rung in LADDER if rung in climbed]
    assert left == LADDER[::-1]
    assert [len(events(room, name)) for name in ("overloaded", "recovered")] == [1, 1]
    assert "s of speech are waiting" in events(room, "overloaded")[0]["message"]


def is_event(event_type: str) -> Any:
    return lambda m: m.topic == f"{TOPIC}/event" and m.json()["event_type"] == event_type
