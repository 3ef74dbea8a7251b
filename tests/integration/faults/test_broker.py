"""The broker away, frozen, forgetful, cutting: nothing is lost, and order is kept."""

from __future__ import annotations

import json
import time
from itertools import pairwise
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.model.sentences import SENTENCES
from tests.rig import eager_node
from tests.rig.broker import Broker
from tests.rig.mqtt import Watcher
from tests.rig.node import TOPIC, Room, RunningNode, configuration
from tests.rig.outbox import (
    come,
    fill_outbox,
    past_session,
    set_aside,
    wait_all,
    wait_waiting,
    waiting,
)
from tests.rig.patience import stretched
from tests.rig.processes import children, command_line, wait_until
from tests.rig.proxy import Proxy
from tests.rig.vmics import VirtualMic, VirtualMics

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EAGER = eager_node.__name__
HELLO, BONJOUR = SENTENCES[0], SENTENCES[31]


@pytest.fixture
def forgetful() -> Iterator[Broker]:
    """A broker that loses its sessions and retained messages at a restart."""
    with Broker(persistence=False) as broker:
        yield broker


@pytest.fixture
def desk() -> Iterator[VirtualMics]:
    with VirtualMics([VirtualMic("desk")]) as mics:
        yield mics


def test_no_broker_at_start(
    broker: Broker, watcher: Watcher, desk: VirtualMics, tmp_path: Path
) -> None:
    """A session resumes after a crash without a broker; all of it is published later."""
    proxy = Proxy(broker.port)
    session = {"resume": True}
    config = configuration(tmp_path, proxy.port, ["desk"], session=session)
    with RunningNode(tmp_path, config, desk.env) as node:
        node.program.wait_output("no broker listens there", 20)
        with proxy:
            room = Room(node.wait_online(watcher), desk, watcher)
            session_id = room.start(desk="Alice")
        node.program.kill_group()
        node.start()
        node.program.wait_output("no broker listens there", 20)
        wait_until(lambda: _capturing(node.pid), 10, "the session goes on")
        for number, sentence in enumerate((HELLO, BONJOUR), 1):
            room.say("desk", sentence)
            wait_waiting(node, number)
        after = watcher.count()
        with proxy:
            first, second = room.segments(session_id, 2, 70)
            assert [first["text"], second["text"]] == [HELLO.text, BONJOUR.text]
            assert [first["seq"], second["seq"]] == [1, 2]
            assert first["replayed"]
            assert second["replayed"]
            order = [message.topic for message in watcher.messages(after=after)]
            first_segment = order.index(f"{TOPIC}/mic/desk/segment")
            for state in ("status", "info", "session", "mics", "mic/desk/state"):
                assert order.index(f"{TOPIC}/{state}") < first_segment
            assert room.stop()["segments_total"] == 2


def _capturing(pid: int) -> bool:
    return any("capture_child" in command_line(child) for child in children(pid))


def test_a_broker_without_memory_learns_all_states_anew(
    forgetful: Broker, desk: VirtualMics, tmp_path: Path
) -> None:
    with (
        Proxy(forgetful.port) as proxy,
        Watcher(forgetful.port) as watcher,
        RunningNode(tmp_path, configuration(tmp_path, proxy.port, ["desk"]), desk.env) as node,
    ):
        room = Room(node.wait_online(watcher), desk, watcher)
        session_id = room.start(desk="Alice")
        proxy.close()
        forgetful.kill()
        watcher.wait_disconnected()
        room.say("desk", HELLO)
        forgetful.start()
        watcher.wait_connected(20)
        after = watcher.count()
        proxy.open()
        node.wait_online(watcher, after)
        (segment,) = room.segments(session_id, 1)
        assert segment["text"] == HELLO.text
        with Watcher(forgetful.port, topics=[f"{TOPIC}/#"]) as newcomer:
            for topic in ("info", "session", "mics", "mic/desk/state", "health"):
                assert newcomer.wait_for(f"{TOPIC}/{topic}").retain
            assert newcomer.wait_for(f"{TOPIC}/status").text == "online"
            assert newcomer.wait_for(f"{TOPIC}/session").json()["state"] == "recording"
        assert room.stop()["segments_total"] == 1


