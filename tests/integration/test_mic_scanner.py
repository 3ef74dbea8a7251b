"""Looking for microphones holds up nothing else, however long PortAudio takes."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.rig.node import TOPIC, RunningNode, configuration
from tests.rig.processes import children

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.rig.broker import Broker
    from tests.rig.mqtt import Message, Watcher


@pytest.fixture
def node(tmp_path: Path, broker: Broker, watcher: Watcher) -> Iterator[RunningNode]:
    """A node that is online, whose PortAudio never answers."""
    (tmp_path / "sounddevice.py").write_text("import time; time.sleep(3600)")
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    with RunningNode(tmp_path, configuration(tmp_path, broker.port, ["desk"]), env) as running:
        running.wait_online(watcher)
        yield running


def answer_to(transaction: int) -> Callable[[Message], Any]:
    def fits(message: Message) -> bool:
        is_answer = message.topic.startswith(f"{TOPIC}/response/")
        return is_answer and message.json().get("transaction") == transaction

    return fits


def test_a_portaudio_that_hangs_keeps_nobody_waiting(node: RunningNode, watcher: Watcher) -> None:
    after = watcher.count()
    for number, verb in enumerate(["mics/detect", "health/check", "session/list"]):
        watcher.publish(f"{TOPIC}/request/{verb}", json.dumps({"transaction": number}))
    health, listed = (watcher.wait_for(answer_to(number), 30, after) for number in (1, 2))
    assert children(node.pid)  # PortAudio is still being asked
    watcher.publish(f"{TOPIC}/request/mics/detect", json.dumps({"transaction": 3}))
    answers = [watcher.wait_for(answer_to(number), 30, after) for number in (0, 3)]
    assert all(m.json()["status"] == "ok" for m in (health, listed, *answers))
    (mic,) = answers[0].json()["data"]["mics"]
    assert (mic["mic"], mic["connected"]) == ("desk", False)
    assert node.end() == 0


@pytest.mark.usefixtures("node")
def test_more_than_can_wait_are_answered_busy(watcher: Watcher) -> None:
    after = watcher.count()
    for number in range(70):
        body = json.dumps({"transaction": number})
        watcher.publish(f"{TOPIC}/request/mics/detect", body)
    answers = [watcher.wait_for(answer_to(number), 40, after).json() for number in range(70)]
    refused = [answer["error"]["code"] for answer in answers if answer["status"] == "error"]
    assert set(refused) == {"busy"}
    assert len(refused) == 5  # one scan has begun with the first, 64 wait for the next


def test_a_reload_that_names_no_input_any_more_leaves_nobody_waiting(
    tmp_path: Path, broker: Broker, node: RunningNode, watcher: Watcher
) -> None:
    after = watcher.count()
    for number in range(3):
        body = json.dumps({"transaction": number})
        watcher.publish(f"{TOPIC}/request/mics/detect", body)
    watcher.publish(f"{TOPIC}/request/health/check", json.dumps({"transaction": 3}))
    watcher.wait_for(answer_to(3), 30, after)  # the ones before it wait
    node.configure(configuration(tmp_path, broker.port, []))
    node.program.signal(signal.SIGHUP)
    answers = [watcher.wait_for(answer_to(number), 30, after) for number in range(3)]
    assert [message.json()["status"] for message in answers] == ["ok"] * 3
    assert answers[-1].json()["data"]["mics"] == []
