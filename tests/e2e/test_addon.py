"""The add-on's start, with a server that answers as the Supervisor does, and real sound."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from node.config import load_config
from tests.model.sentences import SENTENCES
from tests.rig.broker import HOST, Broker
from tests.rig.mqtt import Watcher
from tests.rig.node import MODEL, ROOT, spoken
from tests.rig.processes import Program, need, wait_until
from tests.rig.supervisor import TOKEN, Supervisor, audio_info
from tests.rig.vmics import VirtualMic, VirtualMics

if TYPE_CHECKING:
    from collections.abc import Iterator

ADDON = ROOT / "config/home-assistant/addon"
OPTIONS: dict[str, Any] = yaml.safe_load((ADDON / "config.yaml").read_text(encoding="utf-8"))[
    "options"
]
BLUE, TABLE, TABLE_2 = "alsa_input.usb-Blue", "alsa_input.usb-table-1", "alsa_input.usb-table-2"
INPUTS = {BLUE: "Blue Snowball Mono", TABLE: "USB Audio Analog", TABLE_2: "USB Audio Analog"}
SERVICE = {"host": "core-mosquitto", "port": 1883, "username": "addons", "password": "s€cret"}
NODE = "scribe/homeassistant"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The add-on's folder /data; a file with the node's command stands in for it in PATH."""
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


def command(data: Path, url: str, options: dict[str, Any]) -> list[str | Path]:
    (data / "options.json").write_text(json.dumps({**OPTIONS, **options}))
    share = data.parent / "share" / "scribe-node"
    places: list[str | Path] = ["--data", data, "--share", share, "--supervisor", url]
    return [sys.executable, ADDON / "start.py", *places]


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "SUPERVISOR_TOKEN": TOKEN, **more}


