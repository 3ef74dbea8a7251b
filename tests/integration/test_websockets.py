"""MQTT over WebSockets, on RabbitMQ: Debian's mosquitto is built without them."""

from __future__ import annotations

import queue
from typing import TYPE_CHECKING, Any

import pytest
from paho.mqtt.enums import MQTTProtocolVersion

from node.adapters.broker import Broker, Connected, Disconnected, Will
from node.config import load_config
from node.service.settings import broker_settings
from tests.model.sentences import SENTENCES
from tests.rig.commands import run, write
from tests.rig.mqtt import Watcher
from tests.rig.node import Room, RunningNode, configuration
from tests.rig.rabbitmq import WEB_PATH
from tests.rig.vmics import VirtualMic, VirtualMics

if TYPE_CHECKING:
    from pathlib import Path

    from node.adapters.broker import BrokerItem
    from tests.rig.rabbitmq import RabbitMQ

HELLO = SENTENCES[0]


def web(
    folder: Path, rabbitmq: RabbitMQ, *mics: str, tls: bool = False, **mqtt: Any
) -> dict[str, Any]:
    keys: dict[str, Any] = {
        "protocol": "3.1.1",
        "transport": "websockets",
        "websocket_path": WEB_PATH,
    }
    if tls:
        keys["tls"] = {"enabled": True, "ca_file": str(rabbitmq.ca_file)}
    port = rabbitmq.web_tls_port if tls else rabbitmq.web_port
    return configuration(folder, port, mics, mqtt=keys | mqtt)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_a_session_over_websockets(rabbitmq: RabbitMQ, tmp_path: Path, *, tls: bool) -> None:
    config = web(tmp_path, rabbitmq, "desk", tls=tls)
    with (
        VirtualMics([VirtualMic("desk")]) as mics,
        Watcher(rabbitmq.port, protocol=MQTTProtocolVersion.MQTTv311) as watcher,
        RunningNode(tmp_path, config, mics.env) as node,
    ):
        room = Room(node.wait_online(watcher), mics, watcher)
        session = room.start(desk="Alice")
        room.say("desk", HELLO)
        (segment,) = room.segments(session, 1)
        assert segment["text"] == HELLO.text
        assert room.stop()["segments_total"] == 1
        assert node.end() == 0
    done = run("check", "--config", write(tmp_path, config))
    way = "with TLS" if tls else "without TLS"
    assert f"MQTT 3.1.1 over WebSockets, {way}, anonymous" in " ".join(done.stdout.split())


def test_a_connection_that_is_cut_is_made_again(rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    config = load_config(write(tmp_path, web(tmp_path, rabbitmq, tls=True)))
    items: queue.SimpleQueue[BrokerItem] = queue.SimpleQueue()
    broker = Broker(broker_settings(config), Will("scribe/lab/status"), items.put, str)
    broker.start()
    try:
        assert isinstance(items.get(timeout=10), Connected)
        broker.renew()
        assert items.get(timeout=10) == Disconnected("connection lost")
        assert isinstance(items.get(timeout=10), Connected)
    finally:
        broker.stop()


@pytest.mark.parametrize(
    ("mqtt", "advice"),
    [
        ({"websocket_path": "/mqtt"}, "it opens no WebSocket at /mqtt: correct mqtt.port"),
        ({"port": "port"}, "if it is a port for plain MQTT, set mqtt.transport: tcp"),
        ({"port": "web_tls_port"}, "this port may need TLS (mqtt.tls.enabled: true)"),
        ({"transport": "tcp"}, "or WebSockets (mqtt.transport: websockets)"),
    ],
    ids=["path", "plain-mqtt", "tls", "plain-client"],
)
def test_check_says_what_is_wrong(
    rabbitmq: RabbitMQ, tmp_path: Path, mqtt: dict[str, Any], advice: str
) -> None:
    changed = {k: getattr(rabbitmq, v) if k == "port" else v for k, v in mqtt.items()}
    done = run("check", "--config", write(tmp_path, web(tmp_path, rabbitmq, **changed)))
    assert advice in " ".join(done.stdout.split())
    assert done.returncode == 1
