"""The node's own life: start, end, reload, crash, a missing model, a broker that goes and comes."""

from __future__ import annotations

import os
import re
import shutil
import signal
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psutil
import pytest
import soxr
import yaml

from tests.model.sentences import SENTENCES
from tests.rig import eager_node
from tests.rig.broker import Broker
from tests.rig.commands import run
from tests.rig.mqtt import Watcher
from tests.rig.node import MODEL, TOPIC, Room, RunningNode, configuration, spoken
from tests.rig.processes import children, open_files, threads, wait_until
from tests.rig.vmics import VirtualMic, VirtualMics, write_wav

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.rig.mqtt import Message

MICS = ("desk", "door")
HELLO, BONJOUR, LIGHT = SENTENCES[0], SENTENCES[31], SENTENCES[37]


@pytest.fixture
def setting() -> Iterator[tuple[Broker, VirtualMics, Watcher]]:
    mics = [VirtualMic(name) for name in MICS]
    with Broker() as broker, VirtualMics(mics) as virtual, Watcher(broker.port) as watcher:
        yield broker, virtual, watcher


@pytest.fixture
def lab(setting: tuple[Broker, VirtualMics, Watcher], tmp_path: Path) -> Iterator[Room]:
    """A fresh node of its own for each test."""
    broker, virtual, watcher = setting
    node = RunningNode(tmp_path, configuration(tmp_path, broker.port, MICS), virtual.env)
    with node:
        yield Room(node.wait_online(watcher), virtual, watcher)


def test_thirty_sessions_leak_nothing(lab: Room) -> None:
    def cycle() -> None:
        lab.start(desk="Alice", door="Bruno")
        lab.stop()

    def usage() -> tuple[int, int, int]:
        wait_until(lambda: not children(lab.node.pid), 5, "the capture processes are gone")
        return threads(lab.node.pid), open_files(lab.node.pid), len(children(lab.node.pid))

    for _ in range(5):  # what is loaded on first use is not a leak
        cycle()
    before, memory = usage(), psutil.Process(lab.node.pid).memory_info().rss
    for _ in range(30):
        cycle()
    assert usage() == before
    grown_mb = (psutil.Process(lab.node.pid).memory_info().rss - memory) / 2**20
    assert grown_mb < 5, f"{grown_mb:.1f} MB in 30 sessions"


def test_a_refused_start_leaves_nothing(lab: Room) -> None:
    before = threads(lab.node.pid), open_files(lab.node.pid)
    lab.mics.unplug("door")
    assignments = [{"mic": mic, "speaker": mic} for mic in MICS]
    error = lab.refused("session/start", assignments=assignments)
    assert error["code"] == "mic_unavailable"
    assert "door" in error["message"]
    wait_until(lambda: not children(lab.node.pid), 5, "the capture processes are gone")
    assert (threads(lab.node.pid), open_files(lab.node.pid)) == before
    assert lab.do("session/list")["total"] == 0
    assert not list((lab.node.storage / "spool").iterdir())
    assert all(mic["speaker"] is None for mic in lab.do("mics/detect")["mics"])
    lab.mics.plug("door")
    lab.do("session/start", assignments=assignments)
    lab.stop()


def test_sigterm_ends_a_running_session_cleanly(lab: Room) -> None:
    session = lab.start(desk="Alice")
    lab.say("desk", HELLO)
    lab.segments(session, 1)
    after = lab.watcher.count()
    assert lab.node.end() == 0
    final = lab.watcher.wait_for(f"{TOPIC}/transcript/final", after=after).json()
    assert final["segments_total"] == 1
    assert HELLO.text in Path(final["file_path"]).read_text(encoding="utf-8")
    offline = lab.watcher.wait_for(
        lambda m: m.topic == f"{TOPIC}/status" and m.text == "offline", after=after
    )
    assert offline.time > 0


