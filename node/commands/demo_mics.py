"""`demo --mics`: speak into your own microphones, and read what a real model writes.

Broker and node are private, as for the recorded meeting; `--config` sets microphones, model and
the like where the defaults do not fit.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from node.commands import fetch_model
from node.commands.demo_client import ANSWER_S, SPEAKER_COLOURS, DemoFollower, show, show_transcript
from node.commands.private_node import (
    LOG,
    make_private,
    private_broker,
    private_node,
    private_storage,
)
from node.config import (
    Config,
    HomeAssistantConfig,
    MqttConfig,
    NodeConfig,
    SessionConfig,
    StorageConfig,
    load_config,
)
from node.errors import ConfigError, MicError, ModelError, StoreError
from node.service.inventory import Inventory

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from paho.mqtt.client import MQTTMessage

    from node.config import AudioConfig

NO_MIC = (
    "no microphone was found{away}: plug in a USB microphone (`arecord -l` must list it), or name"
    " another input in audio.devices of a configuration file and give that with --config (make:"
    " CONFIG=); `make run` alone needs no microphone"
)


def run(arguments: argparse.Namespace) -> int:
    """Listen until Ctrl-C, then show the transcript; return the exit status.

    Raises:
        ConfigError: the configuration or the number of names is wrong.
        MicError: there is no microphone; the text says what to do.
        ModelError: the model is not here and cannot be fetched, or cannot be loaded.
        NodeError: the broker cannot be started, or the node refuses or has ended.
        StoreError: the storage folder cannot be used.
    """
    given = load_config(arguments.config) if arguments.config else Config()
    # First, or a model would be fetched for nothing.
    inventory = Inventory(_microphones(given))
    inventory.learn(inventory.names())
    found = inventory.find()
    _check_mics([mic.name for mic in found], [mic.name for mic in found if mic.connected])
    with private_storage("scribe-node-demo-mics") as storage:
        _share_models(given, storage)
        _have_model(given)
        _serve(Console(highlight=False), _own(given, storage), arguments)
    return 0


def _serve(console: Console, own: Config, arguments: argparse.Namespace) -> None:
    storage = own.storage.path
    file = arguments.config or storage / "node.yaml"
    with private_broker() as port:
        config = own.with_changes(mqtt_host="127.0.0.1", mqtt_port=port)
        with private_node(config, file) as is_alive, DemoFollower(config, is_alive) as listener:
            console.print(
                f"Broker on port {port}: point MQTT Explorer at localhost:{port}."
                f" Log in {storage / LOG}.",
                soft_wrap=True,
            )
            _hold_session(console, listener, arguments.speaker)


def _microphones(given: Config) -> AudioConfig:
    return given.audio.model_copy(update={"source": "portaudio", "files": ()})


def _own(given: Config, storage: Path) -> Config:
    """Return the given settings for hearing and transcribing, the demo's own for all else."""
    changes = {
        "node": NodeConfig(id="demo"),
        "mqtt": MqttConfig(),
        "audio": _microphones(given),
        "transcription": given.transcription.model_copy(update={"partials": True, "where": "here"}),
        "session": SessionConfig(),
        "storage": StorageConfig(path=storage),
        "homeassistant": HomeAssistantConfig(),
    }
    return given.model_copy(update=changes)


def _share_models(given: Config, storage: Path) -> None:
    """Keep models in the ordinary storage folder, so that the service finds what is fetched here.

    Raises:
        StoreError: the folder cannot be made.
    """
    models, link = given.storage.path / "models", storage / "models"
    make_private(given.storage.path)
    make_private(models)
    try:
        if link.is_symlink():
            link.unlink()
        if not link.exists():
            link.symlink_to(models, target_is_directory=True)
    except OSError as error:
        raise StoreError(f"{link} cannot be made: {error.strerror}") from error


def _have_model(given: Config) -> None:
    """Fetch the model if it has a name and is not on this machine.

    Raises:
        ModelError: there is no such model, or it cannot be fetched; the text says what to do.
    """
    if given.transcription.model_folder is None:
        fetch_model.fetch(given.transcription.model, given.storage.path / "models")


def _check_mics(known: list[str], connected: list[str]) -> None:
    if not connected:
        away = f" ({', '.join(known)}: not connected)" if known else ""
        raise MicError(NO_MIC.format(away=away))


