"""A private mosquitto on the loopback interface that tests start, kill, freeze and restart."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest

from tests.rig.certificates import make_certificates
from tests.rig.patience import stretched
from tests.rig.processes import need, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

HOST = "127.0.0.1"
FIRST_PORT, PORTS, MOST_WORKERS = 16_000, 1000, 16
START_TIMEOUT_S = 10
STOP_TIMEOUT_S = 10


def free_port() -> int:
    """A port that nothing uses, of those of this process: none is given twice.

    They lie below those that the kernel gives to connections, so that a broker that is away finds
    its port free again; and each worker of pytest-xdist has a range of its own.
    """
    for port in _PORTS:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, port))
            return port
    pytest.fail("no port is free")


def _ports() -> Iterator[int]:
    """Those of this worker, round and round, from anywhere: other runs of tests have the same."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first = FIRST_PORT + worker % MOST_WORKERS * PORTS
    begin = os.getpid() % PORTS
    return (first + (begin + number) % PORTS for number in itertools.count())


_PORTS = _ports()


class Broker:
    """A broker that runs within its context and keeps its port and files across restarts.

    `users` maps names to passwords; without it, anybody may connect. `acl` and `extra` are lines of
    mosquitto's files. With `tls`, `tls_port` serves TLS with a certificate signed by `ca_file`.
    """

    def __init__(
        self,
        *,
        users: Mapping[str, str] | None = None,
        acl: str = "",
        tls: bool = False,
        persistence: bool = True,
        extra: str = "",
        port: int | None = None,
    ) -> None:
        need("mosquitto", "mosquitto_passwd")
        self.folder = Path(tempfile.mkdtemp(prefix="mq-"))
        self.port = free_port() if port is None else port
        self.tls_port = free_port() if tls else None
        self.ca_file = self.folder / "ca.crt"
        self._process: subprocess.Popen[bytes] | None = None
        lines = [*self._general(persistence=persistence), *self._access(users or {}, acl)]
        lines += [f"listener {self.port} {HOST}"]
        if tls:
            make_certificates(self.folder)
            lines += [f"listener {self.tls_port} {HOST}"]
            lines += [f"certfile {self.folder}/server.crt", f"keyfile {self.folder}/server.key"]
        (self.folder / "mosquitto.conf").write_text("\n".join([*lines, extra, ""]))

    def _general(self, *, persistence: bool) -> list[str]:
        return [
            # As root it would switch to the user mosquitto, who cannot read our files.
            *(["user root"] if os.geteuid() == 0 else []),
            f"log_dest file {self.folder}/log",
            "log_type all",
            f"persistence {str(persistence).lower()}",
            f"persistence_location {self.folder}/",
            # Save after every single change, in the next iteration of its loop.
            "autosave_interval 1",
            "autosave_on_changes true",
        ]

    def _access(self, users: Mapping[str, str], acl: str) -> list[str]:
        lines = [f"allow_anonymous {str(not users).lower()}"]
        if users:
            passwords = self.folder / "passwords"
            passwords.touch(mode=0o600)
            for user, password in users.items():
                command = ["mosquitto_passwd", "-b", str(passwords), user, password]
                subprocess.run(command, check=True, capture_output=True)
            lines.append(f"password_file {passwords}")
        if acl:
            acl_file = self.folder / "acl"
            acl_file.touch(mode=0o600)
            acl_file.write_text(acl)
            lines.append(f"acl_file {acl_file}")
        return lines

    @property
    def pid(self) -> int:
        return self._running().pid

    def start(self) -> Self:
        """Start or restart the broker, and wait until it accepts connections."""
        with (self.folder / "stderr").open("ab") as stderr:
            self._process = subprocess.Popen(
                ["mosquitto", "-c", self.folder / "mosquitto.conf"],
                stdin=subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
            )
        process = self._process
        wait_until(
            lambda: process.poll() is not None or self._accepts(),
            START_TIMEOUT_S,
            f"mosquitto listens on port {self.port}",
        )
        assert process.poll() is None, (self.folder / "stderr").read_text() + self.log()
        return self

    def _accepts(self) -> bool:
        try:
            socket.create_connection((HOST, self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def stop(self) -> None:
        """Stop the broker cleanly; it saves its sessions and retained messages."""
        self.thaw()
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the broker; what it acknowledged last may not be saved yet."""
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """Stop the process: connections stay open and nothing answers."""
        self._running().send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._running().send_signal(signal.SIGCONT)

    def log(self) -> str:
        log = self.folder / "log"
        return log.read_text(errors="replace") if log.exists() else ""

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "the broker is not running"
        return self._process

    def _end(self, number: signal.Signals) -> None:
        process = self._running()
        process.send_signal(number)
        process.wait(stretched(STOP_TIMEOUT_S))
        self._process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_exception: object) -> None:
        if self._process is not None:
            self.kill()
        shutil.rmtree(self.folder)
