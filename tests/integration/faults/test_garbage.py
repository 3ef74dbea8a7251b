"""Garbage on every input topic: answered or ignored, and the node works as before."""

from __future__ import annotations

import json
import random
import string
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import pytest
from paho.mqtt.client import MQTTv311

from node.service.requests import VERBS
from tests.rig.mqtt import Watcher
from tests.rig.node import TOPIC, RunningNode, configuration
from tests.rig.vmics import write_wav

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.rig.broker import Broker
    from tests.rig.mqtt import Message

SEED = 20261123
EVIL: tuple[Any, ...] = (
    "../../etc/passwd", "/etc/passwd", "..", ".", "~", "a/b", "a\\b", "nul\0byte", "\ud800",
    "\u202e", "a\nb", "", " " * 1000, "x" * 5000, "%s%n", "'; DROP TABLE session; --", "é" * 300,
    "-1", "∞", None, True, 0, -1, 2**63, 1e308, 0.5, [], {}, [[]], [None], {"mic": {}},
)  # fmt: skip
FIELDS = (
    "assignments", "session_id", "format", "formats", "title", "group", "language",
    "max_duration_s", "limit", "offset", "transaction", "mic", "speaker", "mic_id", "person_name",
    "__proto__",
)  # fmt: skip
RAW = (
    b"", b"\0", b"\xff\xfe\xfd", b"{", b"[]", b"null", b"1e999", b'"\\ud800"', b"NaN",
    b"\xef\xbb\xbf{}", b"[" * 60_000, b'{"a":' * 10_000 + b"1" + b"}" * 10_000, b"9" * 60_000,
    b"x" * 70_000,
)  # fmt: skip
SHORTCUTS = (
    "session/set", "mic/tape/speaker/set", "mic/tape/enabled/set", "mic/../speaker/set",
    "mic/%2e%2e/enabled/set", "mic/..\\x/speaker/set", "request", "request/", "request//", "info",
    "request/../../etc", "request/session/start/../stop", "request/" + "v" * 5000,
)  # fmt: skip


