"""Runs the node's commands: to the end through pipes, or live on a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
from typing import TYPE_CHECKING, Any, Self

import yaml

from tests.rig.node import ROOT
from tests.rig.patience import stretched
from tests.rig.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

TIMEOUT_S = 120
ROWS, COLUMNS = 40, 150
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def write(folder: Path, configuration: dict[str, Any]) -> Path:
    """Write a configuration file to `folder`."""
    file = folder / "node.yaml"
    file.write_text(yaml.safe_dump(configuration, allow_unicode=True), encoding="utf-8")
    return file


def command(*arguments: str | Path, module: str = "node") -> list[str]:
    return [sys.executable, "-m", module, *map(str, arguments)]


def run(
    *arguments: str | Path, env: Mapping[str, str] | None = None, module: str = "node"
) -> subprocess.CompletedProcess[str]:
    """Run `python -m node ARGUMENTS` with both streams in pipes; fail on a traceback."""
    done = subprocess.run(
        command(*arguments, module=module),
        cwd=ROOT,
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=stretched(TIMEOUT_S),
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def rows(output: str) -> list[list[str]]:
    """Return the cells of a printed table, separated by two or more spaces, without the header."""
    return [re.split(r"\s{2,}", line.strip()) for line in output.splitlines()[1:]]


class Terminal:
    """A command that runs on a terminal of its own until the context is left."""

    def __init__(self, *arguments: str | Path, env: Mapping[str, str] | None = None) -> None:
        self._command = command(*arguments)
        self._env = {**os.environ, **(env or {}), "TERM": "xterm"}
        self._output = bytearray()

    def __enter__(self) -> Self:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        self.process = subprocess.Popen(
            self._command, cwd=ROOT, env=self._env, stdin=slave, stdout=slave, stderr=slave
        )
        os.close(slave)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()
        os.close(self._master)

    def _read(self) -> None:
        while True:
            try:
                self._output += os.read(self._master, 65536)
            except OSError:  # EIO: the last process on the terminal has ended
                return

    def output(self) -> str:
        """Return everything that was shown, without the escape sequences."""
        return ESCAPE.sub("", self._output.decode(errors="replace"))

    def wait_output(self, pattern: str) -> None:
        wait_until(lambda: re.search(pattern, self.output()), TIMEOUT_S, f"{pattern} is shown")

    def interrupt(self) -> int:
        """Send Ctrl-C; return the exit status."""
        self.process.send_signal(signal.SIGINT)
        return self.wait()

    def wait(self) -> int:
        return self.process.wait(stretched(TIMEOUT_S))
