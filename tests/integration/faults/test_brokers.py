"""The same node on different brokers: mosquitto, a strict and distant one, and RabbitMQ."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from paho.mqtt.enums import MQTTProtocolVersion

from tests.model.sentences import SENTENCES
from tests.rig.broker import Broker
from tests.rig.mqtt import Watcher
from tests.rig.node import TOPIC, Room, RunningNode, configuration
from tests.rig.outbox import fill_outbox, wait_all, wait_waiting
from tests.rig.processes import wait_until
from tests.rig.proxy import Proxy
from tests.rig.vmics import VirtualMic, VirtualMics

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.rig.rabbitmq import RabbitMQ

HELLO, BONJOUR = SENTENCES[0], SENTENCES[31]
MICS = ("desk", "wall", "door", "window")
STATES = ("status", "info", "session", "mics", "health", *(f"mic/{mic}/state" for mic in MICS))
FAR_S = 0.05


@dataclass
class Place:
    """A broker: for the node through a proxy, and for a client that watches it."""

    proxy: Proxy
    port: int
    protocol: str

    @contextmanager
    def watcher(self, *topics: str) -> Iterator[Watcher]:
        version = (
            MQTTProtocolVersion.MQTTv5 if self.protocol == "5" else MQTTProtocolVersion.MQTTv311
        )
        with Watcher(self.port, topics=topics or ("#",), protocol=version) as watcher:
            yield watcher

    def configuration(self, folder: Path, mics: tuple[str, ...], **sections: Any) -> dict[str, Any]:
        mqtt = {"protocol": self.protocol}
        return configuration(folder, self.proxy.port, mics, mqtt=mqtt, **sections)


@pytest.fixture(params=["mosquitto", "strict", "rabbitmq"])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    if request.param == "rabbitmq":
        rabbitmq: RabbitMQ = request.getfixturevalue("rabbitmq")
        with Proxy(rabbitmq.port) as proxy:
            yield Place(proxy, rabbitmq.port, "3.1.1")
        return
    with Broker() as broker:
        strict = 10 if request.param == "strict" else None
        with Proxy(broker.port, receive_maximum=strict) as proxy:
            proxy.delay_s = FAR_S if strict else 0.0
            yield Place(proxy, broker.port, "5")
    assert not proxy.exceeded


@pytest.fixture
def mics() -> Iterator[VirtualMics]:
    with VirtualMics([VirtualMic(mic) for mic in MICS]) as running:
        yield running


def test_a_meeting(place: Place, mics: VirtualMics, tmp_path: Path) -> None:
    """All states at once on connect, a session with four microphones, a mute, a cut, an end."""
    config = place.configuration(tmp_path, MICS, homeassistant={"enabled": True})
    with place.watcher() as watcher, RunningNode(tmp_path, config, mics.env) as node:
        room = Room(node.wait_online(watcher), mics, watcher)
        for topic in STATES:
            watcher.wait_for(f"{TOPIC}/{topic}")
        wait_until(lambda: len(watcher.messages("homeassistant/device/+/config")) == 5, 10, "all")
        session_id = room.start(desk="Alice", wall="Bruno", door="Chloé", window="Denis")
        room.say_to_the_end("desk", HELLO)
        (segment,) = room.segments(session_id, 1)
        assert (segment["text"], segment["speaker"]) == (HELLO.text, "Alice")
        watcher.publish(f"{TOPIC}/mic/desk/enabled/set", "OFF")
        watcher.wait_for(
            lambda m: m.topic == f"{TOPIC}/mic/desk/state" and not m.json()["enabled"], 10
        )
        room.say_to_the_end("desk", HELLO)
        room.say_to_the_end("wall", BONJOUR)
        texts = [segment["text"] for segment in room.segments(session_id, 2)]
        assert texts == [HELLO.text, BONJOUR.text]
        after = watcher.count()
        place.proxy.cut()
        node.wait_online(watcher, after)
        for topic in STATES:
            watcher.wait_for(f"{TOPIC}/{topic}", after=after)
        assert room.stop()["segments_total"] == 2
        final = watcher.wait_for(f"{TOPIC}/transcript/final", 20).json()
        assert [line["speaker"] for line in final["speakers"]] == ["Alice", "Bruno"]
        with place.watcher(*(f"{TOPIC}/{topic}" for topic in STATES)) as newcomer:
            for topic in STATES:  # one by one: RabbitMQ has nothing retained for wildcards
                assert newcomer.wait_for(f"{TOPIC}/{topic}").retain
        assert node.end() == 0
        watcher.wait_for(lambda m: m.topic == f"{TOPIC}/status" and m.text == "offline")
        assert "refused" not in node.program.output()
        assert place.proxy.accepted == 2


def test_an_outbox_full_of_messages(place: Place, tmp_path: Path) -> None:
    numbers = range(1, 101)
    fill_outbox(tmp_path / "storage", numbers)
    config = place.configuration(tmp_path, ())
    with place.watcher() as watcher, RunningNode(tmp_path, config) as node:
        wait_all(watcher, numbers, 60)
        wait_waiting(node, 0)
        assert place.proxy.accepted == 1
        assert place.proxy.most_unacknowledged <= 10