@pytest.fixture(params=["5", "3.1.1"])
def protocol(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def node(broker: Broker, watcher: Watcher, tmp_path: Path, protocol: str) -> Iterator[RunningNode]:
    """A node with one microphone, which is a quiet recording."""
    tape = write_wav(tmp_path / "tape.wav", np.zeros(16000, np.int16), 16000)
    audio = {"source": "files", "files": [{"mic": "tape", "file": str(tape), "loop": True}]}
    config = configuration(
        tmp_path, broker.port, [], audio={**audio, "devices": []}, mqtt={"protocol": protocol}
    )
    with RunningNode(tmp_path, config) as running:
        yield running.wait_online(watcher)


def fuzzed(chance: random.Random) -> bytes:
    """A request with the right keys and wrong values, or no request at all."""
    if chance.random() < 0.3:
        return chance.choice(RAW)
    if chance.random() < 0.1:
        return chance.randbytes(chance.randrange(2000))
    body: dict[str, Any] = {
        chance.choice(FIELDS): chance.choice(EVIL) for _ in range(chance.randrange(1, 4))
    }
    if chance.random() < 0.5:
        entry = {"mic": chance.choice((1, "tape", *EVIL)), "speaker": chance.choice(EVIL)}
        body["assignments"] = [entry] * chance.choice((1, 2, 90))
    return json.dumps(body, ensure_ascii=chance.random() < 0.7).encode(errors="surrogatepass")


def works(node: RunningNode, watcher: Watcher) -> None:
    """Whatever is left of it, a session can start and stop as before."""
    assert node.program.process.poll() is None, node.program.output()
    watcher.request(TOPIC, "session/stop", timeout=30)
    watcher.publish(f"{TOPIC}/mic/tape/enabled/set", "ON")
    body = {"assignments": [{"mic": "tape", "speaker": "Alice"}]}
    started = watcher.request(TOPIC, "session/start", body, timeout=30)
    assert started["status"] == "ok", started
    stopped = watcher.request(TOPIC, "session/stop", timeout=30)
    assert stopped["data"]["session_id"] == started["data"]["session_id"]


def outside(folder: Path, node: RunningNode) -> set[str]:
    """Return every file of the test's folder outside the storage folder."""
    files = (str(path.relative_to(folder)) for path in folder.rglob("*"))
    return {name for name in files if not name.startswith(node.storage.name)}


def rss_mb(node: RunningNode) -> float:
    return float(psutil.Process(node.pid).memory_info().rss / 2**20)


def test_fuzzed_commands(node: RunningNode, watcher: Watcher, tmp_path: Path) -> None:
    before, chance = outside(tmp_path, node), random.Random(SEED)
    works(node, watcher)
    used_mb = rss_mb(node)
    for round_ in range(8):
        after = watcher.count()
        for verb in (
            *VERBS,
            "",
            "../x",
            "session/start/",
            "Session/Start",
            string.printable[:60],
        ):
            watcher.publish(
                f"{TOPIC}/request/{verb.replace('#', '').replace('+', '')}", fuzzed(chance)
            )
        for topic in SHORTCUTS:
            watcher.publish(f"{TOPIC}/{topic}", fuzzed(chance))
        asked = len(watcher.messages(f"{TOPIC}/request/#", after))
        assert asked >= len(VERBS), round_
        watcher.request(TOPIC, "health/check", timeout=30)
    works(node, watcher)
    assert rss_mb(node) - used_mb < 40
    assert outside(tmp_path, node) == before
    kept = {path.name for path in node.storage.iterdir()}
    assert kept <= {"scribe.db", "scribe.db-wal", "scribe.db-shm", "ballast", "spool", "failed",
                    "transcripts", "audio", "announced.json", "lock"}, kept  # fmt: skip
    assert "Traceback" not in node.program.output()


@pytest.mark.parametrize("protocol", ["5"])
def test_every_request_that_can_be_read_is_answered(node: RunningNode, watcher: Watcher) -> None:
    chance = random.Random(SEED + 1)
    for verb in VERBS:
        for _ in range(10):
            after = watcher.count()
            watcher.publish(f"{TOPIC}/request/{verb}", fuzzed(chance))
            answer = watcher.wait_for(f"{TOPIC}/response/{verb}", 20, after).json()
            assert answer["status"] in {"ok", "error"}
            if answer["status"] == "error":
                assert 0 < len(answer["error"]["message"]) < 5000, answer
    works(node, watcher)


def test_megabytes(node: RunningNode, watcher: Watcher, protocol: str) -> None:
    works(node, watcher)
    used_mb = rss_mb(node)
    for size in (100_000, 900_000, 20_000_000):
        for topic in ("request/mics/assign", "session/set", "mic/tape/speaker/set", "info"):
            watcher.publish(f"{TOPIC}/{topic}", b"x" * size)
    works(node, watcher)
    answers = watcher.messages(f"{TOPIC}/response/mics/assign")
    assert {answer.json()["error"]["code"] for answer in answers} == {"too_large"}
    # With MQTT 5 the broker does not send the node more than it asked for.
    assert len(answers) == (2 if protocol == "5" else 3)
    assert rss_mb(node) - used_mb < (30 if protocol == "5" else 120)


def test_ten_thousand_at_once(node: RunningNode, broker: Broker, watcher: Watcher) -> None:
    """What does not fit is dropped, and reported when the burst is over."""
    works(node, watcher)
    used_mb, chance = rss_mb(node), random.Random(SEED + 2)
    verbs = [*VERBS, "x/y"]
    payloads = [fuzzed(chance)[:5000] for _ in range(50)]
    with Watcher(broker.port, topics=[f"{TOPIC}/event"], protocol=MQTTv311) as flood:
        for number in range(10_000):
            topic = f"{TOPIC}/request/{verbs[number % len(verbs)]}"
            flood._client.publish(topic, payloads[number % len(payloads)], 0)
        told = flood.wait_for(_is_drop, 60).json()["message"]
    assert 0 < int(told.split()[0]) < 10_000
    # A new client: mosquitto may have dropped what the flooded ones still wait for.
    with Watcher(broker.port, topics=[f"{TOPIC}/response/#"]) as calm:
        works(node, calm)
    assert rss_mb(node) - used_mb < 60


def _is_drop(message: Message) -> bool:
    return bool(message.json()["event_type"] == "commands_dropped")
