"""The disk full, refusing or read-only: recording goes on, all is kept, and it recovers."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from tests.model.sentences import SENTENCES
from tests.rig.disks import MB, BreakingDisk, SmallDisk
from tests.rig.node import TOPIC, Room, RunningNode, configuration, spoken
from tests.rig.vmics import VirtualMic, VirtualMics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.rig.broker import Broker
    from tests.rig.mqtt import Watcher

MICS = ("desk", "door")
HELLO, BONJOUR, MEETING, COFFEE = SENTENCES[0], SENTENCES[31], SENTENCES[10], SENTENCES[13]
STRANGER = "20260101T100000Z-00ff.00001.0.desk.s16le"


@pytest.fixture(scope="module")
def mics() -> Iterator[VirtualMics]:
    with VirtualMics([VirtualMic(name) for name in MICS]) as virtual:
        yield virtual


class Place:
    """One test's node, with its storage on the test's disk."""

    def __init__(self, folder: Path, broker: Broker, mics: VirtualMics, watcher: Watcher) -> None:
        self.folder = folder
        self._broker = broker
        self._mics = mics
        self._watcher = watcher

    def node(self, storage: Path, **settings: Any) -> RunningNode:
        storage_section = {"path": str(storage), **settings}
        config = configuration(
            self.folder,
            self._broker.port,
            MICS,
            storage=storage_section,
            crosstalk={"mode": "off"},
        )
        return RunningNode(self.folder, config, self._mics.env)

    def room(self, node: RunningNode, after: int = 0) -> Room:
        return Room(node.wait_online(self._watcher, after), self._mics, self._watcher)


@pytest.fixture
def place(tmp_path: Path, broker: Broker, mics: VirtualMics, watcher: Watcher) -> Place:
    return Place(tmp_path, broker, mics, watcher)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with SmallDisk(tmp_path / "disk", 160) as small:
        yield small


def event(room: Room, event_type: str, after: int, timeout: float = 15) -> dict[str, Any]:
    message = room.watcher.wait_for(
        lambda m: m.topic == f"{TOPIC}/event" and m.json()["event_type"] == event_type,
        timeout,
        after,
    )
    body: dict[str, Any] = message.json()
    return body


def fill_to_the_last_byte(room: Room, disk: SmallDisk, after: int) -> None:
    """Even the room that the node gives up when its speech is first refused."""
    disk.fill()
    room.watcher.wait_for(
        lambda m: m.topic == f"{TOPIC}/event" and "the disk refuses" in m.json()["message"],
        15,
        after,
    )
    disk.fill()


def lines(transcript: str) -> list[str]:
    text = Path(transcript).read_text(encoding="utf-8")
    return [line.split("] ", 1)[1] for line in text.splitlines()]


def test_full_in_mid_session(place: Place, disk: SmallDisk) -> None:
    with place.node(disk.folder / "storage") as node:
        room = place.room(node)
        session = room.start(desk="Alice", door="Bruno")
        room.say("desk", HELLO)
        room.segments(session, 1)
        after = room.watcher.count()
        disk.fill()
        event(room, "disk_low", after)
        room.say("door", BONJOUR, pause_s=2)
        fill_to_the_last_byte(room, disk, after)
        # Heard in real time, by a node whose disk accepts nothing any more.
        room.say_to_the_end("desk", MEETING, COFFEE, pause_s=2)
        assert MEETING.text not in [s["text"] for s in room.segments(session, 1)]
        disk.make_room()
        event(room, "disk_back", after, 20)
        segments = room.segments(session, 4)
        final = room.stop()
    assert [s["seq"] for s in segments] == [1, 2, 3, 4]
    assert lines(final["file_path"]) == [
        f"Alice: {HELLO.text}",
        f"Bruno: {BONJOUR.text}",
        f"Alice: {MEETING.text}",
        f"Alice: {COFFEE.text}",
    ]
    assert kinds(room, after) == ["disk_low", "disk_low", "disk_back"]
    assert not list((node.storage / "spool").iterdir())
    assert not list((node.storage / "failed").iterdir())


def kinds(room: Room, after: int) -> list[str]:
    return [m.json()["event_type"] for m in room.watcher.messages(f"{TOPIC}/event", after)]


def test_stopped_while_the_disk_is_full(place: Place, disk: SmallDisk) -> None:
    """The answer comes with the room, and the transcript has what was in memory until then."""
    with place.node(disk.folder / "storage") as node:
        room = place.room(node)
        session = room.start(desk="Alice")
        after = room.watcher.count()
        disk.fill()
        room.say_to_the_end("desk", HELLO)
        fill_to_the_last_byte(room, disk, after)
        room.say_to_the_end("desk", BONJOUR, pause_s=0.1)
        room.watcher.publish(f"{TOPIC}/request/session/stop", "{}")
        state = room.state("stopping", after)
        assert state["session_id"] == session
        with pytest.raises(pytest.fail.Exception):
            room.watcher.wait_for(f"{TOPIC}/response/session/stop", 4, after)
        disk.make_room()
        answer = room.watcher.wait_for(f"{TOPIC}/response/session/stop", 30, after).json()
    assert answer["status"] == "ok"
    assert lines(answer["data"]["file_path"]) == [
        f"Alice: {HELLO.text}",
        f"Alice: {BONJOUR.text}",
    ]
    assert not list((node.storage / "spool").iterdir())


def test_start_on_a_full_disk(place: Place, disk: SmallDisk) -> None:
    with place.node(disk.folder / "storage") as node:
        room = place.room(node)
        disk.fill(leave=60 * MB)
        error = room.refused("session/start", assignments=[{"mic": "desk", "speaker": "Alice"}])
        assert error["code"] == "disk_full"
        assert room.do("session/list")["total"] == 0
        assert not list((node.storage / "spool").iterdir())
        disk.make_room()
        room.start(desk="Alice")
        room.stop()


def test_restarted_on_a_full_disk(place: Place, disk: SmallDisk) -> None:
    """The ballast lets the next process open its database and finish."""
    with place.node(disk.folder / "storage") as node:
        room = place.room(node)
        session = room.start(desk="Alice")
        room.say("desk", HELLO)
        room.segments(session, 1)
        room.node.program.kill_group()
        disk.fill()
        after = room.watcher.count()
        room.node.start().wait_online(room.watcher, after)
        final = room.watcher.wait_for(f"{TOPIC}/transcript/final", 30, after).json()
    assert lines(final["file_path"]) == [f"Alice: {HELLO.text}"]


def test_every_write_refused_and_taken_again(place: Place, tmp_path: Path) -> None:
    """A file size limit: the disk has room but refuses, as a read-only one does."""
    with place.node(tmp_path / "storage") as node:
        room = place.room(node)
        session = room.start(desk="Alice", door="Bruno")
        room.say("desk", HELLO)
        room.segments(session, 1)
        after = room.watcher.count()
        refuse(node, refuses=True)
        room.say("desk", MEETING)
        room.say("door", BONJOUR)
        event(room, "disk_low", after)
        with pytest.raises(pytest.fail.Exception):
            event(room, "disk_back", after, 8)
        refuse(node, refuses=False)
        event(room, "disk_back", after)
        room.segments(session, 3)
        final = room.stop()
    assert sorted(lines(final["file_path"])) == [
        f"Alice: {HELLO.text}",
        f"Alice: {MEETING.text}",
        f"Bruno: {BONJOUR.text}",
    ]
    assert kinds(room, after) == ["disk_low", "disk_back"]


def refuse(node: RunningNode, *, refuses: bool) -> None:
    """Make the disk refuse every byte, or accept them again."""
    limit = 0 if refuses else resource.RLIM_INFINITY
    psutil.Process(node.pid).rlimit(psutil.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))


def test_turned_read_only_by_the_kernel(place: Place, tmp_path: Path) -> None:
    """Nothing stored is lost; once remounted, the next start finishes the session."""
    with (
        BreakingDisk(tmp_path / "card", 192) as card,
        place.node(card.folder / "storage") as node,
    ):
        room = place.room(node)
        session = room.start(desk="Alice")
        room.say("desk", HELLO)
        room.segments(session, 1)
        after = room.watcher.count()
        card.break_down()
        room.say("desk", BONJOUR)
        event(room, "disk_low", after)
        with pytest.raises(pytest.fail.Exception):  # it has room but accepts nothing
            event(room, "disk_back", after, 8)
        assert room.do("health/check")["disk_free_mb"] > 0
        room.node.program.kill_group()
        card.mend()
        after = room.watcher.count()
        room.node.start().wait_online(room.watcher, after)
        final = room.watcher.wait_for(f"{TOPIC}/transcript/final", 30, after).json()
        assert final["session_id"] == session
        assert lines(final["file_path"]) == [f"Alice: {HELLO.text}"]


def test_spool_over_its_limit(place: Place, tmp_path: Path) -> None:
    stranger = tmp_path / "storage" / "spool" / "stranger"
    stranger.parent.mkdir(parents=True)
    stranger.write_bytes(bytes(11 * MB))
    with place.node(tmp_path / "storage", max_spool_mb=10) as node:
        room = place.room(node)
        session = room.start(desk="Alice")
        after = room.watcher.count()
        player = room.mics.play("desk", spoken(HELLO), 16000)
        dropped = event(room, "speech_dropped", after)
        assert dropped["mic"] == "desk"
        assert "storage.max_spool_mb (10)" in dropped["message"]
        stranger.unlink()
        player.wait(30)  # the rest of what was dropped is spoken
        room.say("desk", BONJOUR)
        (segment,) = room.segments(session, 1)
        assert segment["text"] == BONJOUR.text
        assert room.stop()["segments_total"] == 1


def test_kept_audio_gives_way_to_speech(place: Place, tmp_path: Path) -> None:
    kept = tmp_path / "storage" / "audio"
    kept.mkdir(parents=True)
    for number in range(1, 13):
        (kept / STRANGER.replace("00001", f"{number:05}")).write_bytes(bytes(MB))
    with place.node(tmp_path / "storage", max_spool_mb=10, keep_audio=True) as node:
        room = place.room(node)
        session = room.start(desk="Alice")
        room.say("desk", HELLO)
        (segment,) = room.segments(session, 1)
        room.stop()
        left = sorted(path.name for path in kept.iterdir())
    assert segment["text"] == HELLO.text
    assert len(left) == 11  # the two oldest are gone, the new one is kept
    assert left[0] == STRANGER.replace("00001", "00003")
