"""The broker's files in `config/mosquitto`: users, each allowed what it needs."""

from __future__ import annotations

import os
import re
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.model.sentences import SENTENCES
from tests.rig.broker import HOST, Broker, free_port
from tests.rig.commands import run
from tests.rig.mqtt import Watcher
from tests.rig.node import TOPIC, RunningNode, configuration
from tests.rig.processes import Program
from tests.rig.vmics import write_wav
from tests.rig.workers import RunningWorker, fill

if TYPE_CHECKING:
    from collections.abc import Iterator

FILES = Path(__file__).parents[2] / "config/mosquitto"
USERS = {
    "node": "pw-n",
    "worker": "pw-k",
    "homeassistant": "pw-h",
    "web": "pw-w",
    "dashboard": "pw-d",
    "test": "pw-t",
}

DEBIANS_OWN = """\
persistence true
persistence_location {folder}/
include_dir {folder}/conf.d
"""
"""What Debian's /etc/mosquitto/mosquitto.conf says besides the paths of its log and pid."""

STATES = ("status", "info", "session", "mics", "mic/a.b/state", "mic/a.b/last_words", "health")
TEXTS = ("transcript/live", "transcript/last", "transcript/last_words", "transcript/final")
PASSING = ("event", "mic/a.b/segment", "mic/a.b/partial", "response/session/start")
COMMANDS = ("session/set", "mic/a.b/speaker/set", "mic/a.b/enabled/set")
REQUESTS = ("request/session/start", "request/session/stop", "request/mics/assign")
DELETE = "request/session/delete"
DISCOVERY = "homeassistant/device/scribe_0_a/config"
BIRTH = "homeassistant/status"

WORK, WORKED, WORKER = (
    "scribe/work/base/request",
    f"{TOPIC}/work/response",
    "scribe/worker/a/status",
)

OF_NODE = {f"{TOPIC}/{name}" for name in (*STATES, *TEXTS, *PASSING)}
ASKED = {f"{TOPIC}/{name}" for name in (*COMMANDS, *REQUESTS)}
GROUP = {"scribe/all/session/set", "scribe/all/request/session/start"}
OTHERS = {f"{TOPIC}/{DELETE}", DISCOVERY, BIRTH, "home/light/set"}
EVERYTHING = {*OF_NODE, *ASKED, *GROUP, *OTHERS, WORK, WORKED, WORKER}

STATUS = ("status", "info", "session", "mics", "health")
SHOWN = ("status", "session", "mics", "mic/a.b/state", "mic/a.b/last_words")
SHOWN_TEXTS = ("transcript/live", "transcript/last_words")

MAY_WRITE = {
    "node": {*OF_NODE, DISCOVERY, WORK},
    "worker": {WORKED, WORKER},
    "homeassistant": {*ASKED, *GROUP, BIRTH},
    "web": {t for t in EVERYTHING if "/request/" in t or t.endswith("/enabled/set")},
    "dashboard": set(),
}
MAY_READ = {
    "node": {f"{TOPIC}/{name}" for name in (*STATUS, *TEXTS)}
    | {*ASKED, *GROUP, f"{TOPIC}/{DELETE}", BIRTH, WORKED, WORKER},
    "worker": {WORK, WORKER},
    "homeassistant": EVERYTHING - {"home/light/set", WORK},
    "web": {topic for topic in EVERYTHING if topic.startswith("scribe/")} - {WORK},
    "dashboard": {f"{TOPIC}/{name}" for name in (*SHOWN, *SHOWN_TEXTS)},
}


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    acl = (FILES / "acl").read_text(encoding="utf-8")
    with Broker(users=USERS, acl=f"{acl}\nuser test\ntopic readwrite #\n") as running:
        yield running


def taken(port: int, user: str, topics: set[str]) -> set[str]:
    """Return which of `topics` the broker lets a user write to."""
    answers: dict[int, bool] = {}
    all_answered = threading.Event()

    def on_publish(_client: Client, _data: object, mid: int, reason: Any, _props: object) -> None:
        answers[mid] = not reason.is_failure
        if len(answers) == len(topics):
            all_answered.set()

    client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
    client.username_pw_set(user, USERS[user])
    client.on_publish = on_publish
    client.connect(HOST, port)
    client.loop_start()
    mids = {topic: client.publish(topic, "x", qos=1).mid for topic in topics}
    assert all_answered.wait(10)
    client.disconnect()
    client.loop_stop()
    return {topic for topic, mid in mids.items() if answers[mid]}


@pytest.mark.parametrize("user", MAY_WRITE)
def test_who_may_write_what(broker: Broker, user: str) -> None:
    assert taken(broker.port, user, EVERYTHING) == MAY_WRITE[user]


@pytest.mark.parametrize("user", MAY_READ)
def test_who_may_read_what(broker: Broker, user: str) -> None:
    with (
        Watcher(broker.port, username="test", password=USERS["test"]) as writer,
        Watcher(broker.port, username=user, password=USERS[user]) as reader,
    ):
        for topic in sorted(EVERYTHING):
            writer.publish(topic, "x")
        last = max(MAY_READ[user])
        reader.wait_for(last)
        for topic in sorted(EVERYTHING):
            writer.wait_for(topic)
        assert {message.topic for message in reader.messages()} == MAY_READ[user]


