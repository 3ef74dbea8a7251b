"""`demo`: everything in one terminal: a private broker, the node, a recorded meeting, a listener.

The node runs as it would anywhere, in a process of its own; this command is one more MQTT client
of it, and uses nothing but the topics.
"""

from __future__ import annotations

import contextlib
import json
import logging
import multiprocessing
import os
import queue
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import wave
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from node.adapters.systemd import Notifier
from node.config import Config, load_config
from node.core.topics import Topics
from node.errors import NodeError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

CLONE = Path(__file__).parents[2]
INSTALLED = Path(sys.prefix) / "share" / "scribe-node"
DEMO = next(
    (place for root in (CLONE, INSTALLED) if (place := root / "config" / "demo").is_dir()),
    INSTALLED,
)
COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "red")

ONLINE_S = 60.0
ANSWER_S = 60.0
"""A loaded machine may take long; no step of the demo is waited for longer than this."""

AFTER_THE_LAST_WORD_S = 1.0


def run(_arguments: argparse.Namespace) -> int:
    console = Console(highlight=False)
    storage = _storage()
    with _broker() as port:
        config = load_config(DEMO / "node.yaml").with_changes(
            mqtt_host="127.0.0.1", mqtt_port=port, storage_path=storage
        )
        with _node(config), _Listener(config) as listener:
            console.print(f"Broker on port {port}: point MQTT Explorer at localhost:{port}.")
            _play(console, config, listener)
            console.print(
                f"\nStill serving: broker on localhost:{port}, topics {listener.topics.root}/#,"
                f" log in {storage / 'demo.log'}. Ctrl-C ends it."
            )
            _wait_for_ctrl_c()
    return 0


def _play(console: Console, config: Config, listener: _Listener) -> None:
    """Assign, start, show the segments as they come, stop, and show the whole."""
    listener.wait_online()
    info = listener.wait_for(listener.topics.info)
    if info["model_notice"]:
        console.print(Text(info["model_notice"], style="yellow"))
    speakers = _speakers()
    listener.ask(
        "mics/assign",
        {"assignments": [{"mic": mic, "speaker": name} for mic, name in speakers.items()]},
    )
    listener.ask("session/start", {"title": "Demo"})
    seconds = max(_seconds(item.file) for item in config.audio.files)
    console.print(f"{', '.join(speakers.values())} talk for {seconds:.0f} s; live over MQTT:\n")
    colours = dict(zip(speakers.values(), COLOURS, strict=False))
    for segment in listener.segments(until=time.monotonic() + seconds + AFTER_THE_LAST_WORD_S):
        _show(console, segment, colours)
    listener.tell("session/stop", {})
    final = listener.wait_for(listener.topics.final, others=lambda s: _show(console, s, colours))
    console.print(Panel(Text(final["text"].rstrip()), title="Transcript, in order of speech"))
    for form, path in final["files"].items():
        console.print(f"{form:>5}  {path}", soft_wrap=True)


def _show(console: Console, segment: dict[str, Any], colours: dict[str, str]) -> None:
    line = Text(f"{segment['start'][11:19]} ", style="dim")
    line.append(f"{segment['speaker']:<8}", style=colours.get(segment["speaker"], "white"))
    line.append(segment["text"])
    line.append(f"  {segment['language']}, {segment['latency_s']:.1f} s", style="dim")
    console.print(line, soft_wrap=True)


