"""`demo`: everything in one terminal: a private broker, the node, a recorded meeting, a listener.

The node runs as it would anywhere, in a process of its own; this command is just another MQTT
client of it, and uses only its topics. With `--mics` you speak yourself: see `demo_mics`.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
import wave
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from node.commands import demo_mics
from node.commands.demo_client import SPEAKER_COLOURS, DemoFollower, show, show_transcript
from node.commands.private_node import (
    LOG,
    end_with_the_terminal,
    private_broker,
    private_node,
    private_storage,
)
from node.commands.private_page import private_page
from node.config import Config, load_config
from node.errors import ConfigError

if TYPE_CHECKING:
    import argparse

CLONE = Path(__file__).parents[2]
INSTALLED = Path(sys.prefix) / "share" / "scribe-node"
DEMO = next(
    (place for root in (CLONE, INSTALLED) if (place := root / "config" / "demo").is_dir()),
    INSTALLED,
)

AFTER_THE_LAST_WORD_S = 1.0


def run(arguments: argparse.Namespace) -> int:
    """Play the recorded meeting, or listen to the microphones; return the exit status.

    Raises:
        ConfigError: an argument or the configuration is wrong.
        NodeError: what the demonstration needs is missing; the text says what to do.
    """
    end_with_the_terminal()
    if arguments.mics:
        return demo_mics.run(arguments)
    if arguments.config or arguments.speaker:
        raise ConfigError(
            ["--config, --speaker: only with --mics; the recorded meeting has its own"]
        )
    return _run_the_meeting()


def _run_the_meeting() -> int:
    console = Console(highlight=False)
    file = DEMO / "node.yaml"
    with private_storage("scribe-node-demo") as storage, private_broker() as port:
        config = load_config(file).with_changes(
            mqtt_host="127.0.0.1", mqtt_port=port, storage_path=storage
        )
        with (
            private_node(config, file) as is_alive,
            private_page(config) as page,
            DemoFollower(config, is_alive) as listener,
        ):
            console.print(f"Broker on port {port}: point MQTT Explorer at localhost:{port}.")
            if page is not None:
                console.print(f"The same as a page: open {page}")
            _play(console, config, listener)
            console.print(
                f"\nStill serving: broker on localhost:{port}, topics {listener.topics.root}/#,"
                f" log in {storage / LOG}. Ctrl-C ends it."
            )
            _wait_for_ctrl_c()
    return 0


def _play(console: Console, config: Config, listener: DemoFollower) -> None:
    """Assign, start, show the segments as they arrive, stop, and show the transcript."""
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
    colours = dict(zip(speakers.values(), SPEAKER_COLOURS, strict=False))
    for segment in listener.segments(until=time.monotonic() + seconds + AFTER_THE_LAST_WORD_S):
        show(console, segment, colours)
    listener.tell("session/stop", {})
    final = listener.wait_for(listener.topics.final, others=lambda s: show(console, s, colours))
    show_transcript(console, final)


def _speakers() -> dict[str, str]:
    """Return the speaker of each mic, in the order in which they first speak."""
    reference = json.loads((DEMO / "reference.json").read_text(encoding="utf-8"))
    return {spoken["mic"]: spoken["speaker"] for spoken in reference}


def _seconds(file: Path) -> float:
    with wave.open(str(file)) as recording:
        frames, rate = recording.getnframes(), recording.getframerate()
    return float(frames / rate)


def _wait_for_ctrl_c() -> None:
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            time.sleep(3600)