def test_the_node_is_refused_nothing_it_does(broker: Broker, tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text(USERS["node"])
    file = write_wav(tmp_path / "quiet.wav", np.zeros(16000, np.int16), 16000)
    files = [{"mic": "a.b", "file": str(file), "loop": True}]
    config = configuration(
        tmp_path,
        broker.port,
        [],
        mqtt={"username": "node", "password_file": str(password)},
        audio={"source": "files", "devices": [], "files": files},
        homeassistant={"enabled": True},
    )
    with (
        Watcher(broker.port, username="test", password=USERS["test"]) as watcher,
        RunningNode(tmp_path, config) as node,
    ):
        node.wait_online(watcher)
        people = {"assignments": [{"mic": 1, "speaker": "Alice"}]}
        for verb, request in [
            ("session/start", people),
            ("session/stop", {}),
            ("health/check", {}),
        ]:
            assert watcher.request(TOPIC, verb, request)["status"] == "ok"
        watcher.wait_for(f"{TOPIC}/transcript/last")
        watcher.wait_for("homeassistant/device/+/config")
        seen = run("status", "--config", node.file)  # with the node's own login
        assert "scribe/lab: idle" in seen.stdout, seen.stderr
        assert "refuses" not in node.program.output()


def test_requesters_whose_own_topics_are_refused_are_told_of_once(
    broker: Broker, tmp_path: Path
) -> None:
    """Each request may name another topic: neither memory nor `T/event` may fill with them."""
    password = tmp_path / "password"
    password.write_text(USERS["node"])
    login = {"username": "node", "password_file": str(password)}
    config = configuration(tmp_path, broker.port, [], mqtt=login)
    with (
        Watcher(broker.port, username="test", password=USERS["test"]) as watcher,
        RunningNode(tmp_path, config) as node,
    ):
        node.wait_online(watcher)
        for number in range(20):
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            properties.ResponseTopic = f"client/{number}/answers"
            watcher._client.publish(f"{TOPIC}/request/health/check", b"", 1, properties=properties)
        watcher.wait_for(f"{TOPIC}/event")
        assert watcher.request(TOPIC, "health/check")["status"] == "ok"
        events = [message.json() for message in watcher.messages(f"{TOPIC}/event")]
    assert [event["event_type"] for event in events] == ["message_refused"]
    assert "client/0/answers: the broker refuses it" in events[0]["message"]


def test_node_and_worker_are_refused_nothing_they_do(broker: Broker, tmp_path: Path) -> None:
    logins = {}
    for user in ("node", "worker"):
        logins[user] = {"username": user, "password_file": str(tmp_path / user)}
        (tmp_path / user).write_text(USERS[user])
    ids = fill(tmp_path / "storage", {"desk": SENTENCES[5:7]})
    own = {"mqtt": logins["node"], "transcription": {"where": "broker"}}
    config = configuration(tmp_path, broker.port, [], **own)
    with (
        Watcher(broker.port, username="test", password=USERS["test"]) as watcher,
        RunningWorker(tmp_path, "a", broker.port, mqtt=logins["worker"]) as worker,
        RunningNode(tmp_path, config) as node,
    ):
        final = watcher.wait_for(f"{TOPIC}/transcript/final", 60)
        assert final.json()["segments_total"] == len(ids)
        for program in (worker.program, node.program):
            assert "refuse" not in program.output()


def test_the_brokers_file_keeps_strangers_out(tmp_path: Path) -> None:
    port = free_port()
    for name in ("passwords", "acl"):
        (tmp_path / name).touch(mode=0o600)
    (tmp_path / "acl").write_text((FILES / "acl").read_text(encoding="utf-8"))
    add = ["mosquitto_passwd", "-b", str(tmp_path / "passwords"), "node", USERS["node"]]
    subprocess.run(add, check=True, capture_output=True)
    text = (FILES / "mosquitto.conf").read_text(encoding="utf-8")
    text = text.replace("/etc/mosquitto/", f"{tmp_path}/")
    text = text.replace("listener 1883", f"listener {port} {HOST}")
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "mosquitto.conf").write_text(text)
    file = tmp_path / "mosquitto.conf"
    # Started as root it would switch to user mosquitto, who cannot read the test's files.
    user = "user root\n" if os.geteuid() == 0 else ""
    file.write_text(user + DEBIANS_OWN.format(folder=tmp_path))
    with Program(["mosquitto", "-c", file]) as program:
        program.wait_output("running", 10)
        client = ["mosquitto_pub", "-h", HOST, "-p", str(port), "-t", f"{TOPIC}/status", "-n"]
        stranger = subprocess.run(client, capture_output=True, text=True, check=False)
        assert re.search("not authori[sz]ed", stranger.stderr, re.IGNORECASE)
        login = ["-u", "node", "-P", USERS["node"]]
        assert subprocess.run([*client, *login], check=False).returncode == 0
        assert "error" not in program.output().lower()
