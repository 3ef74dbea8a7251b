"""The broker away, frozen, forgetful, refusing, cutting: nothing is lost, and order is kept."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import time
from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from node.adapters.store import Store
from node.core.model import Segment, Session, started_at_of
from tests.model.sentences import SENTENCES
from tests.rig.broker import Broker
from tests.rig.mqtt import Watcher
from tests.rig.node import TOPIC, Room, RunningNode, configuration
from tests.rig.processes import wait_until
from tests.rig.proxy import Proxy
from tests.rig.vmics import VirtualMic, VirtualMics

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

HELLO, BONJOUR = SENTENCES[0], SENTENCES[31]
SEGMENTS = f"{TOPIC}/mic/+/segment"
OLD_SESSION = "20260101T100000Z-00ff"


def fill_outbox(
    storage: Path, numbers: Sequence[int], *, mic: str = "desk", filler: int = 0
) -> None:
    """Put messages of an earlier run into the outbox of a node that is not running."""
    store = Store(storage, keep_audio=False)
    assert store.open() is None
    store.close()
    rows = [
        (
            OLD_SESSION,
            f"{TOPIC}/mic/{mic}/segment",
            json.dumps({"seq": n, "session_id": OLD_SESSION, "replayed": False, "x": "y" * filler}),
        )
        for n in numbers
    ]
    with closing(sqlite3.connect(storage / "scribe.db")) as db, db:
        db.executemany("INSERT INTO outbox (session_id, topic, payload) VALUES (?, ?, ?)", rows)


def waiting(storage: Path) -> int:
    """Messages in the outbox that have not been set aside."""
    with closing(sqlite3.connect(f"file:{storage}/scribe.db?mode=ro", uri=True)) as db:
        return int(db.execute("SELECT count(*) FROM outbox WHERE refused IS NULL").fetchone()[0])


def wait_waiting(node: RunningNode, count: int) -> None:
    wait_until(lambda: waiting(node.storage) == count, 20, f"{count} messages wait on the disk")


def set_aside(storage: Path) -> list[str]:
    with closing(sqlite3.connect(f"file:{storage}/scribe.db?mode=ro", uri=True)) as db:
        query = "SELECT refused FROM outbox WHERE refused IS NOT NULL ORDER BY id"
        return [row[0] for row in db.execute(query)]


def come(watcher: Watcher) -> list[dict[str, Any]]:
    """Segments as a subscriber has them: repeats dropped, in the order of their first arrival."""
    bodies = [message.json() for message in watcher.messages(SEGMENTS)]
    return list({(body["session_id"], body["seq"]): body for body in bodies}.values())


def wait_all(watcher: Watcher, numbers: Sequence[int], timeout: float) -> None:
    """Wait for just these `seq`, and check that they came in order."""
    wait_until(lambda: len(come(watcher)) >= len(numbers), timeout, f"{len(numbers)} segments")
    assert [body["seq"] for body in come(watcher)] == list(numbers)


def event(watcher: Watcher, event_type: str, timeout: float = 30) -> str:
    found = watcher.wait_for(
        lambda m: m.topic == f"{TOPIC}/event" and m.json()["event_type"] == event_type, timeout
    )
    message: str = found.json()["message"]
    return message


@pytest.fixture
def forgetful() -> Iterator[Broker]:
    """A broker that a restart leaves without its sessions and its retained messages."""
    with Broker(persistence=False) as broker:
        yield broker


@pytest.fixture
def desk() -> Iterator[VirtualMics]:
    with VirtualMics([VirtualMic("desk")]) as mics:
        yield mics


def test_no_broker_at_start(
    broker: Broker, watcher: Watcher, desk: VirtualMics, tmp_path: Path
) -> None:
    """A session goes on after a crash while there is no broker; all of it is said later."""
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
    return any("capture_child" in " ".join(c.cmdline()) for c in psutil.Process(pid).children())


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
        assert time.monotonic() - frozen < 12
        wait_waiting(node, 2)
        forgetful.thaw()
        texts = [segment["text"] for segment in room.segments(session_id, 2, 70)]
        assert texts == [HELLO.text, BONJOUR.text]
        assert room.stop()["segments_total"] == 2


def test_a_frozen_broker_does_not_keep_a_node_from_ending(
    broker: Broker, watcher: Watcher, tmp_path: Path
) -> None:
    with RunningNode(tmp_path, configuration(tmp_path, broker.port, [])) as node:
        node.wait_online(watcher)
        broker.freeze()
        assert node.end(30) == 0


def test_a_wrong_password_is_said_once(tmp_path: Path) -> None:
    with Broker(users={"node": "right", "watcher": "secret"}) as broker:
        (tmp_path / "password").write_text("wrong")
        (tmp_path / "password").chmod(0o600)
        mqtt = {"username": "node", "password_file": str(tmp_path / "password")}
        config = configuration(tmp_path, broker.port, [], mqtt=mqtt)
        with RunningNode(tmp_path, config) as node:
            node.program.wait_output("refuses the connection: Not authorized", 20)
            wait_until(lambda: broker.log().count("not authorised") >= 3, 30, "it has tried again")
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
        with RunningNode(tmp_path, configuration(tmp_path, proxy.port, [])) as node:
            wait_until(lambda: proxy.accepted >= 4, 30, "it was cut again and again")
            proxy.lifetime_s = None
            wait_all(watcher, numbers, 30)
            assert all(body["replayed"] for body in come(watcher))
            wait_waiting(node, 0)
            assert not set_aside(node.storage)


def test_a_link_too_slow_for_its_cuts_condemns_no_message(
    broker: Broker, watcher: Watcher, tmp_path: Path
) -> None:
    """Every connection ends before anything is acknowledged: that says nothing of the message."""
    fill_outbox(tmp_path / "storage", [1, 2, 3])
    with Proxy(broker.port) as proxy:
        proxy.lifetime_s, proxy.delay_s = 0.5, 0.2
        with RunningNode(tmp_path, configuration(tmp_path, proxy.port, [])) as node:
            wait_until(lambda: proxy.accepted >= 7, 40, "it was cut again and again")
            proxy.lifetime_s, proxy.delay_s = None, 0.0
            wait_all(watcher, [1, 2, 3], 30)
            assert not set_aside(node.storage)
            assert "message_refused" not in node.program.output()


def test_a_silent_link_is_given_up_and_made_anew(
    broker: Broker, watcher: Watcher, tmp_path: Path
) -> None:
    """Packets vanish while the connection seems to stand, as behind a dead router."""
    with Proxy(broker.port) as proxy:
        config = configuration(tmp_path, proxy.port, [], mqtt={"keepalive_s": 5})
        with RunningNode(tmp_path, config) as node:
            node.wait_online(watcher)
            proxy.swallow = True
            node.program.wait_output("waits on the disk", 15)
            after = watcher.count()
            proxy.swallow = False
            proxy.cut()
            node.wait_online(watcher, after)


def test_acknowledgements_that_never_come(broker: Broker, watcher: Watcher, tmp_path: Path) -> None:
    """mosquitto drops them when its queue for a client is full; the connection stands on."""
    numbers = range(1, 31)
    fill_outbox(tmp_path / "storage", numbers)
    with Proxy(broker.port) as proxy:
        proxy.lose_acknowledgements = True
        with RunningNode(tmp_path, configuration(tmp_path, proxy.port, [])) as node:
            node.program.wait_output("it does not acknowledge any more", 30)
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
        assert time.monotonic() - began < 30
        wait_waiting(node, 0)


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
        time.sleep(room.say("desk", BONJOUR) - 1)
        with RunningNode(other, configuration(other, broker.port, [])) as newer:
            older.program.wait_output("another node has connected under this node's id", 20)
            after = watcher.count()
            assert older.program.wait(10) == 78
            newer.wait_online(watcher, after)
            assert watcher.request(TOPIC, "session/list")["data"]["total"] == 0
            assert newer.end() == 0
        after = watcher.count()
        older.start().wait_online(watcher, after)
        texts = [segment["text"] for segment in room.segments(session_id, 2)]
        assert texts == [HELLO.text, BONJOUR.text]
