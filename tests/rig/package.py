"""This project's distributions, built from a copy, and environments they are installed in."""

from __future__ import annotations

import shutil
import site
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.rig.node import ROOT

if TYPE_CHECKING:
    from pathlib import Path

BUILD_TIMEOUT_S = 240
HIDDEN_BUT_OURS = ".pre-commit-config.yaml"


@dataclass(frozen=True)
class Distributions:
    source: Path
    """A source distribution and a wheel, and the copy of the clone they were built from."""
    sdist: Path
    wheel: Path


def copy_of_the_clone(target: Path) -> Path:
    """Copy the clone without caches, environments and builds: a build writes to its own folder."""
    generated = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__")

    def ignored(folder: str, names: list[str]) -> set[str]:
        return generated(folder, names) - {HIDDEN_BUT_OURS}

    shutil.copytree(ROOT, target, ignore=ignored)
    return target


def build(folder: Path) -> Distributions:
    """Build a source distribution, and the wheel from it, without the network."""
    source = copy_of_the_clone(folder / "source")
    for name in ("mqtt-password", "web-password"):  # as somebody may have who tried the program
        (source / "config" / name).write_text("secret")
    output = folder / "dist"
    options = ("--no-isolation", "--outdir", output)
    command: list[str | Path] = [sys.executable, "-m", "build", *options, source]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=BUILD_TIMEOUT_S, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (sdist,), (wheel,) = output.glob("*.tar.gz"), output.glob("*.whl")
    return Distributions(source, sdist, wheel)


@dataclass(frozen=True)
class Environment:
    """A virtual environment with the wheel; it borrows the dependencies from this one."""

    root: Path

    @property
    def python(self) -> Path:
        return self.root / "bin" / "python"

    @property
    def command(self) -> Path:
        return self.root / "bin" / "scribe-node"

    @property
    def share(self) -> Path:
        return self.root / "share" / "scribe-node"


def install(wheel: Path, root: Path) -> Environment:
    """Install a wheel into a new environment at `root`."""
    venv.create(root, symlinks=True)
    environment = Environment(root)
    pip = (sys.executable, "-m", "pip", "--python", environment.python)
    command: list[str | Path] = [*pip, "install", "-q", "--no-index", "--no-deps", wheel]
    subprocess.run(command, check=True, timeout=BUILD_TIMEOUT_S)
    # A folder named in a .pth file provides its packages, but not the editable installs in it.
    packages = sysconfig.get_path("purelib", vars={"base": str(root), "platbase": str(root)})
    lent = "\n".join(site.getsitepackages())
    (root / packages / "lent.pth").write_text(f"{lent}\n")
    return environment
