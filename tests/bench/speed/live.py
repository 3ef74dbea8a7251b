"""The whole service in real time: capture processes, listener, disk, engine, MQTT."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import psutil

from tests.bench.speed.setup import BEAM, Outcome
from tests.rig.broker import Broker
from tests.rig.mqtt import Watcher
from tests.rig.node import TOPIC, Room, RunningNode, configuration
from tests.rig.vmics import VirtualMics, write_wav

if TYPE_CHECKING:
    from pathlib import Path

    from tests.bench.speed.meeting import Meeting
    from tests.bench.speed.setup import Setup

DRAIN_S = 600.0


def live(meeting: Meeting, setup: Setup, folder: Path) -> Outcome:
    """Play a meeting to the service, each file as a microphone, and stop it at the end.

    Processor time is that of the service and its capture processes, from the request to start to
    the answer that everything is transcribed; the broker's is not counted. Lags are those in the
    segments: from the end of speech to the commit of its text, which is sent at once.
    """
    names = [f"mic-{number}" for number in range(len(meeting.tracks))]
    config = _config(meeting, setup, folder, names)
    env = {"PACED": "node", "OMP_NUM_THREADS": str(setup.threads), "HF_HUB_OFFLINE": "1"}
    with Broker() as broker, Watcher(broker.port) as watcher:
        config["mqtt"]["port"] = broker.port
        module = "node" if setup.trained else "tests.bench.speed.pace"
        node = RunningNode(folder, config, env, module=module)
        with node, VirtualMics([]) as nobody:
            room = Room(node.wait_online(watcher), nobody, watcher)
            process = psutil.Process(node.pid)
            _wait_loaded(room, names)
            used = _used(process)
            session = room.start(**{name: name for name in names})
            time.sleep(meeting.length_s)  # the meeting is played in real time
            room.do("session/stop", DRAIN_S)
            return Outcome(meeting.length_s, _used(process) - used, _lags(room, session))


def _config(meeting: Meeting, setup: Setup, folder: Path, names: list[str]) -> dict[str, Any]:
    files = []
    for name, track in zip(names, meeting.tracks, strict=True):
        file = write_wav(folder / f"{name}.wav", track, 16000)
        files.append({"mic": name, "file": str(file), "loop": False})
    return configuration(
        folder,
        0,
        [],
        audio={"source": "files", "devices": [], "files": files},
        transcription={
            "model": str(setup.folder),
            "threads": setup.threads,
            "beam_size": BEAM,
        },
    )


def _wait_loaded(room: Room, names: list[str]) -> None:
    """Wait until a session starts, for which the model must be loaded, and end it at once."""
    deadline = time.monotonic() + DRAIN_S
    seats = [{"mic": names[0], "speaker": names[0]}]
    while room.ask("session/start", assignments=seats)["status"] != "ok":
        if time.monotonic() > deadline:
            raise RuntimeError("the service has not loaded its model")
        time.sleep(0.5)
    room.stop()


def _used(process: psutil.Process) -> float:
    """Return processor seconds of the service and of the capture processes that have ended."""
    times = process.cpu_times()
    return float(times.user + times.system + times.children_user + times.children_system)


def _lags(room: Room, session: str) -> tuple[float, ...]:
    messages = room.watcher.messages(f"{TOPIC}/mic/+/segment")
    bodies = [message.json() for message in messages]
    own = sorted((b["end"], b["latency_s"]) for b in bodies if b["session_id"] == session)
    return tuple(float(lag) for _, lag in own)
