"""Nothing leaks by the way, a mute is a mute, and recording is always shown."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.model.sentences import SENTENCES
from tests.rig.broker import Broker
from tests.rig.disks import SmallDisk
from tests.rig.mqtt import Watcher
from tests.rig.node import TOPIC, Room, RunningNode, configuration
from tests.rig.processes import wait_until
from tests.rig.vmics import VirtualMic, VirtualMics

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.rig.mqtt import Message

SECRET, LONG, OTHER = SENTENCES[13], SENTENCES[6], SENTENCES[31]
PASSWORD = "correct-horse-battery"  # noqa: S105  # the secret that is looked for
SPEAKER = "Zénobie Quatrefages"


@pytest.fixture(scope="module")
def mics() -> Iterator[VirtualMics]:
    with VirtualMics([VirtualMic("desk"), VirtualMic("door")]) as virtual:
        yield virtual


@pytest.fixture
def lab(broker: Broker, watcher: Watcher, mics: VirtualMics, tmp_path: Path) -> Iterator[Room]:
    storage = {"path": str(tmp_path / "storage"), "keep_audio": True}
    config = configuration(tmp_path, broker.port, ["desk", "door"], storage=storage)
    with RunningNode(tmp_path, config, mics.env) as node:
        yield Room(node.wait_online(watcher), mics, watcher)


def retained(room: Room) -> dict[str, Message]:
    """Return everything the broker tells a new client about the node."""
    with Watcher(room.watcher._port) as newcomer:
        newcomer.publish("marker")
        newcomer.wait_for("marker")
        return {m.topic.removeprefix(f"{TOPIC}/"): m for m in newcomer.messages() if m.retain}


def test_neither_secrets_nor_words_get_out_by_the_way(mics: VirtualMics, tmp_path: Path) -> None:
    """In the log, `T/info`, arguments and environments of all processes, and to other users.

    The owner has made the storage folder readable to everybody.
    """
    storage = tmp_path / "storage"
    storage.mkdir(mode=0o755)
    password = tmp_path / "password"
    password.write_text(PASSWORD)
    login = {"username": "node", "password_file": str(password)}
    config = configuration(tmp_path, 1, ["desk"], mqtt=login, storage={"keep_audio": True})
    seen = ""
    with Broker(users={"node": PASSWORD, "test": "pw"}) as broker:
        config["mqtt"]["port"] = broker.port
        with (
            Watcher(broker.port, username="test", password="pw") as watcher,  # noqa: S106
            RunningNode(tmp_path, config, mics.env) as node,
        ):
            room = Room(node.wait_online(watcher), mics, watcher)
            session = room.start(desk=SPEAKER)
            room.say("desk", SECRET)
            room.segments(session, 1)
            seen += processes(node.pid)
            watcher.publish(f"{TOPIC}/request/mics/assign", f'{{"speaker": "{SPEAKER}"}}')
            watcher.publish(f"{TOPIC}/request/nonsense", SPEAKER)
            room.stop()
            room.do("transcript/save")
            room.do("transcript/get")
            seen += watcher.wait_for(f"{TOPIC}/info").text
            seen += "".join(m.text for m in watcher.messages(f"{TOPIC}/event"))
            assert node.end() == 0
            seen += node.program.output()
        assert PASSWORD in password.read_text()
        assert "session" in seen
        for secret in (PASSWORD, SECRET.text, SPEAKER, *SPEAKER.split()):
            assert secret not in seen
    for file in storage.rglob("*"):
        assert not stat.S_IMODE(file.stat().st_mode) & 0o077, file


def processes(pid: int) -> str:
    """Return arguments and environment of a process and of all that it has started."""
    root = psutil.Process(pid)
    everyone = [root, *root.children(recursive=True)]
    assert len(everyone) > 1, "the capture process"
    return "".join(f"{p.cmdline()} {p.environ()}" for p in everyone)


def test_recording_is_shown_for_as_long_as_there_is_one(lab: Room) -> None:
    """Through a stop, a kill and a stop of the service, as a new client finds it retained."""
    wait_until(lambda: state(lab) == ("online", "idle", [False, False]), 5, "idle")
    lab.start(desk="Alice")
    wait_until(lambda: state(lab) == ("online", "recording", [True, False]), 5, "recording")
    lab.stop()
    wait_until(lambda: state(lab) == ("online", "idle", [False, False]), 5, "idle")
    lab.start(desk="Alice")
    wait_until(lambda: state(lab) == ("online", "recording", [True, False]), 5, "recording")
    lab.node.program.kill_group()
    # From the last will, which says that the rest is old.
    wait_until(lambda: state(lab) == ("offline", "recording", [True, False]), 5, "offline")
    after = lab.watcher.count()
    lab.node.start().wait_online(lab.watcher, after)
    wait_until(lambda: state(lab) == ("online", "idle", [False, False]), 10, "idle again")
    states = [m.json()["state"] for m in lab.watcher.messages(f"{TOPIC}/session", after)]
    assert "recording" not in states
    lab.start(desk="Alice", door="Bruno")
    wait_until(lambda: state(lab) == ("online", "recording", [True, True]), 5, "both")
    assert lab.node.end() == 0
    assert state(lab) == ("offline", "idle", [False, False])


def state(room: Room) -> tuple[str, str, list[bool]] | None:
    """Return status, session state and the mics' `recording`; None until all are published."""
    found = retained(room)
    topics = ["mic/desk/state", "mic/door/state"]
    if not {"status", "session", *topics} <= set(found):
        return None
    mics = [found[topic].json()["recording"] for topic in topics]
    return found["status"].text, found["session"].json()["state"], mics