def test_a_frozen_broker(forgetful: Broker, desk: VirtualMics, tmp_path: Path) -> None:
    config = configuration(tmp_path, forgetful.port, ["desk"], mqtt={"keepalive_s": 5})
    with Watcher(forgetful.port) as watcher, RunningNode(tmp_path, config, desk.env) as node:
        room = Room(node.wait_online(watcher), desk, watcher)
        session_id = room.start(desk="Alice")
        forgetful.freeze()
        frozen = time.monotonic()
        room.say("desk", HELLO, BONJOUR)
        node.program.wait_output("waits on the disk", 20)
        assert time.monotonic() - frozen < stretched(12)
        wait_waiting(node, 2)
        forgetful.thaw()
        wait_until(lambda: len(by_id(room, session_id)) == 2, 70, "both segments")
        assert list(by_id(room, session_id).values()) == [HELLO.text, BONJOUR.text]
        assert room.stop()["segments_total"] == 2


def by_id(room: Room, session_id: str) -> dict[str, str]:
    """Return the texts that arrived, in order, each id once.

    A thawed broker may publish what reached it unacknowledged, and once more what was sent again:
    QoS 1 is "at least once", and the id is there to tell.
    """
    return {segment["id"]: segment["text"] for segment in room.segments(session_id, 1, 70)}


def test_a_frozen_broker_does_not_keep_a_node_from_ending(
    broker: Broker, watcher: Watcher, tmp_path: Path
) -> None:
    with RunningNode(tmp_path, configuration(tmp_path, broker.port, [])) as node:
        node.wait_online(watcher)
        broker.freeze()
        assert node.end(30) == 0


def test_no_more_than_ten_messages_are_on_their_way(
    broker: Broker, watcher: Watcher, tmp_path: Path
) -> None:
    numbers = range(1, 151)
    fill_outbox(tmp_path / "storage", numbers)
    with Proxy(broker.port, counts=lambda topic: topic.endswith("/segment")) as proxy:
        proxy.delay_s = 0.05
        with RunningNode(tmp_path, configuration(tmp_path, proxy.port, [])):
            wait_all(watcher, numbers, 30)
        assert proxy.most_unacknowledged == 10
        assert proxy.published.count(f"{TOPIC}/mic/desk/segment") == len(numbers)


def test_a_connection_that_is_cut_again_and_again(
    broker: Broker, watcher: Watcher, tmp_path: Path
) -> None:
    numbers = range(1, 201)
    fill_outbox(tmp_path / "storage", numbers)
    with Proxy(broker.port) as proxy:
        proxy.lifetime_s, proxy.delay_s = 0.3, 0.02
        config = configuration(tmp_path, proxy.port, [])
        with RunningNode(tmp_path, config, module=EAGER) as node:
            wait_until(lambda: proxy.accepted >= 10, 40, "it was cut again and again")
            proxy.lifetime_s = None
            wait_all(watcher, numbers, 30)
            assert all(body["replayed"] for body in come(watcher))
            wait_waiting(node, 0)
            assert not set_aside(node.storage)


def test_a_link_too_slow_for_its_cuts_condemns_no_message(
    broker: Broker, watcher: Watcher, tmp_path: Path
) -> None:
    """Every connection ends before anything is acknowledged: the message is not to blame."""
    fill_outbox(tmp_path / "storage", [1, 2, 3])
    with Proxy(broker.port) as proxy:
        proxy.lifetime_s, proxy.delay_s = 0.5, 0.2
        config = configuration(tmp_path, proxy.port, [])
        with RunningNode(tmp_path, config, module=EAGER) as node:
            wait_until(lambda: proxy.accepted >= 10, 40, "it was cut again and again")
            proxy.lifetime_s, proxy.delay_s = None, 0.0
            wait_all(watcher, [1, 2, 3], 30)
            assert not set_aside(node.storage)
            assert "message_refused" not in node.program.output()


