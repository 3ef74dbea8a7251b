"""The shipped unit under a real systemd: start, watchdog, reload, stop, refusal."""

from __future__ import annotations

import re
import site
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.model.sentences import SENTENCES
from tests.rig.broker import Broker
from tests.rig.mqtt import Watcher
from tests.rig.node import MODEL, ROOT, TOPIC, configuration, spoken
from tests.rig.processes import wait_until
from tests.rig.vmics import write_wav
from tests.system.machine import Machine, need_systemd

if TYPE_CHECKING:
    from collections.abc import Iterator

UNIT = "scribe-node"
STOP_BOUND_S = 45  # TimeoutStopSec of the unit
PASSWORD = "s3cret-of-the-test"  # noqa: S105
HELLO = SENTENCES[0]
MIB = 2**20

PREPARE = f"""
useradd --system --no-create-home --groups audio {UNIT}
venv=/opt/{UNIT}/venv
mkdir -p $venv/bin $venv/lib/{{version}}/site-packages
printf 'home = /opt/python/bin\\n' > $venv/pyvenv.cfg
ln -s /opt/python/bin/{{version}} $venv/bin/python
# The interpreter's own folder may be one that the unit hides.
echo /opt/python/lib > /etc/ld.so.conf.d/000-python.conf
ldconfig
printf '/opt/site\\n/opt/source\\n' > $venv/lib/{{version}}/site-packages/test.pth
cp /opt/source/systemd/{UNIT}.service /etc/systemd/system/
mkdir -p /etc/systemd/system/{UNIT}.service.d /etc/{UNIT}
dropin=/etc/systemd/system/{UNIT}.service.d/test.conf
printf '[Service]\\nWatchdogSec=6\\nRestartSec=1\\n' > $dropin
ln -s /share/node.yaml /etc/{UNIT}/node.yaml
(umask 077; echo '{PASSWORD}' > /etc/{UNIT}/mqtt-password)
"""


class Service:
    """The unit in its machine, its configuration, and a client that follows the node."""

    def __init__(self, machine: Machine, broker: Broker, watcher: Watcher) -> None:
        self.machine = machine
        self.broker = broker
        self.watcher = watcher
        self._started_at = 0  # the number of the first message since

    def configure(self, **sections: object) -> None:
        tape = write_wav(self.machine.share / "tape.wav", spoken(HELLO, pause_s=2), 16000)
        # Readable like a sound card, by the group, which the unit's user namespace must not break.
        tape.chmod(0o640)
        self.machine.run("chgrp", "audio", f"/share/{tape.name}")
        files = [{"mic": "tape", "file": f"/share/{tape.name}", "loop": True}]
        audio = {"source": "files", "devices": [], "files": files}
        config = configuration(Path("/run"), self.broker.port, [], audio=audio, **sections)
        config["mqtt"] |= {"username": "node", "password_file": "/etc/scribe-node/mqtt-password"}
        config["storage"]["path"] = "/var/lib/scribe-node"
        config["transcription"]["model"] = "/opt/source/" + str(MODEL.relative_to(ROOT))
        (self.machine.share / "node.yaml").write_text(yaml.safe_dump(config))

    def start(self) -> int:
        """Start the unit; return its main process, as seen in the machine.

        The unit is ready without a broker, so perhaps before the node listens to requests.
        """
        self._started_at = self.watcher.count()
        self.machine.systemctl("start", UNIT)
        return self.pid

    @property
    def pid(self) -> int:
        return int(self.machine.show(UNIT, "MainPID"))

    def status(self) -> str:
        return self.machine.show(UNIT, "StatusText")

    def wait_status(self, text: str, timeout: float = 30) -> None:
        wait_until(lambda: text in self.status(), timeout, f"the status line says {text}")

    def ask(self, verb: str, **request: object) -> dict[str, object]:
        answer = self.watcher.request(TOPIC, verb, request, 60)
        assert answer["status"] == "ok", answer
        data: dict[str, object] = answer["data"]
        return data

    def record(self) -> object:
        """Start a session of the tape; return its id once a segment has arrived."""
        self.watcher.wait_for(
            lambda m: m.topic == f"{TOPIC}/status" and m.text == "online", 60, self._started_at
        )
        after = self.watcher.count()
        assignments = [{"mic": "tape", "speaker": "Alice"}]
        session = self.ask("session/start", assignments=assignments)["session_id"]
        self.watcher.wait_for(f"{TOPIC}/mic/tape/segment", 40, after)
        return session

    def heard(self, session: object) -> list[str]:
        """The texts of a session's segments; on a busy machine, the tape's first may be torn."""
        segments = self.watcher.messages(f"{TOPIC}/mic/tape/segment")
        bodies = [segment.json() for segment in segments]
        texts = [body["text"] for body in bodies if body["session_id"] == session]
        assert texts
        return texts


