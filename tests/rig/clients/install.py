"""Home Assistant and Node-RED, installed once for the tests: `python -m tests.rig.clients.install`.

Both come from their package registries (PyPI, npm) and go to one folder that later runs reuse. It
installs the newest Home Assistant release that the newest Python on this machine can run.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
FOLDER = Path(os.environ.get("CLIENTS_DIR") or CACHE / "scribe-node/clients")

RELEASES = {
    (3, 14, 2): "2026.11.0",
    (3, 13, 2): "2026.2.3",
    (3, 13, 0): "2025.4.4",
    (3, 12, 0): "2024.12.5",
}
"""The newest Home Assistant release for each oldest Python it runs on."""

NODE_RED = "4.1.15"

PRELOADED = (
    *("mqtt", "frontend", "recorder", "image_upload", "backup", "conversation", "hassio"),
    *("camera", "stream"),  # an AI task can look at pictures
)
"""Integrations we use or that are always loaded, and that have requirements of their own: Home
Assistant would fetch these while it starts."""


def run(*command: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return done.stdout


def pythons() -> list[Path]:
    """Return interpreters that may be new enough: on the path, and those of pyenv."""
    names = ("python3.14", "python3.13", "python3.12", "python3")
    found = [Path(path) for name in names if (path := shutil.which(name))]
    beside = Path(sys.base_prefix).parent  # where pyenv keeps its versions
    return [*found, *beside.glob("3.*/bin/python")]


def version_of(python: Path) -> tuple[int, ...]:
    """Return its version; empty if it does not run, such as a pyenv shim."""
    asked = subprocess.run([python, "-V"], capture_output=True, text=True, check=False)
    numbers = re.fullmatch(r"Python (\d+)\.(\d+)\.(\d+)\s*", asked.stdout)
    return tuple(map(int, numbers.groups())) if numbers else ()


def choose() -> tuple[Path, str]:
    """Return the newest Python and the Home Assistant release for it."""
    python, version = max(((p, version_of(p)) for p in pythons()), key=lambda pair: pair[1])
    if asked := os.environ.get("HA_VERSION"):
        return python, asked
    for needed, release in RELEASES.items():
        if version >= needed:
            return python, release
    sys.exit("Home Assistant needs Python 3.12 or newer next to this one; install python3.13")


def home_assistant_folder(release: str) -> Path:
    return FOLDER / f"home-assistant-{release}"


def install_home_assistant(python: Path, release: str) -> None:
    """Install Home Assistant into a virtual environment of its own: it pins a different paho.

    Its constraints file is taken from the package first. Without it, pip spends minutes trying
    releases of what the metadata does not pin.
    """
    folder = home_assistant_folder(release)
    installed, wanted = folder / "installed", "\n".join(PRELOADED)
    if installed.exists() and installed.read_text() == wanted:
        return
    tools = FOLDER / "tools"
    if not (tools / "bin/uv").exists():
        run(sys.executable, "-m", "venv", tools)
        run(tools / "bin/pip", "install", "-q", "uv")
    run(tools / "bin/uv", "venv", "-q", "--clear", "--python", python, folder)
    install = (tools / "bin/uv", "pip", "install", "-q", "--python", folder / "bin/python")
    run(*install, "--no-deps", f"homeassistant=={release}")
    package = next(folder.glob("lib/python3*/site-packages/homeassistant"))
    constraints = package / "package_constraints.txt"
    run(*install, "-c", constraints, f"homeassistant=={release}", *requirements(package))
    installed.write_text(wanted)


def requirements(package: Path) -> list[str]:
    """Return the requirements of the integrations we use."""
    found: set[str] = set()
    for integration in PRELOADED:
        manifest = json.loads((package / "components" / integration / "manifest.json").read_text())
        found.update(manifest.get("requirements", []))
    return sorted(found)


def node_red_folder() -> Path:
    return FOLDER / f"node-red-{NODE_RED}"


def install_node_red() -> None:
    folder = node_red_folder()
    if (folder / "installed").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    options = ("--no-audit", "--no-fund", "--no-save", "--prefix", str(folder))
    run("npm", "install", *options, f"node-red@{NODE_RED}", cwd=folder)
    (folder / "installed").touch()


def main() -> None:
    began = time.monotonic()
    FOLDER.mkdir(parents=True, exist_ok=True)
    python, release = choose()
    install_home_assistant(python, release)
    install_node_red()
    seconds = time.monotonic() - began
    print(f"Home Assistant {release} and Node-RED {NODE_RED} in {FOLDER}, after {seconds:.0f} s")


if __name__ == "__main__":
    main()
