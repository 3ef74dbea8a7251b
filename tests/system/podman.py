"""Podman as root with a store of its own: it needs no systemd, registry or kind of cgroups."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest
import yaml

from tests.rig.node import ROOT
from tests.rig.patience import stretched
from tests.rig.processes import need

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMAND_TIMEOUT_S = 60
COMPOSE = ROOT / "compose.yaml"

# crun refuses a hybrid hierarchy: version 1 with version 2 beside it. In a mount namespace
# of its own it does not see the latter. And crun gives its standard input, /dev/null, to the
# container's user: it must not be this machine's.
PREPARE = """
mknod --mode 666 "$1/null" c 1 3
mount --bind "$1/null" /dev/null
if [ -d /sys/fs/cgroup/unified ] && mountpoint -q /sys/fs/cgroup/unified; then
    umount /sys/fs/cgroup/unified
fi
echo ready
exec cat  # until this process ends, however it ends
"""


class Podman:
    """Starts in a mount namespace of its own; on exit all its containers and images are gone."""

    def __init__(self) -> None:
        need("podman", "crun", "nsenter", "unshare")
        if os.geteuid() != 0:
            pytest.skip("needs root")
        self._folder = Path(tempfile.mkdtemp(prefix="podman-", dir="/var/tmp"))
        self._space: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self._space = subprocess.Popen(
            ["unshare", "--mount", "sh", "-euc", PREPARE, "sh", self._folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._space.stdout is not None
        assert self._space.stdout.readline() == "ready\n"
        return self

    def run(
        self, *arguments: str | Path, timeout: float = COMMAND_TIMEOUT_S, typed: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run a command of podman; `typed` is its standard input."""
        assert self._space is not None
        inside = ("nsenter", "--target", str(self._space.pid), "--mount", "--")
        options = ("--cgroup-manager", "cgroupfs", "--runtime", "crun", "--log-level", "fatal")
        stores = ("--root", self._folder / "root", "--runroot", self._folder / "run")
        return subprocess.run(
            [*inside, "podman", *options, *stores, *arguments],
            input=typed,
            capture_output=True,
            text=True,
            timeout=stretched(timeout),
            check=False,
        )

    def do(
        self, *arguments: str | Path, timeout: float = COMMAND_TIMEOUT_S, typed: str = ""
    ) -> str:
        """Run a command that must succeed; return what it prints."""
        done = self.run(*arguments, timeout=timeout, typed=typed)
        assert done.returncode == 0, f"podman {arguments}:\n{done.stdout[-8000:]}{done.stderr}"
        return done.stdout.strip()

    def inspect(self, name: str, template: str) -> str:
        return self.do("inspect", "--format", template, name)

    def __exit__(self, *_exception: object) -> None:
        assert self._space is not None
        self.run("rm", "--all", "--force", "--time", "0")
        self.run("rmi", "--all", "--force")
        self.run("unmount", "--all")
        self._space.kill()
        self._space.communicate()
        shutil.rmtree(self._folder)


def service(name: str = "node") -> dict[str, Any]:
    """Return a service of compose.yaml."""
    found: dict[str, Any] = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"][name]
    return found


def options(of: dict[str, Any]) -> Sequence[str]:
    """Return as podman's options what keeps a service of compose.yaml within bounds."""
    chosen = ["--memory", of["mem_limit"], "--pids-limit", str(of["pids_limit"])]
    chosen += ["--read-only"] if of["read_only"] else []
    for option, key in {
        "--tmpfs": "tmpfs",
        "--cap-drop": "cap_drop",
        "--security-opt": "security_opt",
        "--group-add": "group_add",
        "--device-cgroup-rule": "device_cgroup_rules",
    }.items():
        for value in of.get(key, ()):
            chosen += [option, str(value).replace("no-new-privileges:true", "no-new-privileges")]
    return chosen
