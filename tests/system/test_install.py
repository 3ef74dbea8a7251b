"""The installer in a clean Debian with a real systemd: install, again, from a wheel, uninstall."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.rig.broker import Broker
from tests.rig.mqtt import Watcher
from tests.rig.node import MODEL, ROOT
from tests.rig.processes import need, wait_until
from tests.system.machine import Machine, need_systemd

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.install, pytest.mark.timeout(1800)]

SUITE = os.environ.get("INSTALL_SUITE", "bookworm")
INSTALL_TIMEOUT_S = 900
INSTALLER = "/opt/source/systemd/install.sh"
MAX_EXPOSURE = 1.5
CONFIG = "/etc/scribe-node/node.yaml"
MODEL_SEEN_AT = "/opt/model"


class Host:
    """A clean Debian on which nothing of the project was ever installed."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        pip = {key: value for key, value in os.environ.items() if key.startswith("PIP_")}
        self._env = {
            "PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LC_ALL": "C.UTF-8",
            "HF_HUB_OFFLINE": "1",  # a model that cannot be downloaded fails no installation
            **pip,
        }

    def do(self, *command: str, status: int = 0) -> str:
        done = self.machine.run(*command, env=self._env, timeout=INSTALL_TIMEOUT_S)
        output = done.stdout + done.stderr
        assert done.returncode == status, output + self.machine.journal()
        return output

    def is_there(self, path: str) -> bool:
        return self.machine.run("test", "-e", path).returncode == 0


def lend_network_settings(root: Path) -> None:
    """What this machine needs to reach package servers: resolver, certificates of a proxy."""
    shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
    if (bundle := os.environ.get("PIP_CERT")) is not None:
        inside = root / bundle.lstrip("/")
        inside.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(bundle, inside)


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    need_systemd()
    need("debootstrap")
    root = Path(tempfile.mkdtemp(prefix="debian-", dir="/var/tmp"))
    root.chmod(0o755)
    packages = "--include=systemd,dbus,ca-certificates,procps"
    command = ["debootstrap", "--variant=minbase", packages, SUITE, str(root)]
    try:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        lend_network_settings(root)
        mounts = {ROOT: "/opt/source", MODEL: MODEL_SEEN_AT}
        with Machine("true", mounts, root) as machine:
            yield Host(machine)
    finally:
        shutil.rmtree(root)


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    with Broker() as running:
        yield running


def configure(host: Host, broker: Broker) -> None:
    """What a person does after the installation: name the broker, here also a model."""
    config = yaml.safe_load(host.do("cat", CONFIG))
    config["node"] = {"id": "lab"}
    config["mqtt"] |= {"host": "127.0.0.1", "port": broker.port}
    config["transcription"]["model"] = MODEL_SEEN_AT
    (host.machine.share / "node.yaml").write_text(yaml.safe_dump(config))
    host.do("cp", "/share/node.yaml", CONFIG)


def test_from_nothing(host: Host) -> None:
    said = host.do(INSTALLER, "install", "--yes")
    announced, _, _ = said.partition("==")
    for path in ("/opt/scribe-node/venv", CONFIG, "/var/lib/scribe-node", "scribe-node.service"):
        assert path in announced, "it says what it does before it does it"
    assert host.machine.show("scribe-node", "ActiveState") == "active"
    wait_until(lambda: "idle" in status(host) or "error" in status(host), 120, "it has started")
    assert "path: /var/lib/scribe-node" in host.do("cat", CONFIG)
    for path, mode in {
        CONFIG: "640 root scribe-node",
        "/etc/scribe-node/mqtt-password": "600 root root",
        "/var/lib/scribe-node": "700 scribe-node scribe-node",
    }.items():
        assert host.do("stat", "-c", "%a %U %G", path).strip() == mode
    assert "audio" in host.do("id", "-Gn", "scribe-node").split()
    assert "The model is not there yet" in said
    assert re.search(r"^broker\s+wrong", said, re.MULTILINE), "check was run at the end"


def test_this_systemd_finds_nothing_wrong_with_the_unit(host: Host) -> None:
    unit = "/etc/systemd/system/scribe-node.service"
    assert host.do("systemd-analyze", "verify", "--man=no", unit) == ""
    threshold = f"--threshold={round(MAX_EXPOSURE * 10)}"
    host.do("systemd-analyze", "security", "--no-pager", threshold, "scribe-node.service")


def status(host: Host) -> str:
    return host.machine.show("scribe-node", "StatusText")


def test_it_serves(host: Host, broker: Broker) -> None:
    configure(host, broker)
    with Watcher(broker.port) as watcher:
        host.machine.systemctl("restart", "scribe-node")
        watcher.wait_for(lambda m: m.topic == "scribe/lab/status" and m.text == "online", 60)
    assert "scribe/lab: idle" in host.do("scribe-node", "status")


def test_again_it_changes_no_configuration(host: Host) -> None:
    before = host.do("cat", CONFIG)
    pid = host.machine.show("scribe-node", "MainPID")
    said = host.do(INSTALLER, "upgrade", "--yes", "--no-model")
    assert "stays as it is" in said
    assert host.do("cat", CONFIG) == before
    assert host.machine.show("scribe-node", "ActiveState") == "active"
    assert host.machine.show("scribe-node", "MainPID") != pid, "the new program runs"
    assert not re.search(r"^broker\s+wrong", said, re.MULTILINE)


def test_from_a_wheel(host: Host) -> None:
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "-w",
        str(host.machine.share),
    ]
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "source"
        ignored = shutil.ignore_patterns(".*", "build", "*.egg-info", "__pycache__", "tests")
        shutil.copytree(ROOT, copy, ignore=ignored)
        subprocess.run([*command, str(copy)], check=True)
    (wheel,) = host.machine.share.glob("*.whl")
    # The installer that the wheel brings, as it is found where only the program was installed.
    installed = "/opt/scribe-node/venv/share/scribe-node/install.sh"
    host.do("cp", installed, "/root/install.sh")
    options = ("--wheel", f"/share/{wheel.name}", "--yes", "--no-model")
    said = host.do("bash", "/root/install.sh", *options)
    assert wheel.name in said
    assert host.machine.show("scribe-node", "ActiveState") == "active"


def test_uninstall_keeps_the_data_unless_told(host: Host) -> None:
    said = host.do(INSTALLER, "uninstall", "--yes")
    assert "keeps /etc/scribe-node and /var/lib/scribe-node" in said
    for path in ("/opt/scribe-node", "/etc/systemd/system/scribe-node.service"):
        assert not host.is_there(path)
    assert host.is_there("/var/lib/scribe-node/scribe.db")
    assert host.is_there(CONFIG)
    host.do(INSTALLER, "uninstall", "--yes", "--purge")
    assert not host.is_there("/var/lib/scribe-node")
    assert not host.is_there("/etc/scribe-node")
    assert host.machine.run("getent", "passwd", "scribe-node").returncode != 0
