"""The notification protocol, the journal's levels, and the unit as systemd reads it."""

from __future__ import annotations

import logging
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from node.adapters.systemd import (
    MAX_STATUS,
    JournalFormatter,
    LineFormatter,
    Notifier,
    logs_to_journal,
)
from node.app import GOODBYE_S, IDLE_LOOK_EVERY_S, JOIN_S
from node.errors import EXIT_CONFIG
from node.service.lifecycle import DRAIN_S
from node.service.working import program
from tests.rig.notified import Manager
from tests.rig.processes import need

if TYPE_CHECKING:
    from collections.abc import Iterator

UNIT = Path(__file__).parents[2] / "systemd" / "scribe-node.service"
UNITS = (UNIT, *(UNIT.with_name(f"scribe-node-{name}.service") for name in ("worker", "web")))
# The node must read how accurate the clock is, which ProtectClock= forbids.
MAX_EXPOSURE = {UNITS[0]: 1.8, UNITS[1]: 1.5, UNITS[2]: 1.5}


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(tmp_path / "notify")
    yield manager
    manager.close()


def test_each_message_is_one_datagram(manager: Manager) -> None:
    notifier = Notifier(str(manager.path))
    notifier.ready()
    notifier.alive()
    notifier.extend_timeout(1.5)
    notifier.stopping()
    assert manager.received() == [
        "READY=1",
        "WATCHDOG=1",
        "EXTEND_TIMEOUT_USEC=1500000",
        "STOPPING=1",
    ]
    notifier.reloading()
    (message,) = manager.received()
    assert re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=\d+", message)


def test_a_status_is_one_line_and_sent_once(manager: Manager) -> None:
    notifier = Notifier(str(manager.path))
    notifier.status("réunion\nREADY=1")
    notifier.status("réunion READY=1")
    assert manager.received() == ["STATUS=réunion READY=1"]
    notifier.status("é" * 2000)
    (message,) = manager.received()
    assert len(message) == len("STATUS=") + MAX_STATUS
    assert message.endswith("…")


def test_the_variables_are_taken_out_of_the_environment(manager: Manager) -> None:
    environment = {
        "NOTIFY_SOCKET": str(manager.path),
        "WATCHDOG_USEC": "60000000",
        "WATCHDOG_PID": str(os.getpid()),
        "HOME": "/",
    }
    notifier = Notifier.from_environment(environment)
    assert environment == {"HOME": "/"}
    assert notifier.watchdog_s == 60
    notifier.ready()
    assert manager.received() == ["READY=1"]


@pytest.mark.parametrize(
    "environment",
    [
        {"NOTIFY_SOCKET": "/s", "WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"},
        {"NOTIFY_SOCKET": "/s", "WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": "60000000"},
    ],
)
def test_a_watchdog_that_is_not_ours_is_left_alone(environment: dict[str, str]) -> None:
    assert Notifier.from_environment(environment).watchdog_s is None


def test_an_abstract_socket() -> None:
    name = f"scribe-node-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(f"\0{name}")
        Notifier(f"@{name}").ready()
        assert other.recv(100) == b"READY=1"


def test_without_systemd_nothing_happens() -> None:
    notifier = Notifier.from_environment({})
    notifier.ready()
    notifier.status("idle")
    assert notifier.watchdog_s is None


def test_a_manager_that_is_gone_is_said_and_survived(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Notifier(str(tmp_path / "gone")).status("secret words")
    assert "systemd does not accept STATUS" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize("formatter", [JournalFormatter, LineFormatter])
def test_no_client_can_forge_a_line(formatter: type[LineFormatter]) -> None:
    """A log line may quote what a client sends, which must not become a line of its own."""
    topic = "x\n<2>node.app: the house is on fire\r\x1b[2K\x85"
    record = logging.makeLogRecord({"levelno": 30, "msg": "%s: ignored", "args": (topic,)})
    line = formatter("%(message)s").format(record)
    assert line.removeprefix("<4>") == (
        r"x / <2>node.app: the house is on fire\x0d\x1b[2K\x85: ignored"
    )


def test_every_line_has_the_priority_of_its_level() -> None:
    form = JournalFormatter("%(message)s").format
    record = logging.makeLogRecord(
        {"levelno": logging.ERROR, "msg": "one", "exc_text": "Traceback\n  two"}
    )
    assert form(record) == "<3>one\n<3>Traceback\n<3>  two"
    levels = {10: "<7>", 20: "<6>", 30: "<4>", 40: "<3>", 50: "<2>"}
    for level, priority in levels.items():
        assert form(logging.makeLogRecord({"levelno": level, "msg": "m"})) == f"{priority}m"


def test_the_journal_is_told_from_a_file_that_came_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "log").open("w") as log:
        monkeypatch.setattr(sys, "stderr", log)
        stream = os.fstat(log.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{stream.st_dev}:{stream.st_ino}")
        assert logs_to_journal()
        monkeypatch.setenv("JOURNAL_STREAM", f"{stream.st_dev}:{stream.st_ino + 1}")
        assert not logs_to_journal()
        monkeypatch.delenv("JOURNAL_STREAM")
        assert not logs_to_journal()


def setting(name: str, unit: Path = UNIT) -> str:
    """Return the last value of a key of a unit."""
    values: list[str] = re.findall(rf"^{name}=(.*)$", unit.read_text(), re.MULTILINE)
    return values[-1]


def test_the_times_of_the_unit_fit_those_of_the_node() -> None:
    assert int(setting("TimeoutStopSec")) > DRAIN_S + 2 * JOIN_S + GOODBYE_S
    assert int(setting("WatchdogSec")) / 2 > 2 * IDLE_LOOK_EVERY_S
    for unit in UNITS:
        assert int(setting("RestartPreventExitStatus", unit)) == EXIT_CONFIG


def test_the_times_of_the_workers_unit_fit_those_of_the_worker() -> None:
    unit = UNITS[1]
    assert int(setting("TimeoutStopSec", unit)) > program.DRAIN_S + program.GOODBYE_S
    assert int(setting("WatchdogSec", unit)) / 2 > 2 * program.LOOK_EVERY_S
    assert int(setting("RestartPreventExitStatus", unit)) == EXIT_CONFIG


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path, unit: Path) -> None:
    need("systemd-analyze")
    # The program must exist; `true` does, everywhere.
    copy = tmp_path / unit.name
    text = re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", unit.read_text(), flags=re.MULTILINE)
    copy.write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", copy], capture_output=True, text=True, check=False
    )
    # It exits with 0 even if it ignores a line, so it must print nothing.
    assert done.stdout + done.stderr == ""
    assert done.returncode == 0


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_the_exposure_is_low(unit: Path) -> None:
    need("systemd-analyze")
    analyze = shutil.which("systemd-analyze")
    threshold = f"--threshold={round(MAX_EXPOSURE[unit] * 10)}"
    done = subprocess.run(
        [analyze or "", "security", "--offline=true", "--no-pager", threshold, unit],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout.splitlines()[-1]
