"""Processes under test: each in its own group, inspected through /proc, and always ended."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

import pytest

from tests.rig.patience import Patience

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

PROC = Path("/proc")
POLL_S = 0.01

T = TypeVar("T")


def need(*programs: str) -> None:
    """Skip the test if a program is not installed, or fail it under CI, where all must be."""
    missing = [program for program in programs if shutil.which(program) is None]
    if not missing:
        return
    message = f"not installed: {', '.join(missing)}"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


def wait_until(condition: Callable[[], T], timeout: float, message: str) -> T:
    """Poll `condition` until it returns something true, and return that.

    Raises:
        AssertionError: `timeout` seconds have passed, or more on a busy machine (`Patience`);
            `message` says what was waited for.
    """
    patience = Patience(timeout)
    while True:
        if result := condition():
            return result
        if patience.over():
            pytest.fail(f"not within {timeout} s: {message}")
        time.sleep(POLL_S)


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/<pid>/stat after the program's name, or [] for no process."""
    try:
        text = (PROC / str(pid) / "stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return []
    return text.rpartition(")")[2].split()


def state(pid: int) -> str:
    """Return the state letter of proc(5), such as `S` or `Z` for a zombie; empty for no process."""
    return next(iter(_stat(pid)), "")


def alive(pid: int) -> bool:
    return state(pid) not in {"", "Z", "X"}


def children(pid: int) -> list[int]:
    """Return the direct children, including zombies."""
    pids = [int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit()]
    return [child for child in pids if (fields := _stat(child)) and int(fields[1]) == pid]


def command_line(pid: int) -> str:
    """What a process was started with; empty for one that is gone, or about to be."""
    try:
        return (PROC / str(pid) / "cmdline").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def threads(pid: int) -> int:
    return len(list((PROC / str(pid) / "task").iterdir()))


def open_files(pid: int) -> int:
    return len(list((PROC / str(pid) / "fd").iterdir()))


def files_of(pid: int) -> list[str]:
    """Return the files a process has open; none if it is gone."""
    try:
        return [str(entry.readlink()) for entry in (PROC / str(pid) / "fd").iterdir()]
    except FileNotFoundError:
        return []


class Program:
    """A program in a process group of its own; leaving the context kills the whole group.

    `output()` returns what it has printed so far, on both streams.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self._command = command
        self._env = env
        self._cwd = cwd
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 -- closed by __exit__
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        self._process = subprocess.Popen(
            self._command,
            env=self._env,
            cwd=self._cwd,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            process_group=0,
        )
        return self

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "not started"
        return self._process

    @property
    def pid(self) -> int:
        return self.process.pid

    def output(self) -> str:
        size = os.fstat(self._log.fileno()).st_size
        return os.pread(self._log.fileno(), size, 0).decode(errors="replace")

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def signal_group(self, number: int) -> None:
        """Signal every process of the group, as a terminal does on Ctrl-C."""
        os.killpg(self.pid, number)

    def wait(self, timeout: float) -> int:
        """Wait for the end and return the exit status; fail with the output if it does not come."""
        patience = Patience(timeout)
        while (status := self.process.poll()) is None:
            if patience.over():
                pytest.fail(f"{self._command[0]} still runs after {timeout} s:\n{self.output()}")
            time.sleep(POLL_S)
        return status

    def wait_output(self, text: str, timeout: float) -> None:
        patience = Patience(timeout)
        while text not in self.output():
            if self.process.poll() is not None or patience.over():
                pytest.fail(f"{text!r} was not printed:\n{self.output()}")
            time.sleep(POLL_S)

    def kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError):  # it has ended by itself
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_exception: object) -> None:
        self.kill_group()
        self._log.close()