def test_a_mute_in_mid_sentence_keeps_nothing_behind_it(lab: Room) -> None:
    """What was said before stays, and nothing said while muted is ever written."""
    lab.start(desk="Alice", door="Bruno")
    length_s = lab.say("desk", LONG, pause_s=0)
    spool, kept = lab.node.storage / "spool", lab.node.storage / "audio"
    wait_until(lambda: size(spool) > 0.8 * 32000, 10, "the sentence is being heard")
    mute(lab, "desk", "OFF")
    muted = size(spool) + size(kept)
    lab.say("door", OTHER)
    wait_until(lambda: lab.watcher.messages(f"{TOPIC}/mic/door/segment"), 20, "the other is heard")
    lab.stop()
    before = [file for file in kept.iterdir() if ".desk." in file.name]
    assert len(before) <= 1
    assert sum(file.stat().st_size for file in before) <= muted < (length_s - 0.3) * 32000
    texts = [m.json()["text"] for m in lab.watcher.messages(f"{TOPIC}/mic/desk/segment")]
    assert LONG.text.split()[-1] not in " ".join(texts)


def mute(room: Room, mic: str, switch: str) -> None:
    after = room.watcher.count()
    room.watcher.publish(f"{TOPIC}/mic/{mic}/enabled/set", switch)
    room.watcher.wait_for(
        lambda m: m.topic == f"{TOPIC}/mic/{mic}/state" and m.json()["enabled"] is (switch == "ON"),
        after=after,
    )


def size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("*.s16le"))


def test_a_mute_does_not_wait_for_a_full_disk(
    broker: Broker, watcher: Watcher, mics: VirtualMics, tmp_path: Path
) -> None:
    with SmallDisk(tmp_path / "disk", 160) as disk:
        storage = {"path": str(disk.folder / "storage")}
        config = configuration(tmp_path, broker.port, ["desk", "door"], storage=storage)
        with RunningNode(tmp_path, config, mics.env) as node:
            room = Room(node.wait_online(watcher), mics, watcher)
            session = room.start(desk="Alice", door="Bruno")
            wait_until(lambda: _is_full(room, disk), 20, "the disk refuses")
            after = watcher.count()
            mute(room, "desk", "OFF")
            room.say("desk", SECRET)
            room.say("door", OTHER)
            disk.make_room()
            segments = room.segments(session, 1)
            assert room.stop()["segments_total"] == 1
            assert [segment["mic"] for segment in segments] == ["door"]
            rejected = watcher.wait_for(
                lambda m: m.topic == f"{TOPIC}/event" and "desk is off" in m.json()["message"],
                after=after,
            )
            assert "may not be after a restart" in rejected.json()["message"]


def _is_full(room: Room, disk: SmallDisk) -> bool:
    """Fill whatever has become free, until the node's database is refused."""
    disk.fill()
    answer = room.ask("mics/assign", assignments=[{"mic": "door", "speaker": "Bruno"}])
    return bool(answer["status"] == "error")
