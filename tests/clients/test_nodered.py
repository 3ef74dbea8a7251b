"""A real Node-RED with our flow, and a node that hears real speech."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.model.sentences import SENTENCES
from tests.rig.broker import Broker
from tests.rig.clients.nodered import FLOW, NodeRed
from tests.rig.mqtt import Watcher
from tests.rig.node import TOPIC, Room, RunningNode, configuration
from tests.rig.processes import wait_until
from tests.rig.vmics import VirtualMic, VirtualMics

if TYPE_CHECKING:
    from collections.abc import Iterator

LIGHT = SENTENCES[6]  # Turn on the kitchen light please.
FRENCH_LIGHT = SENTENCES[37]  # Allume la lumière de la cuisine.
ACTION = "home/kitchen/light/set"


@dataclass
class Flow:
    red: NodeRed
    room: Room

    def answer(self, button: str, verb: str) -> dict[str, Any]:
        """Press a button; return the answer once the flow has matched it with its request."""
        after = self.room.watcher.count()
        self.red.press(button)
        message = self.room.watcher.wait_for(f"{TOPIC}/response/{verb}", 60, after)
        wait_until(lambda: self.red.context("pending") == {}, 10, "the answer is matched")
        body: dict[str, Any] = message.json()
        return body


@pytest.fixture(scope="module")
def flow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flow]:
    folder = tmp_path_factory.mktemp("node")
    mics = ["desk", "door"]
    with (
        Broker() as broker,
        VirtualMics([VirtualMic(name) for name in mics]) as virtual,
        Watcher(broker.port) as watcher,
        RunningNode(folder, configuration(folder, broker.port, mics), virtual.env) as node,
        NodeRed(tmp_path_factory.mktemp("red"), broker.port, os.environ) as red,
    ):
        room = Room(node.wait_online(watcher), virtual, watcher)
        wait_until(lambda: red.context("node") == TOPIC, 20, "the flow has seen the node")
        yield Flow(red, room)


def test_a_session_by_the_buttons_of_the_flow(flow: Flow) -> None:
    room, after = flow.room, flow.room.watcher.count()
    assert flow.answer("scribe-start", "session/start")["error"]["code"] == "no_assignments"
    mics = flow.answer("scribe-assign", "mics/assign")["data"]["mics"]
    assert [mic["speaker"] for mic in mics] == ["Alice", "Bruno"]
    session = flow.answer("scribe-start", "session/start")["data"]["session_id"]
    room.say("desk", LIGHT)
    room.segments(session, 1)
    assert room.watcher.wait_for(ACTION, 10, after).text == "ON"
    room.say("door", FRENCH_LIGHT)
    room.segments(session, 2)
    wait_until(lambda: len(room.watcher.messages(ACTION, after)) == 2, 10, "the French keyword")
    said = flow.red.context("transcript")["speakers"]
    assert said == {"Alice": [LIGHT.text], "Bruno": [FRENCH_LIGHT.text]}
    stopped = flow.answer("scribe-stop", "session/stop")
    assert stopped["data"]["segments_total"] == 2
    file = flow.red.folder / "scribe" / f"{session}.txt"
    wait_until(file.exists, 10, "the transcript is written")
    wait_until(lambda: FRENCH_LIGHT.text in file.read_text(encoding="utf-8"), 5, "all of it")


def test_a_repeated_or_late_segment_acts_no_more(flow: Flow) -> None:
    """The broker may deliver twice; old speech switches nothing."""
    watcher, after = flow.room.watcher, flow.room.watcher.count()
    segment = {"id": "x/1", "session_id": "x", "speaker": "Zoé", "text": LIGHT.text}
    topic = f"{TOPIC}/mic/desk/segment"
    for id_, replayed in [("x/1", False), ("x/1", False), ("x/2", True), ("x/3", False)]:
        watcher.publish(topic, json.dumps({**segment, "id": id_, "replayed": replayed}))
    wait_until(lambda: len(watcher.messages(ACTION, after)) >= 2, 10, "the first and the last")
    flow.answer("scribe-stop", "session/stop")  # the flow has gone on to something else
    assert len(watcher.messages(ACTION, after)) == 2


def test_what_was_another_mics_speech_is_left_out(flow: Flow) -> None:
    watcher = flow.room.watcher
    for number in (1, 2):
        segment = {"id": f"y/{number}", "session_id": "y", "speaker": "Zoé", "text": f"{number}"}
        watcher.publish(f"{TOPIC}/mic/desk/segment", json.dumps(segment))
    said = {"Zoé": ["1", "2"]}
    wait_until(lambda: flow.red.context("transcript")["speakers"] == said, 10, "both are there")
    watcher.publish(f"{TOPIC}/event", json.dumps({"event_type": "segment_withdrawn", "id": "y/1"}))
    said = {"Zoé": ["2"]}
    wait_until(lambda: flow.red.context("transcript")["speakers"] == said, 10, "one is left out")


def test_what_is_no_json_is_caught(flow: Flow) -> None:
    flow.room.watcher.publish(f"{TOPIC}/mic/desk/segment", "no JSON")
    flow.room.watcher.publish(f"{TOPIC}/response/session/start", '{"transaction": "of another"}')
    assert flow.answer("scribe-stop", "session/stop")["error"]["code"] == "not_recording"


def test_the_flow_has_no_machine_of_ours_in_it() -> None:
    nodes = json.loads(FLOW.read_text(encoding="utf-8"))
    (broker,) = [node for node in nodes if node["type"] == "mqtt-broker"]
    assert (broker["broker"], broker["port"]) == ("localhost", "1883")
    wired = {end for node in nodes for out in node.get("wires", []) for end in out}
    assert wired <= {node["id"] for node in nodes}