@pytest.fixture(scope="module")
def booted() -> Iterator[Service]:
    need_systemd()
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    mounts = {
        Path(sys.base_prefix): "/opt/python",
        Path(site.getsitepackages()[0]): "/opt/site",
        ROOT: "/opt/source",
    }
    users = {"node": PASSWORD, "test": "test"}
    prepare = PREPARE.format(version=version)
    with (
        Broker(users=users) as broker,
        Machine(prepare, mounts) as machine,
        Watcher(broker.port, username="test", password="test") as watcher,  # noqa: S106
    ):
        yield Service(machine, broker, watcher)


@pytest.fixture
def service(booted: Service) -> Iterator[Service]:
    booted.configure()
    yield booted
    booted.machine.run("systemctl", "stop", UNIT)
    booted.machine.run("systemctl", "reset-failed", UNIT)


def test_it_is_ready_and_shows_its_state(service: Service) -> None:
    service.start()
    assert service.machine.show(UNIT, "ActiveState") == "active"
    service.wait_status("idle; 1 of 1 microphones")
    wait_until(lambda: "broker" not in service.status(), 10, "the broker is there")
    assert service.status() in service.machine.systemctl("status", "--no-pager", UNIT)
    mode = service.machine.run("stat", "-c", "%a %U", "/var/lib/scribe-node").stdout
    assert mode == f"700 {UNIT}\n"


def test_its_memory_tasks_and_files_are_bounded(service: Service) -> None:
    pid = service.start()
    service.wait_status("idle")
    session = service.record()
    assert int(service.machine.show(UNIT, "MemoryHigh")) == 1200 * MIB
    assert int(service.machine.show(UNIT, "MemoryMax")) == 1536 * MIB
    tasks = int(service.machine.show(UNIT, "TasksMax"))
    processes = [pid, *map(int, service.machine.run("pgrep", "--parent", str(pid)).stdout.split())]
    folders = [f"/proc/{process}/task" for process in processes]
    counted = service.machine.run("ls", *folders).stdout.split()
    assert len(counted) < tasks / 4
    limits = service.machine.run("cat", f"/proc/{pid}/limits").stdout
    assert re.search(r"^Max open files +4096 ", limits, re.MULTILINE)
    assert re.search(r"^Max core file size +0 ", limits, re.MULTILINE)
    service.ask("session/stop", session_id=session)


@pytest.mark.parametrize(("file", "value"), [("memory.max", 1536 * MIB), ("pids.max", 128)])
def test_the_kernel_enforces_them(service: Service, file: str, value: int) -> None:
    """If its controllers are in the new hierarchy; some containers keep them in the old one."""
    service.start()
    group = service.machine.show(UNIT, "ControlGroup")
    found = service.machine.run("cat", f"/sys/fs/cgroup{group}/{file}")
    controllers = service.machine.run("cat", "/sys/fs/cgroup/cgroup.controllers").stdout.split()
    if file.partition(".")[0] not in controllers:
        assert found.returncode != 0
        return
    assert int(found.stdout) == value


def test_no_secret_is_seen_from_outside(service: Service) -> None:
    """The password reached the broker as a credential and is visible nowhere else."""
    pid = service.start()
    service.wait_status("idle")
    session = service.record()
    for name in ("cmdline", "environ"):
        assert PASSWORD not in service.machine.run("cat", f"/proc/{pid}/{name}").stdout
    children = service.machine.run("pgrep", "--parent", str(pid)).stdout.split()
    assert children, "a process records the tape"
    for child in children:
        environment = service.machine.run("cat", f"/proc/{child}/environ").stdout
        assert "NOTIFY_SOCKET" not in environment
        assert "WATCHDOG" not in environment
    journal = service.machine.run("journalctl", "--no-pager", "-u", UNIT).stdout
    assert "loading the model" in journal
    assert PASSWORD not in journal
    assert HELLO.text not in journal
    service.ask("session/stop", session_id=session)


