"""Microphones pulled, frozen, stalled and replugged in mid-session: only that one is away."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.model.sentences import SENTENCES, Sentence
from tests.rig.broker import Broker
from tests.rig.mqtt import Watcher
from tests.rig.node import TOPIC, Room, RunningNode, configuration, spoken
from tests.rig.processes import children, command_line, wait_until
from tests.rig.recorder import correlation, noise
from tests.rig.vmics import VirtualMic, VirtualMics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.rig.mqtt import Message

RATE = 16000
HELLO, BONJOUR, LONG, OTHER = SENTENCES[0], SENTENCES[31], SENTENCES[22], SENTENCES[6]
MICS = {"desk": None, "door": None, "wall": 48000}


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    folder = tmp_path_factory.mktemp("room")
    mics = [VirtualMic(name, rate or RATE) for name, rate in MICS.items()]
    with Broker() as broker, VirtualMics(mics) as virtual, Watcher(broker.port) as watcher:
        config = configuration(folder, broker.port, MICS, storage={"keep_audio": True})
        config["storage"]["path"] = str(folder / "storage")
        with RunningNode(folder, config, virtual.env) as node:
            yield Room(node.wait_online(watcher), virtual, watcher)


@pytest.fixture(autouse=True)
def _no_session_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a failed test leaves must not make the next one fail."""
    yield
    if "room" in request.fixturenames:
        room: Room = request.getfixturevalue("room")
        for mic in MICS:
            with suppress(AssertionError):  # it is plugged in
                room.mics.plug(mic)
        room.ask("session/stop")


def event(room: Room, event_type: str, mic: str, after: int, timeout: float = 8) -> Message:
    def fits(message: Message) -> bool:
        if message.topic != f"{TOPIC}/event":
            return False
        body = message.json()
        return (body["event_type"], body.get("mic")) == (event_type, mic)

    return room.watcher.wait_for(fits, timeout, after)


def states(room: Room, mic: str, after: int = 0) -> list[dict[str, Any]]:
    return [m.json() for m in room.watcher.messages(f"{TOPIC}/mic/{mic}/state", after)]


def wait_state(room: Room, mic: str, **wanted: Any) -> None:
    """Wait until the newest state of a mic says all of this."""
    wait_until(lambda: wanted.items() <= states(room, mic)[-1].items(), 5, f"{mic}: {wanted}")


def capture(room: Room, mic: str) -> int:
    """Return the process that captures a mic."""

    def find() -> int | None:
        for pid in children(room.node.pid):
            if f'"device": "{mic}"' in command_line(pid):
                return pid
        return None

    return wait_until(find, 5, f"{mic} is captured") or 0


def start(segment: dict[str, Any]) -> float:
    return datetime.fromisoformat(segment["start"]).timestamp()


def of(segments: list[dict[str, Any]], mic: str) -> list[dict[str, Any]]:
    return [segment for segment in segments if segment["mic"] == mic]


def kept(room: Room, session: str, mic: str) -> list[np.ndarray[Any, np.dtype[np.int16]]]:
    """Return the sound of each utterance of a mic, in order."""
    files = [f for f in (room.node.storage / "audio").glob("*.s16le") if session in f.name]
    own = sorted(f for f in files if mic in f.name)
    return [np.fromfile(file, "<i2") for file in own]


def alike(room: Room, session: str, mic: str, said: Sentence) -> float:
    """Return how much of a sentence, sample by sample, is in what was kept of a mic."""
    wanted = spoken(said)
    loud = np.flatnonzero(np.abs(wanted.astype(np.int32)) > 300)
    wanted = wanted[loud[0] : loud[-1]]
    return max(correlation(np.pad(part, 800), wanted) for part in kept(room, session, mic))