def _hold_session(console: Console, listener: DemoFollower, names: list[str]) -> None:
    """Name each microphone, start, show what is said until Ctrl-C, then the transcript."""
    listener.wait_online()
    info = listener.wait_for(listener.topics.info)
    if info["model_state"] != "ready":
        raise ModelError(info["model_notice"])
    if info["model_notice"]:
        console.print(Text(info["model_notice"], style="yellow"))
    speakers = _assign(console, listener.ask("mics/detect", {})["mics"], names)
    assignments = [{"mic": mic, "speaker": name} for mic, name in speakers.items()]
    session = listener.ask("session/start", {"title": "Demo", "assignments": assignments})
    console.print("\nSpeak; Ctrl-C ends it.\n")
    colours = dict(zip(speakers.values(), SPEAKER_COLOURS, strict=False))
    with Page(console, session["session_id"], colours) as page:
        final = _listen(listener, page)
    if final["text"].strip():
        show_transcript(console, final)
    else:
        console.print("Nothing was heard; `python -m node mics` shows each microphone's level.")


def _assign(console: Console, mics: list[dict[str, Any]], names: list[str]) -> dict[str, str]:
    """Return the speaker of each connected mic, in the order of the list."""
    connected = [mic for mic in mics if mic["connected"]]
    _check_mics([mic["name"] for mic in mics], [mic["name"] for mic in connected])
    if len(names) > len(connected):
        raise ConfigError([f"--speaker: {len(names)} names for {len(connected)} microphones"])
    missing = [f"Micro {number}" for number in range(len(names) + 1, len(connected) + 1)]
    speakers = {}
    for mic, name in zip(connected, [*names, *missing], strict=True):
        speakers[mic["mic"]] = name
        console.print(Text(f"{name}: {mic['name']} ({mic['mic']})"))
    return speakers


def _listen(listener: DemoFollower, page: Page) -> dict[str, Any]:
    """Show what is said until it is ended, here or over MQTT; return the final transcript."""
    try:
        return _follow(listener, page, math.inf)
    except KeyboardInterrupt:
        page.say("Transcribing the last words …")
        listener.tell("session/stop", {"session_id": page.session_id})
        return _follow(listener, page, ANSWER_S)


def _follow(listener: DemoFollower, page: Page, patience_s: float) -> dict[str, Any]:
    """Show all that arrives before the final transcript, and return that.

    Raises:
        NodeError: nothing has arrived for `patience_s` seconds, or the node has ended.
    """
    while True:
        message = listener.next(patience_s)
        if message.topic != listener.topics.final:
            page.take(message)
            continue
        final: dict[str, Any] = json.loads(message.payload)
        if final["session_id"] == page.session_id:
            return final


class Page:
    """Finished lines, one by one; below them, on a terminal, what is being said now."""

    def __init__(self, console: Console, session_id: str, colours: dict[str, str]) -> None:
        self.session_id = session_id
        self._console = console
        self._colours = colours
        self._saying: dict[str, dict[str, Any]] = {}
        self._live = Live(console=console, transient=True, auto_refresh=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def say(self, text: str) -> None:
        self._console.print(Text(text, style="dim"))

    def take(self, message: MQTTMessage) -> None:
        """Show a segment of this session, a growing text or an event; ignore all else."""
        match message.topic.split("/")[2:]:
            case ["mic", _, "segment"] if body := self._own(message):
                # A text that turns out to be somebody else's words is never finished, so all are
                # removed: those of people who still speak are back within a second.
                self._saying.clear()
                self._refresh()
                show(self._console, body, self._colours)
            case ["mic", mic, "partial"] if body := self._own(message):
                self._saying[mic] = body
                self._refresh()
            case ["event"]:
                event = json.loads(message.payload)
                self._console.print(Text(event["message"], style="yellow"), soft_wrap=True)

    def _own(self, message: MQTTMessage) -> dict[str, Any] | None:
        """Return a message's JSON if it is of this session, not of one that a crash left."""
        body: dict[str, Any] = json.loads(message.payload)
        return body if body["session_id"] == self.session_id else None

    def _refresh(self) -> None:
        text = Text()
        for said in self._saying.values():
            text.append(f"{said['speaker']:<7} ", style=self._colours.get(said["speaker"], "white"))
            text.append(f"{said['text']} …\n", style="dim")
        self._live.update(text, refresh=True)
