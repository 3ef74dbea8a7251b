"""Discovery on a real broker: announced, repeated at a birth message, withdrawn at the end."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from node.adapters.announced import AnnouncedTopics
from tests.rig.mqtt import Watcher
from tests.rig.node import TOPIC, RunningNode, configuration
from tests.rig.processes import wait_until
from tests.rig.vmics import write_wav

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.rig.broker import Broker
    from tests.rig.mqtt import Message

MICS = ("tape.a", "tape.b")
CONFIGS = "homeassistant/device/+/config"
STATES = ("info", "session", "mics", "health", "mic/tape.a/state", "mic/tape.b/state")


def settings(folder: Path, port: int, *mics: str, **sections: Any) -> dict[str, Any]:
    file = write_wav(folder / "quiet.wav", np.zeros(16000, np.int16), 16000)
    audio = {
        "source": "files",
        "devices": [],
        "files": [{"mic": mic, "file": str(file), "loop": True} for mic in mics],
    }
    on = {"homeassistant": {"enabled": True}}
    return configuration(folder, port, [], audio=audio, **{**on, **sections})


@pytest.fixture
def node(tmp_path: Path, broker: Broker, watcher: Watcher) -> Iterator[RunningNode]:
    with RunningNode(tmp_path, settings(tmp_path, broker.port, *MICS)) as running:
        yield running.wait_online(watcher)


def again(node: RunningNode, watcher: Watcher, configuration: dict[str, Any]) -> None:
    """End the node and start it with another configuration."""
    node.end()
    after = watcher.count()
    node.configure(configuration)
    node.start().wait_online(watcher, after)


def retained(port: int, topics: str = CONFIGS) -> dict[str, Any]:
    """Return what a new client receives, by the name of the device."""
    with Watcher(port, topics=[topics, "end"]) as late:
        late.publish("end")
        late.wait_for("end")
        found = [message.json() for message in late.messages(topics) if message.retain]
    return {message["device"]["name"]: message for message in found}


def announced(watcher: Watcher, after: int = 0) -> list[Message]:
    return [message for message in watcher.messages(CONFIGS, after) if message.payload]


def test_the_list_of_what_was_announced_survives_a_power_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its content is on the disk before it gets its name, and so is the name in the end."""
    steps: list[str] = []
    sync, rename = os.fsync, os.replace

    def noted_sync(descriptor: int) -> None:
        steps.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        sync(descriptor)

    def noted_rename(old: Path, new: Path) -> None:
        steps.append(f"{old.name} to {new.name}")
        rename(old, new)

    monkeypatch.setattr(os, "fsync", noted_sync)
    monkeypatch.setattr(os, "replace", noted_rename)
    file = tmp_path / "homeassistant.json"
    AnnouncedTopics(file).save(["a", "b"])
    assert AnnouncedTopics(file).load() == {"a", "b"}
    assert steps == [
        "homeassistant.part",
        "homeassistant.part to homeassistant.json",
        tmp_path.name,
    ]


def test_the_node_and_its_mics_are_announced_in_order(
    node: RunningNode, broker: Broker, watcher: Watcher
) -> None:
    wait_until(lambda: len(announced(watcher)) == 3, 5, "three devices")
    names = [message.json()["device"]["name"] for message in announced(watcher)]
    assert names == ["Scribe lab", "Mic 1", "Mic 2"]
    wait_until(lambda: set(retained(broker.port)) == set(names), 5, "they are retained")
    listed = json.loads((node.storage / "homeassistant.json").read_text(encoding="utf-8"))
    assert set(listed["topics"]) == {message.topic for message in announced(watcher)}