class _Listener:
    """An MQTT client like any other: what it receives, it takes out of a queue, in order."""

    def __init__(self, config: Config) -> None:
        self.topics = Topics(config.mqtt.base_topic, config.node.id)
        self._port = config.mqtt.port
        self._received: queue.SimpleQueue[MQTTMessage] = queue.SimpleQueue()
        self._client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)

    def __enter__(self) -> Self:
        self._client.on_message = lambda _client, _data, message: self._received.put(message)
        self._client.connect("127.0.0.1", self._port)
        self._client.subscribe(f"{self.topics.root}/#", qos=1)
        self._client.loop_start()
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def wait_online(self) -> None:
        for message in self._until(time.monotonic() + ONLINE_S):
            if message.topic == self.topics.status and message.payload == b"online":
                return
        raise NodeError(f"the node is not online after {ONLINE_S:.0f} s; see its log")

    def tell(self, verb: str, request: dict[str, Any]) -> None:
        payload = json.dumps(request, ensure_ascii=False)
        self._client.publish(f"{self.topics.root}/request/{verb}", payload, qos=1)

    def ask(self, verb: str, request: dict[str, Any]) -> Any:
        self.tell(verb, request)
        answer = self.wait_for(self.topics.response(verb))
        if answer["status"] != "ok":
            raise NodeError(f"{verb}: {answer['error']['message']}")
        return answer["data"]

    def wait_for(self, topic: str, others: Any = None) -> Any:
        """The next JSON on `topic`; segments that come meanwhile go to `others`."""
        for message in self._until(time.monotonic() + ANSWER_S):
            if message.topic == topic:
                return json.loads(message.payload)
            if others is not None and message.topic.endswith("/segment"):
                others(json.loads(message.payload))
        raise NodeError(f"nothing on {topic} after {ANSWER_S:.0f} s; see the node's log")

    def segments(self, until: float) -> Iterator[dict[str, Any]]:
        for message in self._until(until):
            if message.topic.endswith("/segment"):
                yield json.loads(message.payload)

    def _until(self, deadline: float) -> Iterator[MQTTMessage]:
        while (left := deadline - time.monotonic()) > 0:
            with contextlib.suppress(queue.Empty):
                yield self._received.get(timeout=left)


@contextlib.contextmanager
def _broker() -> Iterator[int]:
    """A mosquitto of our own on a free loopback port, gone with the demo."""
    program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        raise NodeError("mosquitto is not installed; `sudo apt install mosquitto`")
    with tempfile.TemporaryDirectory(prefix="scribe-demo-") as folder:
        port = _free_port()
        file = Path(folder) / "mosquitto.conf"
        file.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n")
        # In a group of its own: Ctrl-C is for the demo, which ends the node before its broker.
        process = subprocess.Popen(
            [program, "-c", str(file)], stderr=subprocess.DEVNULL, process_group=0
        )
        try:
            _wait_for_port(port, process)
            yield port
        finally:
            process.terminate()
            process.wait()


@contextlib.contextmanager
def _node(config: Config) -> Iterator[None]:
    """The node in a process of its own, which ends as a service ends: by SIGTERM."""
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(config,))
    process.start()
    try:
        yield
    finally:
        process.terminate()
        process.join()


def _serve(config: Config) -> None:
    from node.app import Node  # noqa: PLC0415  # loads the engine's libraries: not in the parent

    os.setsid()  # Ctrl-C is for the demo, which ends the node in its own time
    log = config.storage.path / "demo.log"
    logging.basicConfig(filename=log, level=logging.INFO, format="%(asctime)s %(message)s")
    sys.exit(Node(config, DEMO / "node.yaml", Notifier()).run())


def _storage() -> Path:
    """Where the demo's transcripts stay after it, so that they can be looked at."""
    home = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share")
    folder = home / "scribe-node-demo"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def _speakers() -> dict[str, str]:
    """Name by mic, in the order in which they first speak."""
    reference = json.loads((DEMO / "reference.json").read_text(encoding="utf-8"))
    return {spoken["mic"]: spoken["speaker"] for spoken in reference}


def _seconds(file: Path) -> float:
    with wave.open(str(file)) as recording:
        frames, rate = recording.getnframes(), recording.getframerate()
    return float(frames / rate)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
            return
        time.sleep(0.02)
    raise NodeError("mosquitto does not start; run it by hand to see why")


def _wait_for_ctrl_c() -> None:
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            time.sleep(3600)
