"""A machine for the service: a real systemd as PID 1 in namespaces, on a disposable root."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest

from tests.rig.patience import stretched
from tests.rig.processes import children, need, wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping

BOOT = Path(__file__).with_name("boot.sh")
BOOT_TIMEOUT_S = 30
COMMAND_TIMEOUT_S = 60
PROGRAMS = ("unshare", "nsenter", "systemctl", "mount", "pivot_root")


def need_systemd() -> Path:
    """Return the folder of a cgroup2 hierarchy; skip the test if no machine can be started."""
    need(*PROGRAMS)
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    groups = [Path(mount[1]) for mount in mounts if mount[2] == "cgroup2"]
    overlay = "overlay" in Path("/proc/filesystems").read_text()
    if os.geteuid() == 0 and overlay and groups and os.access(groups[0], os.W_OK):
        return groups[0]
    message = "needs root, overlayfs and a writable cgroup2"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


class Machine:
    """Booted on entry, removed with all its processes and files on exit.

    Args:
        prepare: script run in the new root before systemd starts; `files` are in /share.
        mounts: folders of this machine, and where they appear in the new root.
        lower: the lower layer of the root; this machine's own root by default.
    """

    def __init__(
        self, prepare: str, mounts: Mapping[Path, str] | None = None, lower: Path = Path("/")
    ) -> None:
        self._lower = lower
        self.share = Path(tempfile.mkdtemp(prefix="machine-", dir="/var/tmp"))
        self.share.chmod(0o755)
        lines = [f"{source} {target}\n" for source, target in (mounts or {}).items()]
        (self.share / "mounts").write_text("".join(lines))
        (self.share / "prepare.sh").write_text(f"set -euo pipefail\n{prepare}")
        self._group = need_systemd() / self.share.name
        self._boot: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._group.mkdir()
        with (self.share / "boot.log").open("wb") as log:
            self._boot = subprocess.Popen(
                ["bash", BOOT, self._lower, self.share, self._group], stdout=log, stderr=log
            )
        wait_until(self._is_up, BOOT_TIMEOUT_S, "systemd is up")
        return self

    def _is_up(self) -> bool:
        assert self._boot is not None
        if self._boot.poll() is not None:
            pytest.fail(f"the machine has not booted:\n{self.log()}")
        return bool(children(self._boot.pid)) and (
            self.run("systemctl", "is-active", "test.target").stdout == "active\n"
        )

    def log(self) -> str:
        """Return what the boot, systemd and the services have printed."""
        files = [self.share / "boot.log", self.share / "systemd.log"]
        return "".join(f.read_text(errors="replace") for f in files if f.exists())

    def run(
        self,
        *command: str,
        env: Mapping[str, str] | None = None,
        timeout: float = COMMAND_TIMEOUT_S,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the machine."""
        assert self._boot is not None
        (first, *_) = children(self._boot.pid) or [self._boot.pid]
        inside = ("nsenter", "-t", str(first), "-m", "-p", "-u", "-i", "-C", "-r", "-w")
        return subprocess.run(
            [*inside, *command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=stretched(timeout),
            env=env,
            check=False,
        )

    def journal(self) -> str:
        return self.run("journalctl", "--no-pager", "--no-hostname", "-n", "60").stdout

    def systemctl(self, *arguments: str) -> str:
        """Return what systemctl prints; it must succeed."""
        done = self.run("systemctl", *arguments)
        assert done.returncode == 0, f"{done.stderr}\n{self.journal()}"
        return done.stdout

    def show(self, unit: str, name: str) -> str:
        """Return a property of a unit."""
        return self.systemctl("show", unit, "-p", name, "--value").strip()

    def __exit__(self, *_exception: object) -> None:
        assert self._boot is not None
        for pid in children(self._boot.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)  # PID 1 of its namespace: all others end with it
        self._boot.wait(stretched(BOOT_TIMEOUT_S))
        wait_until(self._group_is_gone, BOOT_TIMEOUT_S, "the control group is empty")
        shutil.rmtree(self.share)

    def _group_is_gone(self) -> bool:
        folders = [Path(folder) for folder, _, _ in os.walk(self._group, topdown=False)]
        with contextlib.suppress(OSError):  # EBUSY: a process of it is still ending
            for folder in folders:
                folder.rmdir()
        return not self._group.exists()