def test_it_reads_how_right_the_clock_is_and_cannot_set_it(service: Service) -> None:
    pid = service.start()
    service.wait_status("idle")
    session = service.record()
    service.ask("session/stop", session_id=session)
    listed = service.ask("session/list", limit=1)["sessions"]
    assert isinstance(listed, list)
    (clock,) = [each["clock"] for each in listed]
    assert set(clock["start"]) == set(clock["stop"]) == {"synchronised", "max_error_ms"}
    status = service.machine.run("cat", f"/proc/{pid}/status").stdout
    assert re.search(r"^CapBnd:\s+0+$", status, re.MULTILINE)


def test_it_starts_and_records_without_a_broker(service: Service) -> None:
    service.broker.stop()
    try:
        service.start()
        service.wait_status("no broker listens there")
    finally:
        after = service.watcher.count()
        service.broker.start()
        service.watcher.wait_connected(60)
    service.watcher.wait_for(
        lambda m: m.topic == f"{TOPIC}/status" and m.text == "online", 60, after
    )


def test_a_process_that_hangs_is_restarted_and_its_session_goes_on(service: Service) -> None:
    service.configure(session={"resume": True})
    pid = service.start()
    session = service.record()
    before = int(service.machine.show(UNIT, "NRestarts"))
    after = service.watcher.count()
    service.machine.run("kill", "-STOP", str(pid))
    wait_until(
        lambda: int(service.machine.show(UNIT, "NRestarts")) > before, 60, "systemd restarts it"
    )
    resumed = service.watcher.wait_for(
        lambda m: m.topic == f"{TOPIC}/session" and m.json()["state"] == "recording", 60, after
    )
    assert resumed.json()["session_id"] == session
    assert service.pid != pid
    service.watcher.wait_for(f"{TOPIC}/mic/tape/segment", 60, after)
    service.ask("session/stop")


def test_a_stop_drains_the_session_within_its_bound(service: Service) -> None:
    service.start()
    session = service.record()
    after = service.watcher.count()
    began = time.monotonic()
    service.machine.systemctl("stop", UNIT)
    assert time.monotonic() - began < STOP_BOUND_S
    assert service.machine.show(UNIT, "Result") == "success"
    final = service.watcher.wait_for(f"{TOPIC}/transcript/final", after=after).json()
    assert final["session_id"] == session
    file = service.machine.run("cat", final["file_path"]).stdout
    for text in service.heard(session):
        assert text in final["text"]
        assert text in file


def test_root_looks_at_what_is_stored_and_leaves_nothing_of_its_own(service: Service) -> None:
    """SQLite makes files beside a database that it only reads; the service must still open it."""
    service.start()
    session = service.record()
    service.machine.systemctl("stop", UNIT)
    node = (f"/opt/{UNIT}/venv/bin/python", "-m", "node")
    config = ("--config", f"/etc/{UNIT}/node.yaml")
    shown = service.machine.run(*node, "transcript", *config).stdout
    assert [text for text in service.heard(session) if text not in shown] == []
    assert "done" in service.machine.run(*node, "sessions", *config).stdout
    foreign = ("find", f"/var/lib/{UNIT}", "!", "-user", UNIT)
    assert service.machine.run(*foreign).stdout == ""
    service.start()


def test_a_reload_takes_the_configuration_up(service: Service) -> None:
    pid = service.start()
    service.watcher.wait_for(f"{TOPIC}/info", 30)
    wait_until(lambda: "broker" not in service.status(), 30, "the broker is there")
    service.configure(vad={"hangover_ms": 900})
    after = service.watcher.count()
    service.machine.systemctl("reload", UNIT)
    event = service.watcher.wait_for(f"{TOPIC}/event", 10, after).json()
    assert event["message"] == "applied: vad.hangover_ms"
    wait_until(
        lambda: service.machine.show(UNIT, "ActiveState") == "active", 10, "the reload is done"
    )
    assert service.pid == pid


def test_a_wrong_configuration_stays_down_and_says_why(service: Service) -> None:
    service.configure(vad={"hangover_ms": 9})
    before = service.machine.show(UNIT, "NRestarts")
    assert service.machine.run("systemctl", "start", UNIT).returncode != 0
    assert service.machine.show(UNIT, "ActiveState") == "failed"
    assert service.machine.show(UNIT, "ExecMainStatus") == "78"
    assert "vad.hangover_ms" in service.status()
    shown = service.machine.run("systemctl", "status", "--no-pager", UNIT).stdout
    assert "vad.hangover_ms" in shown
    assert service.machine.show(UNIT, "NRestarts") == before
