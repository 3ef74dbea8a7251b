"""The broker refuses a password, a topic, a size: it is reported, and blocks nothing else."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from paho.mqtt.client import MQTTv311

from tests.model.sentences import ENGLISH
from tests.rig import eager_node
from tests.rig.access import ruled_broker, rules
from tests.rig.broker import Broker
from tests.rig.mqtt import Watcher
from tests.rig.node import TOPIC, Room, RunningNode, configuration
from tests.rig.outbox import fill_outbox, past_session, set_aside, wait_all, wait_waiting
from tests.rig.processes import wait_until
from tests.rig.vmics import VirtualMic, VirtualMics

if TYPE_CHECKING:
    from pathlib import Path

    from tests.rig.rabbitmq import RabbitMQ

EAGER = eager_node.__name__


def event(watcher: Watcher, event_type: str, timeout: float = 30, number: int = 0) -> str:
    """Return the message of the first event of a type, or of a later one."""

    def come() -> list[str]:
        events = [message.json() for message in watcher.messages(f"{TOPIC}/event")]
        return [e["message"] for e in events if e["event_type"] == event_type][number:]

    return wait_until(come, timeout, f"event {event_type}")[0]


def login(folder: Path, user: str) -> dict[str, Any]:
    """Return how `user` connects to the RabbitMQ of these tests."""
    password = folder / "password"
    password.write_text(user)
    password.chmod(0o600)
    return {"username": user, "password_file": str(password), "protocol": "3.1.1"}


def test_a_wrong_password_is_said_once(tmp_path: Path) -> None:
    with Broker(users={"node": "right", "watcher": "secret"}) as broker:
        (tmp_path / "password").write_text("wrong")
        (tmp_path / "password").chmod(0o600)
        mqtt = {"username": "node", "password_file": str(tmp_path / "password")}
        config = configuration(tmp_path, broker.port, [], mqtt=mqtt)
        with RunningNode(tmp_path, config) as node:
            node.program.wait_output("it does not accept user node with this password", 20)
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
            wait_waiting(node, 0)
            assert len(set_aside(node.storage)) == 2
            told = sorted(event(watcher, "message_refused", number=number) for number in (0, 1))
            assert told[0].startswith(f"{TOPIC}/health: the broker refuses it: Not authorized")
            assert told[1].startswith(f"{TOPIC}/mic/secret/segment: a message is set aside: ")
            assert node.program.output().count("Not authorized") == 2


NO_GROUP = rules(
    {"acltype": "subscribePattern", "topic": "scribe/all/#", "allow": False},
    {"acltype": "subscribePattern", "topic": "#", "allow": True},
)
"""Nobody may subscribe below `scribe/all`."""


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_refused_subscription_is_said(protocol: str, tmp_path: Path) -> None:
    with ruled_broker(tmp_path, NO_GROUP) as broker, Watcher(broker.port) as watcher:
        config = configuration(tmp_path, broker.port, [], mqtt={"protocol": protocol})
        with RunningNode(tmp_path, config) as node:
            told = [event(watcher, "subscription_refused", number=number) for number in (0, 1)]
            assert [line.partition(":")[0] for line in told] == [
                "scribe/all/request/#",
                "scribe/all/session/set",
            ]
            assert "the node does not receive what is sent there" in told[0]
            assert watcher.request(TOPIC, "health/check")["data"]["reconnects"] == 0
            assert node.program.output().count("subscription_refused") == 2


@pytest.mark.parametrize(
    ("user", "event_type", "topic"),
    [
        ("no-health", "message_refused", f"{TOPIC}/health"),
        ("no-segments", "message_refused", f"{TOPIC}/mic/secret/segment"),
        ("no-group", "subscription_refused", "scribe/all/request/#"),
    ],
)
def test_what_the_broker_ends_connections_for_is_left_out(
    rabbitmq: RabbitMQ, tmp_path: Path, user: str, event_type: str, topic: str
) -> None:
    fill_outbox(tmp_path / "storage", [1, 2])
    fill_outbox(tmp_path / "storage", [90, 91], mic="secret")
    fill_outbox(tmp_path / "storage", [3, 4])
    numbers = [1, 2, 3, 4] if user == "no-segments" else [1, 2, 90, 91, 3, 4]
    config = configuration(tmp_path, rabbitmq.port, [], mqtt=login(tmp_path, user))
    with (
        Watcher(rabbitmq.port, protocol=MQTTv311) as watcher,
        RunningNode(tmp_path, config, module=EAGER) as node,
    ):
        told = event(watcher, event_type, 60)
        assert told.startswith(f"{topic}: ")
        assert "the broker disconnects whenever" in told
        assert "access rules" in told
        wait_all(watcher, numbers, 60)
        wait_waiting(node, 0)
        assert len(set_aside(node.storage)) == 6 - len(numbers)
        settled = watcher.request(TOPIC, "health/check", timeout=30)["data"]["reconnects"]
        assert watcher.request(TOPIC, "session/list")["status"] == "ok"
        assert watcher.request(TOPIC, "health/check")["data"]["reconnects"] == settled
        assert node.program.output().count("the broker disconnects whenever") == (
            2 if "group" in user else 1
        )


def test_a_broker_that_forbids_events_gets_none(rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    """The fault is then only in the log; everything else goes on."""
    config = configuration(tmp_path, rabbitmq.port, [], mqtt=login(tmp_path, "no-events"))
    with (
        Watcher(rabbitmq.port, protocol=MQTTv311) as watcher,
        RunningNode(tmp_path, config, module=EAGER) as node,
    ):
        node.wait_online(watcher)
        watcher.publish(f"{TOPIC}/session/set", "what?")
        node.program.wait_output(f"message_refused: {TOPIC}/event: the broker disconnects", 60)
        node.wait_online(watcher, watcher.count())
        watcher.publish(f"{TOPIC}/session/set", "what?")
        answer = watcher.request(TOPIC, "health/check")
        watcher.publish(f"{TOPIC}/session/set", "what?")
        again = watcher.request(TOPIC, "health/check")
        assert again["data"]["reconnects"] == answer["data"]["reconnects"]
        assert not watcher.messages(f"{TOPIC}/event")


def test_a_broker_that_forbids_all_is_said_to(rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    config = configuration(tmp_path, rabbitmq.port, [], mqtt=login(tmp_path, "nothing"))
    with RunningNode(tmp_path, config, module=EAGER) as node:
        node.program.wait_output(f"it may not allow this node most of {TOPIC}/#", 60)
        assert node.end() == 0


def test_partial_texts_that_the_broker_forbids_are_left_out(
    rabbitmq: RabbitMQ, tmp_path: Path
) -> None:
    """They go with QoS 0, which nobody acknowledges. The segments arrive all the same."""
    transcription = {"partials": True}
    with VirtualMics([VirtualMic("desk")]) as mics:
        config = configuration(
            tmp_path,
            rabbitmq.port,
            ["desk"],
            mqtt=login(tmp_path, "no-partials"),
            transcription=transcription,
        )
        with (
            Watcher(rabbitmq.port, protocol=MQTTv311) as watcher,
            RunningNode(tmp_path, config, mics.env, EAGER) as node,
        ):
            room = Room(node.wait_online(watcher), mics, watcher)
            session_id = room.start(desk="Alice")
            said = 0
            while "message_refused" not in node.program.output():
                assert said < 10
                room.say_to_the_end("desk", *ENGLISH[5:8], pause_s=0.25)
                said += 1
            assert f"{TOPIC}/mic/desk/partial: " in event(watcher, "message_refused")
            reconnects = room.do("health/check")["reconnects"]
            room.say_to_the_end("desk", ENGLISH[0])
            assert room.segments(session_id, said + 1)[-1]["text"] == ENGLISH[0].text
            assert room.do("health/check")["reconnects"] == reconnects


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
    past_session(tmp_path / "storage", segments=500)
    with Broker(extra="max_packet_size 20000") as broker, Watcher(broker.port) as watcher:
        config = configuration(tmp_path, broker.port, [], mqtt={"protocol": protocol})
        with RunningNode(tmp_path, config) as node:
            wait_all(watcher, [1, 2, 3], 60)
            assert f"{TOPIC}/transcript/last" in event(watcher, "message_refused")
            assert not set_aside(node.storage)
            assert watcher.request(TOPIC, "session/list")["data"]["total"] == 1