def test_sighup_takes_up_what_is_safe_and_names_the_rest(lab: Room) -> None:
    text = lab.node.file.read_text(encoding="utf-8")

    def said_of(changed: str) -> str:
        lab.node.file.write_text(changed, encoding="utf-8")
        after = lab.watcher.count()
        lab.node.program.signal(signal.SIGHUP)
        return str(lab.watcher.wait_for(f"{TOPIC}/event", after=after).json()["message"])

    changed = text.replace("hangover_ms: 600", "hangover_ms: 900")
    assert said_of(changed) == "applied: vad.hangover_ms"
    assert said_of(text) == "applied: vad.hangover_ms"
    threads = text.replace("threads: 1", "threads: 2\n  languages: [de]")
    waiting = "needs a restart: transcription.languages, transcription.threads"
    assert said_of(threads) == waiting
    assert said_of(threads) == waiting
    assert "node.yaml:1: nonsense: unknown key" in said_of("nonsense: 1\n")


def test_a_mic_that_a_reload_brings_can_be_recorded_at_once(lab: Room) -> None:
    """Its device is given by part of its name and in other case; `run` and `check` agree."""
    config = yaml.safe_load(lab.node.file.read_text(encoding="utf-8"))
    named = {"desk": "desk", "lectern": "DOO", "both": "D"}
    config["audio"]["devices"] = [{"mic": mic, "device": name} for mic, name in named.items()]
    lab.node.configure(config)
    after = lab.watcher.count()
    lab.node.program.signal(signal.SIGHUP)
    said = lab.watcher.wait_for(f"{TOPIC}/event", after=after).json()["message"]
    assert said == "applied: audio.devices"
    lab.start(lectern="Alice")
    lab.stop()
    mics = {mic["mic"]: mic["connected"] for mic in lab.do("mics/detect")["mics"]}
    assert mics == {"desk": True, "lectern": True, "both": False}
    refused = lab.refused("session/start", assignments=[{"mic": "door", "speaker": "Bruno"}])
    assert refused["code"] == "unknown_mic"
    done = run("check", "--config", lab.node.file, env=lab.mics.env)
    assert re.search(r"microphone lectern +(ok|warning)", done.stdout)
    assert re.search(r"microphone both +wrong +'D' fits several inputs", done.stdout)


def test_a_reload_does_not_change_a_mic_that_is_being_recorded(lab: Room) -> None:
    """Its stream may break off at any time; another device there has another person in front."""
    session = lab.start(desk="Alice")
    wait_until(lambda: len(children(lab.node.pid)) == 1, 20, "the inputs are listed")
    (capture,) = children(lab.node.pid)
    config = yaml.safe_load(lab.node.file.read_text(encoding="utf-8"))
    config["audio"]["devices"] = [{"mic": "desk", "device": "door"}]
    lab.node.configure(config)
    after = lab.watcher.count()
    lab.node.program.signal(signal.SIGHUP)
    lab.watcher.wait_for(f"{TOPIC}/event", after=after)
    after = lab.watcher.count()
    os.kill(capture, signal.SIGKILL)
    for event_type in ("mic_lost", "mic_back"):
        lab.watcher.wait_for(partial(_is_event, event_type=event_type), 20, after)
    lab.say("door", BONJOUR)
    lab.say_to_the_end("desk", HELLO)
    assert [segment["text"] for segment in lab.segments(session, 1)] == [HELLO.text]
    lab.stop()
    session = lab.start(desk="Bruno")
    lab.say_to_the_end("door", BONJOUR)
    assert [segment["text"] for segment in lab.segments(session, 1)] == [BONJOUR.text]


def _is_event(message: Message, event_type: str) -> bool:
    return message.topic == f"{TOPIC}/event" and message.json()["event_type"] == event_type


def test_the_state_of_a_mic_that_left_while_the_node_was_off_is_cleared(lab: Room) -> None:
    """Nobody was ever assigned to it, and it has another id in the configuration now."""
    assert lab.node.end() == 0
    config = yaml.safe_load(lab.node.file.read_text(encoding="utf-8"))
    config["audio"]["devices"] = [
        {"mic": "desk", "device": "desk"},
        {"mic": "hall", "device": "door"},
    ]
    lab.node.configure(config)
    after = lab.watcher.count()
    lab.node.start().wait_online(lab.watcher, after)
    lab.watcher.wait_for(
        lambda m: m.topic == f"{TOPIC}/mic/door/state" and m.payload == b"", after=after
    )
    with Watcher(config["mqtt"]["port"]) as newcomer:
        newcomer.wait_for(f"{TOPIC}/mic/hall/state")
        assert not newcomer.messages(f"{TOPIC}/mic/door/#")