def test_unplugged_in_mid_sentence(room: Room) -> None:
    session = room.start(desk="Alice", door="Bruno", wall="Carla")
    names = {m["mic"]: (m["index"], m["name"]) for m in room.do("mics/detect")["mics"]}
    after = room.watcher.count()
    room.say("door", LONG)
    time.sleep(1.3)  # into the middle of it
    room.say("desk", HELLO)
    room.mics.unplug("door")
    event(room, "mic_lost", "door", after)
    wait_state(room, "door", connected=False)
    (first,) = of(room.segments(session, 1), "door")
    assert LONG.text.startswith(first["text"].split()[0])
    room.mics.plug("door")
    plugged = time.monotonic()
    back = event(room, "mic_back", "door", after)
    assert back.time - plugged < 3
    wait_state(room, "door", connected=True)
    room.say("door", BONJOUR)
    segments = room.segments(session, 3)
    again = of(segments, "door")[1]
    assert (again["text"], again["speaker"]) == (BONJOUR.text, "Bruno")
    (desk,) = of(segments, "desk")
    assert desk["text"] == HELLO.text
    for mic in ("desk", "wall"):
        assert all(state["connected"] for state in states(room, mic, after))
    assert {m["mic"]: (m["index"], m["name"]) for m in room.do("mics/detect")["mics"]} == names
    room.stop()
    assert alike(room, session, "desk", HELLO) > 0.95


def test_frozen_and_thawed(room: Room) -> None:
    session = room.start(desk="Alice", wall="Carla")
    after = room.watcher.count()
    began = [time.monotonic()]
    room.say("desk", HELLO)
    room.segments(session, 1)
    room.mics.freeze("desk")
    event(room, "mic_lost", "desk", after)
    room.say("wall", OTHER)
    room.segments(session, 2)
    room.mics.thaw("desk")
    thawed = time.monotonic()
    assert event(room, "mic_back", "desk", after).time - thawed < 3
    began.append(time.monotonic())
    room.say("desk", BONJOUR)
    first, second = of(room.segments(session, 3), "desk")
    assert [first["text"], second["text"]] == [HELLO.text, BONJOUR.text]
    assert start(second) - start(first) == pytest.approx(began[1] - began[0], abs=0.2)
    room.stop()
    assert alike(room, session, "wall", OTHER) > 0.95


def test_the_device_stalls_for_a_moment(room: Room) -> None:
    """Too short to count as a loss: the gap is silence on the timeline."""
    session = room.start(desk="Alice")
    after = room.watcher.count()
    began = [time.monotonic()]
    room.say("desk", HELLO)
    room.segments(session, 1)
    room.mics.freeze("desk")
    time.sleep(1.5)  # less than a loss takes to be noticed
    room.mics.thaw("desk")
    time.sleep(2.5)  # more than one takes: it must not be noticed afterwards either
    began.append(time.monotonic())
    room.say("desk", BONJOUR)
    first, second = room.segments(session, 2)
    assert [first["text"], second["text"]] == [HELLO.text, BONJOUR.text]
    assert start(second) - start(first) == pytest.approx(began[1] - began[0], abs=0.2)
    assert not room.watcher.messages(f"{TOPIC}/event", after)


def test_the_capture_process_is_held_up(room: Room) -> None:
    """Its buffers hold, or overrun: where the next sentence lies stays right."""
    session = room.start(desk="Alice", wall="Carla")
    after = room.watcher.count()
    began = [time.monotonic()]
    room.say("desk", HELLO)
    room.segments(session, 1)
    held = capture(room, "desk")
    os.kill(held, signal.SIGSTOP)
    room.say("wall", OTHER)
    time.sleep(1.8)  # less than a loss takes to be noticed
    os.kill(held, signal.SIGCONT)
    time.sleep(2.5)  # more than one takes: it must not be noticed afterwards either
    began.append(time.monotonic())
    room.say("desk", BONJOUR)
    first, second = of(room.segments(session, 3), "desk")
    assert [first["text"], second["text"]] == [HELLO.text, BONJOUR.text]
    assert start(second) - start(first) == pytest.approx(began[1] - began[0], abs=0.2)
    assert not room.watcher.messages(f"{TOPIC}/event", after)
    room.stop()
    assert alike(room, session, "wall", OTHER) > 0.95


