"""What Prometheus reads of a running node."""

from __future__ import annotations

import socket
import subprocess
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

from prometheus_client.parser import text_string_to_metric_families

from tests.model.sentences import SENTENCES
from tests.rig.broker import free_port
from tests.rig.commands import command, write
from tests.rig.node import ROOT, Room, RunningNode, configuration
from tests.rig.processes import wait_until
from tests.rig.vmics import VirtualMic, VirtualMics

if TYPE_CHECKING:
    from pathlib import Path

    from tests.rig.broker import Broker
    from tests.rig.mqtt import Watcher

HELLO = SENTENCES[0]


def page(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text: str = answer.read().decode()
    return text


def scraped(port: int) -> dict[tuple[str, str], float]:
    """Every figure by its name and its label."""
    return {
        (sample.name, "".join(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(page(port))
        for sample in family.samples
    }


def with_metrics(folder: Path, broker: Broker, *mics: str, **keys: Any) -> dict[str, Any]:
    metrics = {"enabled": True, "port": free_port(), **keys}
    return configuration(folder, broker.port, mics, metrics=metrics)


def test_a_session_is_seen_in_the_metrics(broker: Broker, watcher: Watcher, tmp_path: Path) -> None:
    config = with_metrics(tmp_path, broker, "desk")
    port = config["metrics"]["port"]
    with (
        VirtualMics([VirtualMic("desk")]) as mics,
        RunningNode(tmp_path, config, mics.env) as node,
    ):
        room = Room(node.wait_online(watcher), mics, watcher)
        wait_until(lambda: scraped(port)["scribe_broker_connected", ""], 15, "the broker is seen")
        assert scraped(port)["scribe_session_state", "idle"] == 1
        session = room.do(
            "session/start",
            title="Secret plans",
            assignments=[{"mic": "desk", "speaker": "Alice"}],
        )["session_id"]
        room.say("desk", HELLO)
        room.segments(session, 1)
        wait_until(
            lambda: scraped(port)["scribe_session_segments", ""] == 1, 15, "a segment is counted"
        )
        told = scraped(port)
        assert told["scribe_session_state", "recording"] == 1
        assert told["scribe_mic_recording", "desk"] == 1
        assert told["scribe_mic_connected", "desk"] == 1
        assert told["scribe_reconnects_total", ""] == 0
        health = room.do("health/check")
        assert 0 < told["scribe_uptime_seconds", ""] <= health["uptime_s"]
        said = page(port)
        assert not [word for word in ("Alice", "Secret", HELLO.text, session) if word in said]
        room.stop()
        assert node.end() == 0
    with socket.socket() as free:
        assert free.connect_ex(("127.0.0.1", port)) != 0


def test_they_are_off_by_default_and_on_this_machine_only(
    broker: Broker, watcher: Watcher, tmp_path: Path
) -> None:
    config = with_metrics(tmp_path, broker)
    port = config["metrics"]["port"]
    with RunningNode(tmp_path, config) as node:
        node.wait_online(watcher)
        wait_until(lambda: page(port), 15, "the page is there")
        listening = subprocess.run(
            ["ss", "-Hltn", f"sport = :{port}"], check=True, capture_output=True, text=True
        )
        assert [line.split()[3] for line in listening.stdout.splitlines()] == [f"127.0.0.1:{port}"]
        assert node.end() == 0
        del config["metrics"]["enabled"]
        node.configure(config)
        after = watcher.count()
        node.start().wait_online(watcher, after)
        with socket.socket() as closed:
            assert closed.connect_ex(("127.0.0.1", port)) != 0


def test_a_port_that_is_taken_only_delays_them(
    broker: Broker, watcher: Watcher, tmp_path: Path
) -> None:
    config = with_metrics(tmp_path, broker)
    port = config["metrics"]["port"]
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        node = RunningNode(tmp_path, config)
        with node:
            node.wait_online(watcher)
            said = "metrics.host, metrics.port: Address already in use"
            wait_until(lambda: said in node.program.output(), 15, "the node says why")
            other.close()
            wait_until(lambda: is_served(port), 15, "the page is there")
            assert node.program.output().count(said) == 1


def is_served(port: int) -> bool:
    try:
        return bool(page(port))
    except urllib.error.URLError:
        return False


def test_a_missing_package_is_named(broker: Broker, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import sys; sys.modules['prometheus_client'] = None"
    )
    file = write(tmp_path, with_metrics(tmp_path, broker))
    done = subprocess.run(
        command("run", "--config", file),
        cwd=ROOT,
        env={"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 78
    assert "metrics.enabled: the package prometheus-client is not installed; run" in done.stderr