def start(
    data: Path, answers: dict[str, Any], env: dict[str, str] | None = None, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run the start with a program in place of the node, which prints its arguments."""
    (data.parent / "bin").mkdir()
    stand_in = data.parent / "bin" / "scribe-node"
    stand_in.write_text('#!/bin/sh\necho "$@"\n')
    stand_in.chmod(0o755)
    path = f"{stand_in.parent}:{os.environ['PATH']}"
    with Supervisor(answers) as supervisor:
        return subprocess.run(
            command(data, supervisor.url, options),
            env={**environment(PATH=path), **(env or {})},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


def answers(inputs: dict[str, str], **service: Any) -> dict[str, Any]:
    return {"/services/mqtt": {**SERVICE, **service}, "/audio/info": audio_info(inputs)}


def test_the_defaults_make_a_configuration_of_all_inputs(data: Path) -> None:
    done = start(data, answers(INPUTS), {"TZ": "Europe/Paris"})
    assert (done.returncode, done.stdout) == (0, f"run --config {data}/node.yaml\n"), done.stderr
    config = load_config(data / "node.yaml")
    assert (config.mqtt.host, config.mqtt.port) == ("core-mosquitto", 1883)
    assert config.mqtt.username == "addons"
    assert not config.mqtt.tls.enabled
    assert config.mqtt.password_file is not None
    assert Path(config.mqtt.password_file).read_text(encoding="utf-8") == "s€cret"
    assert Path(config.mqtt.password_file).stat().st_mode & 0o777 == 0o600
    assert [device.mic for device in config.audio.devices] == [
        "blue_snowball_mono",
        "alsa_input_usb_table_1",
        "alsa_input_usb_table_2",
    ]
    assert config.homeassistant.enabled
    assert config.transcription.model == "base"
    sources = (data / ".asoundrc").read_text(encoding="utf-8")
    assert all(f'device "{name}"' in sources for name in INPUTS)


def test_the_options_choose_inputs_languages_model_and_names(data: Path) -> None:
    microphones = [{"name": "desk", "input": "snowball"}, {"name": "door", "input": "table-2"}]
    wanted: dict[str, Any] = {"languages": ["fr"], "model": "small", "entity_names": "fr"}
    done = start(data, answers(INPUTS, ssl=True, port=8883), microphones=microphones, **wanted)
    assert done.returncode == 0, done.stderr
    config = load_config(data / "node.yaml")
    assert [(one.mic, one.device) for one in config.audio.devices] == [
        ("desk", "scribe_desk"),
        ("door", "scribe_door"),
    ]
    assert config.transcription.languages == ("fr",)
    assert (config.transcription.model, config.homeassistant.language) == ("small", "fr")
    assert (config.mqtt.tls.enabled, config.mqtt.port) == (True, 8883)
    sources = (data / ".asoundrc").read_text(encoding="utf-8")
    assert TABLE_2 in sources
    assert f'"{TABLE}"' not in sources


@pytest.mark.parametrize("wanted", ["USB Audio", "no such"])
def test_a_microphone_that_is_not_exactly_one_input_is_refused(data: Path, wanted: str) -> None:
    done = start(data, answers(INPUTS), microphones=[{"name": "desk", "input": wanted}])
    assert done.returncode == 1
    assert f"`{wanted}` of microphone desk" in done.stderr
    assert f"Blue Snowball Mono ({BLUE})" in done.stderr
    assert not (data / "node.yaml").exists()


def test_without_a_broker_it_says_what_to_install(data: Path) -> None:
    done = start(data, {"/audio/info": audio_info({})})
    assert done.returncode == 1
    assert "services/mqtt" in done.stderr
    assert "Mosquitto broker" in done.stderr


def test_what_the_supervisor_refuses_is_said(data: Path) -> None:
    done = start(data, answers({}), {"SUPERVISOR_TOKEN": "wrong"})
    assert done.returncode == 1
    assert "401" in done.stderr


def test_without_inputs_the_node_starts_all_the_same(data: Path) -> None:
    assert start(data, answers({})).returncode == 0
    assert load_config(data / "node.yaml").audio.devices == ()


@pytest.fixture
def sound_server() -> Iterator[VirtualMics]:
    """A PulseAudio with one source that is not a monitor, as a USB microphone is."""
    need("pactl")
    with VirtualMics([VirtualMic("room")]) as virtual:
        module = ("load-module", "module-remap-source", "master=mic.monitor", f"source_name={BLUE}")
        server = {"PULSE_SERVER": f"unix:{virtual.folder}/room/s"}
        subprocess.run(["pactl", *module], env=virtual.env | server, check=True, stdout=-3)
        virtual.env.update(server)
        yield virtual


def test_from_the_start_to_the_first_segment(
    data: Path, broker: Broker, sound_server: VirtualMics
) -> None:
    """Nothing is typed but a name, in the field that Home Assistant shows."""
    scripts = str(Path(sys.executable).parent)
    path = f"{scripts}:{os.environ['PATH']}"
    env = environment() | sound_server.env | {"PATH": path, "HOME": str(data)}
    del env["ALSA_CONFIG_PATH"]  # the system's, which reads .asoundrc
    anybody = {"/services/mqtt": {"host": HOST, "port": broker.port}}
    mic = f"{NODE}/mic/blue_snowball_mono"
    with (
        Supervisor(answers({BLUE: INPUTS[BLUE]}) | anybody) as supervisor,
        Watcher(broker.port) as seen,
        Program(command(data, supervisor.url, {"model": str(MODEL)}), env) as node,
    ):
        seen.wait_for(lambda m: m.topic == f"{NODE}/status" and m.text == "online", 60)
        found = seen.wait_for("homeassistant/device/+/config", 20).json()
        assert found["components"], "Home Assistant is told by itself"
        wait_until(lambda: connected(seen, mic), 30, "the microphone is found")
        seen.publish(f"{mic}/speaker/set", "Alice")
        seen.publish(f"{NODE}/session/set", "ON")
        wait_until(lambda: state(seen) == "recording", 30, node.output())
        sound_server.play("room", spoken(SENTENCES[0]), 16000)
        segment = seen.wait_for(f"{mic}/segment", 30).json()
        assert (segment["speaker"], segment["text"]) == ("Alice", SENTENCES[0].text)
        seen.publish(f"{NODE}/session/set", "OFF")
        final = seen.wait_for(f"{NODE}/transcript/final", 60).json()
        node.signal(signal.SIGTERM)
        assert node.wait(60) == 0, node.output()
    kept = {file.name for file in (data.parent / "share/scribe-node").iterdir()}
    assert kept == {Path(path).name for path in final["files"].values()}


def connected(seen: Watcher, mic: str) -> bool:
    return any(message.json()["connected"] for message in seen.messages(f"{mic}/state"))


def state(seen: Watcher) -> str:
    return str(seen.messages(f"{NODE}/session")[-1].json()["state"])
