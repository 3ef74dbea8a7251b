"""The add-on's start, with a server that answers as the Supervisor does, and real sound."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from node.config import load_config
from tests.model.sentences import SENTENCES
from tests.rig.broker import HOST, Broker, free_port
from tests.rig.mqtt import Watcher
from tests.rig.node import MODEL, ROOT, spoken
from tests.rig.prefix_proxy import PrefixProxy
from tests.rig.processes import Program, children, command_line, need, wait_until
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
SUPERVISOR = "127.0.0.2"
"""Stands for 172.30.32.2: another address of this machine."""


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
    places += ["--page-folder", data.parent / "page"]
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


def test_a_microphone_that_several_inputs_fit_is_refused(data: Path) -> None:
    done = start(data, answers(INPUTS), microphones=[{"name": "desk", "input": "USB Audio"}])
    assert done.returncode == 1
    assert "2 inputs fit `USB Audio` of microphone desk" in done.stderr
    assert f"Blue Snowball Mono ({BLUE})" in done.stderr
    assert not (data / "node.yaml").exists()


def test_a_microphone_that_is_not_there_is_said_and_waited_for(data: Path) -> None:
    wanted = [{"name": "desk", "input": "no such"}, {"name": "door", "input": "snowball"}]
    done = start(data, answers(INPUTS), microphones=wanted)
    assert done.returncode == 0, done.stderr
    assert "No input fits `no such` of microphone desk yet." in done.stdout
    assert f"Blue Snowball Mono ({BLUE})" in done.stdout
    assert [one.mic for one in load_config(data / "node.yaml").audio.devices] == ["door"]


def test_without_a_broker_it_says_what_to_install(data: Path) -> None:
    done = start(data, {"/audio/info": audio_info({})})
    assert done.returncode == 1
    assert "services/mqtt" in done.stderr
    assert "Mosquitto broker" in done.stderr


def test_what_the_supervisor_refuses_is_said(data: Path) -> None:
    done = start(data, answers({}), {"SUPERVISOR_TOKEN": "wrong"})
    assert done.returncode == 1
    assert "401" in done.stderr


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n[{}]",
        b'HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{"data": 1}',
        b"nonsense\r\n\r\n",
        b"",
    ],
    ids=["cut off", "no JSON", "a list", "a number", "no HTTP", "nothing"],
)
def test_a_broken_answer_does_not_end_a_recording(data: Path, answer: bytes) -> None:
    spec = importlib.util.spec_from_file_location("addon_start", ADDON / "start.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with socket.create_server((HOST, 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        serving = threading.Thread(target=serve)
        serving.start()
        url = f"http://{HOST}:{server.getsockname()[1]}"
        assert not module.Setup(data, OPTIONS, SERVICE).look(url)
        serving.join()


def test_without_inputs_the_node_starts_all_the_same(data: Path) -> None:
    assert start(data, answers({})).returncode == 0
    assert load_config(data / "node.yaml").audio.devices == ()


@pytest.fixture
def sound_server() -> Iterator[VirtualMics]:
    """A PulseAudio, still without a source that is not a monitor."""
    need("pactl")
    with VirtualMics([VirtualMic("room")]) as virtual:
        virtual.env["PULSE_SERVER"] = f"unix:{virtual.folder}/room/s"
        yield virtual


def plug_in(sound_server: VirtualMics, known: dict[str, Any]) -> None:
    """Add a source to the sound server, as a USB microphone does, and to what is known of it."""
    module = ("load-module", "module-remap-source", "master=mic.monitor", f"source_name={BLUE}")
    subprocess.run(["pactl", *module], env=sound_server.env, check=True, stdout=-3)
    known["/audio/info"] = audio_info({BLUE: INPUTS[BLUE]})


class Ingress:
    """A browser whose requests come through Home Assistant's ingress, over plain HTTP."""

    def __init__(self, proxy: PrefixProxy) -> None:
        self._url = proxy.url

    def ask(self, path: str, body: object = None) -> Any:
        home = "homeassistant.local:8123"
        headers = {"Host": home, "Origin": f"http://{home}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data, headers)  # noqa: S310
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            return json.load(answer)

    def is_there(self) -> bool:
        try:
            nodes: list[dict[str, Any]] = self.ask("api/nodes")["nodes"]
        except OSError:
            return False
        return [one["online"] for one in nodes] == [True]


def status_of_others(port: int) -> int:
    """Return how the page answers who does not come through the ingress."""
    try:
        with urllib.request.urlopen(f"http://{HOST}:{port}/api/nodes", timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_from_the_start_to_the_first_segment(
    data: Path, broker: Broker, sound_server: VirtualMics
) -> None:
    """Nothing is typed but a name, on the page; the microphone is plugged in after the start."""
    scripts = str(Path(sys.executable).parent)
    path = f"{scripts}:{os.environ['PATH']}"
    env = environment() | sound_server.env | {"PATH": path, "HOME": str(data)}
    del env["ALSA_CONFIG_PATH"]  # the system's, which reads .asoundrc
    known = answers({}) | {"/services/mqtt": {"host": HOST, "port": broker.port}}
    mic, port = "blue_snowball_mono", free_port()
    page = ["--ingress", SUPERVISOR, "--listen", f"0.0.0.0:{port}"]
    with (
        Supervisor(known) as supervisor,
        Watcher(broker.port) as seen,
        PrefixProxy(port, SUPERVISOR) as proxy,
        Program([*command(data, supervisor.url, {"model": str(MODEL)}), *page], env) as node,
    ):
        browser = Ingress(proxy)
        seen.wait_for(lambda m: m.topic == f"{NODE}/status" and m.text == "online", 60)
        wait_until(browser.is_there, 60, "the page shows the node")
        assert status_of_others(port) == 403
        plug_in(sound_server, known)
        wait_until(lambda: connected(seen, f"{NODE}/mic/{mic}"), 60, "the microphone is found")
        found = seen.wait_for("homeassistant/device/+/config", 20).json()
        assert found["components"], "Home Assistant is told by itself"
        start = {"assignments": [{"mic": mic, "speaker": "Alice"}]}
        assert browser.ask("api/nodes/homeassistant/start", start)["status"] == "ok"
        sound_server.play("room", spoken(SENTENCES[0]), 16000)
        segment = seen.wait_for(f"{NODE}/mic/{mic}/segment", 30).json()
        assert (segment["speaker"], segment["text"]) == ("Alice", SENTENCES[0].text)
        (web,) = [pid for pid in children(node.pid) if "\0web\0" in command_line(pid)]
        os.kill(web, signal.SIGKILL)
        wait_until(lambda: "The page has ended with -9" in node.output(), 20, "its end is said")
        wait_until(browser.is_there, 60, "the page is there again")
        browser.ask("api/nodes/homeassistant/stop", {})
        final = seen.wait_for(f"{NODE}/transcript/final", 60).json()
        node.signal(signal.SIGTERM)
        assert node.wait(60) == 0, node.output()
    kept = {file.name for file in (data.parent / "share/scribe-node").iterdir()}
    assert kept == {Path(path).name for path in final["files"].values()}


def connected(seen: Watcher, mic: str) -> bool:
    return any(message.json()["connected"] for message in seen.messages(f"{mic}/state"))