def test_assignments_and_mute_survive_a_restart(lab: Room) -> None:
    lab.do("mics/assign", assignments=[{"mic": "desk", "speaker": "Alice", "language": "fr"}])
    lab.watcher.publish(f"{TOPIC}/mic/door/enabled/set", "OFF")
    lab.do("health/check")
    assert lab.node.end() == 0
    after = lab.watcher.count()
    lab.node.start().wait_online(lab.watcher, after)
    desk, door = lab.do("mics/detect")["mics"]
    assert (desk["speaker"], desk["language"], desk["enabled"]) == ("Alice", "fr", True)
    assert (door["speaker"], door["enabled"]) == (None, False)


def test_a_killed_session_is_finished_at_the_next_start(lab: Room) -> None:
    session = lab.start(desk="Alice", door="Bruno")
    lab.say("desk", HELLO)
    first = lab.segments(session, 1)[0]
    lab.say("door", BONJOUR, LIGHT, pause_s=0.25)
    spool = lab.node.storage / "spool"
    wait_until(
        lambda: any(f.stat().st_size > 40_000 for f in spool.iterdir()), 20, "some of it is heard"
    )
    lab.node.program.kill_group()
    after = lab.watcher.count()
    lab.node.start().wait_online(lab.watcher, after)
    final = lab.watcher.wait_for(f"{TOPIC}/transcript/final", 30, after).json()
    assert final["session_id"] == session
    segments = {s["id"]: s for s in lab.segments(session, 2)}
    second = next(s for s in segments.values() if s["mic"] == "door")
    assert [first["seq"], second["seq"]] == [1, 2]
    assert second["replayed"]
    assert second["text"].split()[0] == BONJOUR.text.split()[0]
    assert lab.do("session/list")["sessions"][0]["state"] == "done"


def test_a_session_that_goes_on_after_a_kill_keeps_its_time_limit_and_group(lab: Room) -> None:
    assert lab.node.end() == 0
    text = lab.node.file.read_text(encoding="utf-8")
    lab.node.file.write_text(f"{text}\nsession: {{resume: true}}\n", encoding="utf-8")
    after = lab.watcher.count()
    lab.node.start().wait_online(lab.watcher, after)
    desk = [{"mic": "desk", "speaker": "Alice"}]
    started = lab.do("session/start", assignments=desk, max_duration_s=8, group="budget")
    session = started["session_id"]
    lab.node.program.kill_group()
    after = lab.watcher.count()
    lab.node.start().wait_online(lab.watcher, after)
    lab.watcher.wait_for(
        lambda m: m.topic == f"{TOPIC}/session" and m.json()["state"] == "recording", 10, after
    )
    final = lab.watcher.wait_for(f"{TOPIC}/transcript/final", 20, after).json()
    assert final["session_id"] == session
    assert 8 <= final["duration_s"] < 12
    assert final["group"] == "budget"
    clock = final["clock"]
    assert clock["start"] is not None
    assert clock["stop"] is not None
    assert clock["shift_ms"] is None  # not counted while it was down


def test_the_broker_goes_and_comes_back(
    setting: tuple[Broker, VirtualMics, Watcher], lab: Room
) -> None:
    broker, _, watcher = setting
    session = lab.start(desk="Alice")
    broker.kill()
    watcher.wait_disconnected()
    lab.say("desk", HELLO)
    lab.node.program.wait_output("waits on the disk", 20)
    spoken = lab.node.storage / "scribe.db"
    assert spoken.exists()
    broker.start()
    watcher.wait_connected(30)
    (segment,) = lab.segments(session, 1, 60)
    assert segment["text"] == HELLO.text
    lab.stop()