def test_a_broker_that_cuts_each_connection_is_asked_less_and_less(
    broker: Broker, tmp_path: Path
) -> None:
    """It accepts the node every time, which is no reason to come back at once."""
    with Proxy(broker.port) as proxy:
        proxy.lifetime_s = 0.1
        config = configuration(tmp_path, proxy.port, [])
        with RunningNode(tmp_path, config, module=EAGER):
            wait_until(lambda: long_waits(proxy) >= 3, 40, "it waits long between connections")


def long_waits(proxy: Proxy) -> int:
    """Return how many of the connections came after more than half of the longest wait."""
    waits = (later - before for before, later in pairwise(proxy.accepted_at))
    return sum(wait > eager_node.RECONNECT_MAX_S / 2 for wait in waits)


@pytest.mark.parametrize("receive_maximum", [1, 2])
def test_a_broker_that_takes_few_messages_at_once(
    broker: Broker, watcher: Watcher, tmp_path: Path, receive_maximum: int
) -> None:
    """States, discovery, answers, the outbox and `offline` go through one window."""
    numbers = range(1, 31)
    fill_outbox(tmp_path / "storage", numbers)
    with Proxy(broker.port, receive_maximum=receive_maximum) as proxy:
        proxy.delay_s = 0.02
        home_assistant = {"enabled": True}
        config = configuration(tmp_path, proxy.port, [], homeassistant=home_assistant)
        with RunningNode(tmp_path, config) as node:
            wait_all(watcher, numbers, 30)
            for _ in range(5):
                watcher.publish(f"{TOPIC}/request/session/list")
                watcher.publish("homeassistant/status", "online")
            assert watcher.request(TOPIC, "health/check")["data"]["reconnects"] == 0
            watcher.wait_for("homeassistant/device/+/config")
            assert node.end() == 0
            watcher.wait_for(lambda m: m.topic == f"{TOPIC}/status" and m.text == "offline")
        assert (proxy.exceeded, proxy.accepted) == (0, 1)
        assert proxy.most_unacknowledged == receive_maximum


def test_a_broker_that_has_had_enough_for_now(
    broker: Broker, watcher: Watcher, tmp_path: Path
) -> None:
    """What it refuses for its quota is not refused for good: every kind is sent again."""
    fill_outbox(tmp_path / "storage", range(1, 6))
    with Proxy(broker.port, counts=lambda topic: topic.startswith(TOPIC)) as proxy:
        proxy.over_quota = 8
        with RunningNode(tmp_path, configuration(tmp_path, proxy.port, [])) as node:
            for topic in ("status", "info", "session", "mics", "health"):
                watcher.wait_for(f"{TOPIC}/{topic}", 30)
            wait_until(lambda: len(come(watcher)) == 5, 30, "all segments")
            wait_waiting(node, 0)
            proxy.over_quota = 1
            assert watcher.request(TOPIC, "health/check", timeout=30)["data"]["reconnects"] == 0
            assert not set_aside(node.storage)
            assert "refused" not in node.program.output()


