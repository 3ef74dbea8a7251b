"""From a fresh machine to the first own sentence, each way: seconds, and lines that are typed.

    sudo .venv/bin/python -m tests.bench.first_sentence [--ways service container addon clone]

Needs root, the network, and what `make test-install test-container` installs. A microphone is a
recording or PulseAudio's; the model is the real `base`, fetched as where its hub cannot be reached.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from rich.console import Console
from rich.table import Table

from tests.rig.broker import Broker, free_port
from tests.rig.hub import hub_env
from tests.rig.node import ROOT
from tests.rig.prefix_proxy import PrefixProxy
from tests.rig.processes import wait_until
from tests.rig.supervisor import TOKEN, Supervisor, audio_info
from tests.rig.vmics import VirtualMic, VirtualMics
from tests.system.machine import Machine
from tests.system.podman import Podman, options, service
from tests.system.test_container import IMAGE, LIMITS, build, make_addon, make_base
from tests.system.test_install import Host, lend_network_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

SUITE = "bookworm"
WAIT_S = 1800
PASSWORD = "correct horse"  # noqa: S105  # of this run only
SPEECH = ROOT / "config/demo/mic-alice.wav"
NOBODY = hub_env(Path("/tmp"), free_port())  # noqa: S108  # in the fresh machine
LOGIN = base64.b64encode(f"any:{PASSWORD}".encode()).decode()


@dataclass(frozen=True)
class Way:
    """What is typed, without the address and the names of speakers, and how long it takes."""

    typed: tuple[str, ...]
    measure: Callable[[], float]


class Page:
    """The page as a person uses it, by its API."""

    def __init__(self, url: str) -> None:
        self._url = url

    def ask(self, path: str, body: object = None) -> Any:
        headers = {"Authorization": f"Basic {LOGIN}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data, headers)  # noqa: S310
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            return json.load(answer)

    def first_sentence(self, speak: Callable[[], object] = lambda: None) -> None:
        """Wait until a session can be started, name the first microphone, start, speak and read."""
        wait_until(self._started, WAIT_S, "a session starts")
        speak()
        wait_until(lambda: self._text() != "", WAIT_S, "a sentence")
        Console().print(f"  {self._text().splitlines()[0]}", markup=False)

    def _started(self) -> bool:
        who = {"assignments": [{"mic_id": 1, "person_name": "Alice"}]}
        try:
            return bool(self.ask("start_transcription", who))
        except OSError:  # no page, no node, no microphone or no model yet
            return False

    def _text(self) -> str:
        return str(self.ask("get_transcriptions")["transcription"])


@contextlib.contextmanager
def debian(mounts: Mapping[Path, str] | None = None) -> Iterator[Host]:
    """A fresh Debian that runs, with a clone of this repository."""
    root = Path(tempfile.mkdtemp(prefix="debian-", dir="/var/tmp"))
    root.chmod(0o755)
    packages = "--include=systemd,dbus,ca-certificates,procps"
    command = ["debootstrap", "--variant=minbase", packages, SUITE, str(root)]
    try:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        lend_network_settings(root)
        with Machine("true", {ROOT: "/opt/source", **(mounts or {})}, root) as machine:
            shutil.copy(SPEECH, machine.share)
            yield Host(machine)
    finally:
        shutil.rmtree(root)


def tape(port: int | None, file: str) -> str:
    """Return the node's configuration with a recording for a microphone."""
    config = yaml.safe_load((ROOT / "config/node.yaml").read_text(encoding="utf-8"))
    config["audio"] = {"source": "files", "files": [{"mic": "one", "file": file, "loop": True}]}
    if port is not None:
        config["mqtt"] |= {"host": "127.0.0.1", "port": port}
    config["storage"]["path"] = "/var/lib/scribe-node"
    return yaml.safe_dump(config)


def as_a_service() -> float:
    port, web = free_port(), free_port()
    with debian() as host:
        share = host.machine.share
        (share / "node.yaml").write_text(tape(port, f"/share/{SPEECH.name}"))
        (share / "web.env").write_text(f"OPTIONS=--listen 127.0.0.1:{web}\n")
        host.do(
            "sh",
            "-c",
            "mkdir -p /etc/scribe-node; cp /share/node.yaml /share/web.env /etc/scribe-node",
        )
        began = time.monotonic()
        host.do("sh", "-c", "apt-get update -qq && apt-get install -y -qq git mosquitto")
        host.do("sh", "-c", f"echo 'listener {port} 127.0.0.1' > /etc/mosquitto/conf.d/port.conf")
        host.do("sh", "-c", "echo 'allow_anonymous true' >> /etc/mosquitto/conf.d/port.conf")
        host.do("systemctl", "restart", "mosquitto")
        env = {**NOBODY, "HF_HUB_OFFLINE": "0"}
        host.do("/opt/source/systemd/install.sh", "--yes", "--web", env=env)
        Page(f"http://127.0.0.1:{web}/").first_sentence()
        return time.monotonic() - began