def test_no_model(broker: Broker, watcher: Watcher, tmp_path: Path) -> None:
    """The node starts and says so, and becomes ready by itself once the model is there."""
    missing = tmp_path / "model"
    config = configuration(
        tmp_path, broker.port, [], transcription={"model": str(missing)}, audio=_file_mic(tmp_path)
    )
    with RunningNode(tmp_path, config) as node:
        node.wait_online(watcher)
        room = Room(node, None, watcher)  # type: ignore[arg-type]  # nobody speaks
        info = watcher.wait_for(f"{TOPIC}/info").json()
        assert info["model_state"] == "unavailable"
        assert str(missing) in info["model_notice"]
        assert watcher.wait_for(f"{TOPIC}/event").json()["event_type"] == "model_unavailable"
        assert room.state("error")["message"]
        assignments = [{"mic": "tape", "speaker": "Alice"}]
        error = room.refused("session/start", assignments=assignments)
        assert error["code"] == "model_unavailable"
        assert "transcription.model" in error["message"]
        after = watcher.count()
        shutil.copytree(MODEL, missing)
        watcher.wait_for(  # it looks again every 30 s
            lambda m: m.topic == f"{TOPIC}/info" and m.json()["model_state"] == "ready", 60, after
        )
        room.do("session/start", assignments=assignments)
        room.stop()


def test_a_missing_model_is_said_once(broker: Broker, watcher: Watcher, tmp_path: Path) -> None:
    """However often the node looks for it; a new reason is reported too."""
    missing = tmp_path / "model"
    damaged = shutil.copytree(MODEL, tmp_path / "damaged")
    (damaged / "model.bin").write_bytes(b"no model")
    config = configuration(tmp_path, broker.port, [], transcription={"model": str(missing)})
    with RunningNode(tmp_path, config, module=eager_node.__name__) as node:
        node.wait_online(watcher)
        time.sleep(10 * eager_node.MODEL_RETRY_S)  # so often it looks
        damaged.rename(missing)  # all files at once: each missing file would be a new reason
        node.program.wait_output("cannot be loaded", 10)
        time.sleep(10 * eager_node.MODEL_RETRY_S)
        assert watcher.request(TOPIC, "health/check")["status"] == "ok"
        events = [message.json()["event_type"] for message in watcher.messages(f"{TOPIC}/event")]
        assert events == ["model_unavailable"] * 2


def test_a_stereo_recording_played_as_a_microphone(
    broker: Broker, watcher: Watcher, tmp_path: Path
) -> None:
    """Any rate and number of channels: here the voice is on one of two, at 44.1 kHz."""
    # Silence first: on a busy machine playing starts late and skips as much.
    voice = np.pad(spoken(HELLO, pause_s=3), (6 * 16000, 0))
    right = soxr.resample(voice, 16000, 44100)
    file = write_wav(tmp_path / "tape.wav", np.stack([np.zeros_like(right), right], axis=1), 44100)
    audio = {"source": "files", "devices": [], "files": [{"mic": "tape", "file": str(file)}]}
    config = configuration(tmp_path, broker.port, [], audio=audio)
    with RunningNode(tmp_path, config) as node:
        room = Room(node.wait_online(watcher), None, watcher)  # type: ignore[arg-type]  # no mics
        session = room.start(tape="Alice")
        (segment,) = room.segments(session, 1)
        assert room.do("mics/detect")["mics"][0]["sample_rate"] == 44100
        room.stop()
    assert segment["text"] == HELLO.text


def _file_mic(folder: Path) -> dict[str, object]:
    return {
        "source": "files",
        "devices": [],
        "files": [{"mic": "tape", "file": str(_quiet(folder)), "loop": True}],
    }


def _quiet(folder: Path) -> Path:
    return write_wav(folder / "quiet.wav", np.zeros(16000, np.int16), 16000)


def test_the_demonstration_model_says_what_it_is(lab: Room) -> None:
    info = lab.watcher.wait_for(f"{TOPIC}/info").json()
    assert "demonstration model" in info["model_notice"]
    assert "demonstration model" in lab.node.program.output()


def test_a_wrong_configuration_exits_78_with_all_errors(tmp_path: Path) -> None:
    file = tmp_path / "node.yaml"
    file.write_text("mqtt:\n  prot: 1883\naudio:\n  source: radio\n", encoding="utf-8")
    node = RunningNode(tmp_path, {"storage": {"path": str(tmp_path)}})
    file.write_text("mqtt:\n  prot: 1883\naudio:\n  source: radio\n", encoding="utf-8")
    with node:
        assert node.program.wait(20) == 78
        assert re.search(r"node\.yaml:2: mqtt\.prot: ", node.program.output())
        assert re.search(r"node\.yaml:4: audio\.source: ", node.program.output())