def test_a_birth_brings_all_again_discovery_first(node: RunningNode, watcher: Watcher) -> None:
    del node
    states = {f"{TOPIC}/{name}" for name in STATES}
    wait_until(lambda: len(announced(watcher)) == 3, 5, "three devices")
    wait_until(lambda: states <= {m.topic for m in watcher.messages()}, 5, "every state")
    after, began = watcher.count(), time.monotonic()
    for _ in range(3):  # a burst counts as one birth
        watcher.publish("homeassistant/status", "online", qos=0)
    wait_until(lambda: states <= {m.topic for m in watcher.messages(after=after)}, 6, "them again")
    own = [m for m in watcher.messages(after=after) if m.topic != "homeassistant/status"]
    assert 1 <= own[0].time - began <= 4.5
    assert own[-1].time - own[0].time < 1
    assert [m.json()["device"]["name"] for m in own[:3]] == ["Scribe lab", "Mic 1", "Mic 2"]
    # Past the longest of the random delays: a second answer would have come.
    time.sleep(max(0.0, began + 5 - time.monotonic()))
    assert len(announced(watcher, after)) == 3


def test_a_mic_that_is_gone_leaves_and_one_with_a_speaker_stays(
    node: RunningNode, broker: Broker, watcher: Watcher, tmp_path: Path
) -> None:
    watcher.request(TOPIC, "mics/assign", {"assignments": [{"mic": 2, "speaker": "Bruno"}]})
    again(node, watcher, settings(tmp_path, broker.port, "tape.c"))

    def mics() -> set[str]:
        ids = [m["device"]["identifiers"][0] for m in retained(broker.port).values()]
        return {id_.rpartition("_")[2] for id_ in ids if "tape" in id_}

    wait_until(lambda: mics() == {"tapePb", "tapePc"}, 5, "one came, one is gone")


def test_changed_ids_and_prefix_leave_no_orphans(
    node: RunningNode, broker: Broker, watcher: Watcher, tmp_path: Path
) -> None:
    wait_until(lambda: len(retained(broker.port)) == 3, 5, "three devices")
    before = retained(broker.port)
    moved = {"enabled": True, "discovery_prefix": "ha"}
    again(node, watcher, settings(tmp_path, broker.port, *MICS, homeassistant=moved))
    wait_until(lambda: not retained(broker.port), 5, "the old topics are cleared")
    wait_until(lambda: retained(broker.port, "ha/device/+/config") == before, 5, "the same there")


def test_discovery_turned_off_takes_all_back(
    node: RunningNode, broker: Broker, watcher: Watcher, tmp_path: Path
) -> None:
    off = {"enabled": False}
    again(node, watcher, settings(tmp_path, broker.port, *MICS, homeassistant=off))
    wait_until(lambda: not retained(broker.port), 5, "nothing is announced")
    listed = node.storage / "homeassistant.json"
    wait_until(lambda: json.loads(listed.read_text())["topics"] == [], 5, "nothing is noted")


def test_what_could_not_be_taken_back_is_at_the_next_chance(
    node: RunningNode, broker: Broker, watcher: Watcher, tmp_path: Path
) -> None:
    """Discovery is turned off while the broker is away."""
    off = {"enabled": False}
    node.end()
    broker.stop()
    watcher.wait_disconnected()
    node.configure(settings(tmp_path, broker.port, *MICS, homeassistant=off))
    after = watcher.count()
    node.start().program.wait_output("waits on the disk", 30)
    broker.start()
    # The node may be back before the watcher, which then gets its `online` as retained.
    watcher.wait_for(lambda m: m.topic == f"{TOPIC}/status" and m.text == "online", 30, after)
    wait_until(lambda: not retained(broker.port), 10, "nothing is announced")


def test_a_switch_that_refuses_says_why(node: RunningNode, watcher: Watcher) -> None:
    del node
    watcher.publish(f"{TOPIC}/session/set", "ON")
    shown = watcher.wait_for(
        lambda m: m.topic == f"{TOPIC}/session" and m.json()["problem"] is not None
    ).json()
    assert shown["state"] == "idle"
    assert shown["message"] == shown["problem"]
    assert "speaker" in shown["problem"] or "assign" in shown["problem"]
    after = watcher.count()
    watcher.request(TOPIC, "mics/assign", {"assignments": [{"mic": 1, "speaker": "Alice"}]})
    watcher.wait_for(
        lambda m: m.topic == f"{TOPIC}/session" and m.json()["problem"] is None, after=after
    )
    watcher.publish(f"{TOPIC}/session/set", "ON")
    watcher.wait_for(
        lambda m: m.topic == f"{TOPIC}/session" and m.json()["state"] == "recording", after=after
    )