def in_a_clone() -> float:
    with VirtualMics([VirtualMic("room")]) as room, debian({room.folder: str(room.folder)}) as host:
        share, nowhere = host.machine.share, "/nowhere"
        devices = [{"mic": "room", "device": "room"}]
        audio = {"devices": devices, "proc_root": nowhere, "sys_root": nowhere}
        (share / "node.yaml").write_text(yaml.safe_dump({"audio": audio}))
        host.do("apt-get", "install", "-y", "-qq", "libasound2-plugins")  # for this microphone
        kept = {key: room.env[key] for key in ("ALSA_CONFIG_PATH", "PULSE_CLIENTCONFIG")}
        kept |= {
            **NOBODY,
            "HF_HUB_OFFLINE": "0",
            "HOME": "/root",
            "PULSE_COOKIE": room.env["PULSE_COOKIE"],
        }
        began = time.monotonic()
        apt = "apt-get install -y -qq git make python3 > /share/apt.log 2>&1"
        host.do("sh", "-c", f"apt-get update -qq && {apt}")
        host.do("git", "clone", "-q", "/opt/source", "/root/scribe-node")
        run = "make run MICS=1 CONFIG=/share/node.yaml > /share/demo.log 2>&1 &"
        host.do("sh", "-c", f"cd /root/scribe-node && {run}", env=kept)
        log = share / "demo.log"
        wait_until(lambda: "Speak;" in log.read_text(), WAIT_S, "it is ready")
        room.play("room", SPEECH)
        wait_until(
            lambda: "Micro 1" in log.read_text().partition("Speak;")[2], WAIT_S, "a sentence"
        )
        return time.monotonic() - began


def in_a_container() -> float:
    port, node, page = free_port(), service(), service("page")
    with Podman() as podman, Broker() as broker, tempfile.TemporaryDirectory() as folder:
        make_base(podman)
        file = Path(folder, "node.yaml")
        demo = "/opt/scribe-node/venv/share/scribe-node/config/demo"
        file.write_text(tape(broker.port, f"{demo}/{SPEECH.name}"))
        file.chmod(0o644)
        mount = ("--network", "host", *LIMITS, "-v", f"{file}:/etc/scribe-node/node.yaml:ro")
        env = [word for key, value in NOBODY.items() for word in ("--env", f"{key}={value}")]
        began = time.monotonic()
        build(podman, IMAGE, ROOT, "--target", "node")
        run = ("run", *mount, *options(page), "-v", "page:/var/lib/scribe-node")
        setting = ("--rm", "--interactive", IMAGE, "web", "--set-password")
        podman.do(*run, *setting, typed=f"{PASSWORD}\n")
        volume = ("-v", "node:/var/lib/scribe-node")
        podman.do("run", "--detach", *mount, *options(node), *volume, *env, IMAGE)
        podman.do(*run, "--detach", IMAGE, "web", "--listen", f"0.0.0.0:{port}")
        Page(f"http://127.0.0.1:{port}/").first_sentence()
        return time.monotonic() - began


def as_an_addon() -> float:
    port, inputs = free_port(), {"alsa_input.usb-one": "USB Microphone"}
    with (
        Podman() as podman,
        Broker() as broker,
        VirtualMics([VirtualMic("room")]) as room,
        tempfile.TemporaryDirectory() as folder,
    ):
        make_base(podman)
        source = make_addon(Path(folder, "addon"))
        socket = f"unix:{room.folder}/room/s"
        module = ("load-module", "module-remap-source", "master=mic.monitor")
        load = ["pactl", "--server", socket, *module, f"source_name={next(iter(inputs))}"]
        subprocess.run(load, env=room.env, check=True, stdout=subprocess.DEVNULL)
        data = Path(folder, "data")
        data.mkdir()
        chosen = yaml.safe_load((source / "config.yaml").read_text())["options"]
        (data / "options.json").write_text(json.dumps(chosen))
        known = {"host": "127.0.0.1", "port": broker.port}
        answers = {"/services/mqtt": known, "/audio/info": audio_info(inputs)}
        variables = {**NOBODY, "PULSE_SERVER": socket, "SUPERVISOR_TOKEN": TOKEN}
        variables |= {key: room.env[key] for key in ("PULSE_COOKIE", "PULSE_CLIENTCONFIG")}
        env = [word for key, value in variables.items() for word in ("--env", f"{key}={value}")]
        places = (
            "-v",
            f"{data}:/data",
            "-v",
            f"{folder}:/share",
            "-v",
            f"{room.folder}:{room.folder}",
        )
        page = ("--ingress", "127.0.0.2", "--listen", f"0.0.0.0:{port}")
        with Supervisor(answers) as supervisor, PrefixProxy(port, "127.0.0.2") as proxy:
            began = time.monotonic()
            image = build(podman, "localhost/addon", source)
            run = ("run", "--detach", "--network", "host", *LIMITS, *places, *env, image)
            podman.do(*run, "--supervisor", supervisor.url, *page)
            Page(proxy.url).first_sentence(lambda: room.play("room", SPEECH))
            return time.monotonic() - began


WAYS = {
    "service": Way(
        (
            "sudo apt install git mosquitto",
            "git clone ADDRESS scribe-node",
            "cd scribe-node",
            "sudo systemd/install.sh --web",
            "y",
        ),
        as_a_service,
    ),
    "container": Way(
        (
            "git clone ADDRESS scribe-node",
            "cd scribe-node",
            "docker compose build",
            "docker compose run --rm page web --set-password",
            "PASSWORD",
            "PASSWORD",
            "docker compose up --detach",
        ),
        in_a_container,
    ),
    "addon": Way(("git clone ADDRESS scribe-node", "cd scribe-node", "make addon"), as_an_addon),
    "clone": Way(
        (
            "sudo apt install git make python3",
            "git clone ADDRESS scribe-node",
            "cd scribe-node",
            "make run MICS=1",
        ),
        in_a_clone,
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=[*WAYS])
    chosen = parser.parse_args().ways
    table = Table("way", "lines typed", "seconds", f"load of {os.cpu_count()} cores")
    console = Console()
    for name in chosen:
        way = WAYS[name]
        seconds = way.measure()
        table.add_row(name, str(len(way.typed)), f"{seconds:.0f}", f"{os.getloadavg()[1]:.0f}")
        console.print(f"{name}: {seconds:.0f} s")
    console.print(table)


if __name__ == "__main__":
    main()