def test_dropped_answers_are_said(broker: Broker, watcher: Watcher, tmp_path: Path) -> None:
    """Nothing is acknowledged for a while, and large answers are requested all the time."""
    storage = tmp_path / "storage"
    past_session(storage, segments=1000)
    asked = 60
    with Proxy(broker.port) as proxy:
        config = configuration(tmp_path, proxy.port, [])
        with RunningNode(tmp_path, config) as node:
            watcher.request(node.wait_online(watcher).topic, "health/check")
            proxy.lose_acknowledgements = True
            for _ in range(asked):
                body = json.dumps({"format": "json", "limit": 1000})
                watcher.publish(f"{TOPIC}/request/transcript/get", body)
            watcher.publish(f"{TOPIC}/session/set", "the last")
            node.program.wait_output("command_rejected", 40)
            proxy.lose_acknowledgements = False
            proxy.cut()
            told = watcher.wait_for(
                lambda m: (
                    m.topic == f"{TOPIC}/event" and m.json()["event_type"] == "messages_dropped"
                ),
                40,
            ).json()["message"]
            dropped = int(told.split()[0])
            assert 0 < dropped < asked
            answers = watcher.messages(f"{TOPIC}/response/transcript/get")
            # Those in flight when the connection was given up arrive twice.
            assert len(answers) >= asked - dropped
            assert watcher.request(TOPIC, "health/check")["status"] == "ok"
            assert node.program.output().count("messages_dropped") == 1


def test_acknowledgements_that_never_come(broker: Broker, watcher: Watcher, tmp_path: Path) -> None:
    """mosquitto drops them when its queue for a client is full; the connection stays up."""
    numbers = range(1, 31)
    fill_outbox(tmp_path / "storage", numbers)
    with Proxy(broker.port) as proxy:
        proxy.lose_acknowledgements = True
        with RunningNode(tmp_path, configuration(tmp_path, proxy.port, [])) as node:
            node.program.wait_output("it does not acknowledge messages any more", 30)
            assert waiting(node.storage) == len(numbers)
            proxy.lose_acknowledgements = False
            wait_all(watcher, numbers, 30)
            wait_waiting(node, 0)


def test_thousands_of_waiting_messages_take_no_memory(
    broker: Broker, watcher: Watcher, tmp_path: Path
) -> None:
    numbers = range(1, 3001)
    fill_outbox(tmp_path / "storage", numbers, filler=600)
    with RunningNode(tmp_path, configuration(tmp_path, broker.port, [])) as node:
        node.wait_online(watcher)
        began = time.monotonic()
        before = psutil.Process(node.pid).memory_info().rss
        wait_all(watcher, numbers, 60)
        grown_mb = (psutil.Process(node.pid).memory_info().rss - before) / 2**20
        assert grown_mb < 8, f"{grown_mb:.1f} MB"
        assert time.monotonic() - began < stretched(30)
        wait_waiting(node, 0)


def is_back(node: RunningNode, watcher: Watcher) -> bool:
    output = node.program.output()
    connected = output.count("connected to the broker") > output.count("connection lost")
    return connected and watcher.messages(f"{TOPIC}/status")[-1].text == "online"


def test_the_older_of_two_nodes_with_one_id_ends(
    broker: Broker, watcher: Watcher, desk: VirtualMics, tmp_path: Path
) -> None:
    """What the older one heard is kept, and is published when it gets an id of its own."""
    config = configuration(tmp_path, broker.port, ["desk"])
    other = tmp_path / "other"
    other.mkdir()
    with RunningNode(tmp_path, config, desk.env) as older:
        room = Room(older.wait_online(watcher), desk, watcher)
        session_id = room.start(desk="Alice")
        room.say("desk", HELLO)
        room.segments(session_id, 1)
        time.sleep(room.say("desk", BONJOUR) - 1)  # spoken, but not yet known to have ended
        with RunningNode(other, configuration(other, broker.port, [])) as newer:
            older.program.wait_output("another node has connected with this node's id", 20)
            assert older.program.wait(10) == 78
            # The last `online` may still be that of the older one, which the newer one cut off.
            wait_until(lambda: is_back(newer, watcher), 30, "the newer one is online")
            assert watcher.request(TOPIC, "session/list")["data"]["total"] == 0
            assert newer.end() == 0
        after = watcher.count()
        older.start().wait_online(watcher, after)
        texts = [segment["text"] for segment in room.segments(session_id, 2)]
        assert texts == [HELLO.text, BONJOUR.text]