def test_a_killed_capture_process_is_replaced_at_once(room: Room) -> None:
    session = room.start(desk="Alice", wall="Carla")
    room.say("wall", OTHER)
    for _ in range(3):
        after = room.watcher.count()
        os.kill(capture(room, "desk"), signal.SIGKILL)
        lost = event(room, "mic_lost", "desk", after)
        assert event(room, "mic_back", "desk", after).time - lost.time < 1.5
    room.say("desk", HELLO)
    (desk,) = of(room.segments(session, 2), "desk")
    assert desk["text"] == HELLO.text
    room.stop()
    assert alike(room, session, "wall", OTHER) > 0.95


def test_all_mics_gone_and_back(room: Room) -> None:
    session = room.start(desk="Alice", door="Bruno", wall="Carla")
    after = room.watcher.count()
    for mic in MICS:
        room.mics.unplug(mic)
    for mic in MICS:
        event(room, "mic_lost", mic, after)
    assert room.do("health/check")["backlog_s"] == 0
    for mic in MICS:
        room.mics.plug(mic)
    plugged = time.monotonic()
    for mic in MICS:
        assert event(room, "mic_back", mic, after).time - plugged < 3
    room.say("wall", HELLO)
    assert room.segments(session, 1)[0]["text"] == HELLO.text
    assert room.stop()["segments_total"] == 1


def test_stop_while_a_mic_is_away(room: Room) -> None:
    session = room.start(desk="Alice", door="Bruno")
    after = room.watcher.count()
    room.say("door", HELLO)
    room.segments(session, 1)
    room.mics.unplug("door")
    event(room, "mic_lost", "door", after)
    done = room.do("session/stop", timeout=3)
    assert (done["session_id"], done["segments_total"]) == (session, 1)
    room.mics.plug("door")
    room.start(desk="Alice", door="Bruno")
    assert all(mic["connected"] for mic in room.do("mics/detect")["mics"])


def test_a_mic_joins_while_others_are_recorded(room: Room) -> None:
    session = room.start(desk="Alice")
    after = room.watcher.count()
    room.do("mics/assign", assignments=[{"mic": "wall", "speaker": "Carla"}])
    wait_state(room, "wall", recording=True, connected=True, sample_rate=48000)
    room.say("wall", HELLO)
    room.say("desk", BONJOUR)
    segments = room.segments(session, 2)
    assert of(segments, "wall")[0]["text"] == HELLO.text
    assert of(segments, "desk")[0]["text"] == BONJOUR.text
    assert not room.watcher.messages(f"{TOPIC}/event", after)


def test_a_mic_that_cannot_be_opened_joins_later(room: Room) -> None:
    session = room.start(desk="Alice")
    room.mics.unplug("door")
    after = room.watcher.count()
    room.do("mics/assign", assignments=[{"mic": "door", "speaker": "Bruno"}])
    assert "door" in event(room, "mic_lost", "door", after).json()["message"]
    wait_state(room, "door", connected=False)
    room.say("desk", HELLO)
    room.segments(session, 1)
    room.mics.plug("door")
    plugged = time.monotonic()
    assert event(room, "mic_back", "door", after).time - plugged < 3
    room.say("door", BONJOUR)
    assert of(room.segments(session, 2), "door")[0]["text"] == BONJOUR.text


def test_a_spell_of_noise_is_whole_while_others_come_and_go(room: Room) -> None:
    """Three pulls and three kills around it: the one that stays loses no sample."""
    session = room.start(desk="Alice", door="Bruno", wall="Carla")
    words = spoken(*SENTENCES[6:10], pause_s=0.1)
    words = words + (noise(len(words) / RATE, RATE, 1) // 64)[: len(words)]
    player, after = room.mics.play("desk", words, RATE), room.watcher.count()
    for _ in range(2):
        room.mics.unplug("door")
        os.kill(capture(room, "wall"), signal.SIGKILL)
        event(room, "mic_lost", "door", after)
        room.mics.plug("door")
        event(room, "mic_back", "door", after)
        after = room.watcher.count()
    wait_until(lambda: player.poll() is not None, 30, "all has been said")
    room.stop()
    parts = [part for part in kept(room, session, "desk") if len(part) > RATE]
    heard = sum(len(part) for part in parts)
    assert heard > 0.8 * len(words)
    assert all(
        correlation(np.pad(words, RATE), part[RATE // 2 : -RATE // 2]) > 0.95 for part in parts
    )
