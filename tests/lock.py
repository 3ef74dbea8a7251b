"""Writes the lock files: the versions and hashes of all that is installed, on PC and Pi.

    python -m tests.lock

systemd/requirements.lock has what the node needs, systemd/requirements-web.lock what the page needs
beside it, and tests/requirements.lock what development needs beside both. Wheels only: a version
that has none for one of the Pythons and machines is a failure, as pip says it. So the files show,
too, that a Raspberry Pi compiles nothing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
NODE_LOCK = ROOT / "systemd" / "requirements.lock"
WEB_LOCK = ROOT / "systemd" / "requirements-web.lock"
DEV_LOCK = ROOT / "tests" / "requirements.lock"
PYTHONS = ("3.11", "3.12", "3.13")
MACHINES = ("x86_64", "aarch64")
GLIBC = (28, 27, 26, 17)  # of Debian 10 and before: what the wheels are built on
HEAD = "# What {}; written by `make lock`, for Python {} on {}.\n"


@dataclass(frozen=True)
class Pin:
    version: str
    hashes: frozenset[str]
    """SHA-256 of each wheel, as pip writes it in a requirement."""


Pins = dict[str, Pin]
"""By the package's name."""


def resolve(wanted: list[str], python: str, machine: str) -> Pins:
    """What pip would install there, of the public index alone."""
    platforms = [f"--platform=manylinux_2_{minor}_{machine}" for minor in GLIBC]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        subprocess.run(
            [
                *(sys.executable, "-m", "pip", "install", "--dry-run", "--quiet"),
                *("--only-binary=:all:", "--implementation=cp", f"--python-version={python}"),
                *(f"--target={folder}/target", f"--report={report}"),
                *(*platforms, f"--platform=manylinux2014_{machine}", *wanted),
            ],
            check=True,
            env={**os.environ, "PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": ""},
        )
        installs = json.loads(report.read_text())["install"]
    return {entry["metadata"]["name"].lower(): _pin(entry) for entry in installs}


def _pin(entry: dict[str, dict[str, dict[str, dict[str, str]]]]) -> Pin:
    version = str(entry["metadata"]["version"])
    digest = entry["download_info"]["archive_info"]["hashes"]["sha256"]
    return Pin(version, frozenset({f"sha256:{digest}"}))


def resolve_for_all(wanted: list[str], known: dict[str, Pins]) -> dict[str, Pins]:
    """The pins by Python; those of all machines in one, which must be of the same versions."""
    found = {}
    for python in PYTHONS:
        fixed = [f"{name}=={pin.version}" for name, pin in known.get(python, {}).items()]
        pc, pi = (resolve([*wanted, *fixed], python, machine) for machine in MACHINES)
        differ = {name for name in pc | pi if versions_of(name, pc) != versions_of(name, pi)}
        assert not differ, f"{python}: {MACHINES} differ in {differ}"
        found[python] = {
            name: Pin(pin.version, pin.hashes | pi[name].hashes) for name, pin in pc.items()
        }
    return found


def versions_of(name: str, pins: Pins) -> str | None:
    return pins[name].version if name in pins else None


def lines(pins: dict[str, Pins]) -> list[str]:
    """One entry a package; where Pythons differ, one for each."""
    found = []
    for name in sorted({name for of_python in pins.values() for name in of_python}):
        versions = {python: versions_of(name, of_python) for python, of_python in pins.items()}
        if len(set(versions.values())) == 1:
            hashes = frozenset[str]().union(*(of[name].hashes for of in pins.values()))
            found.append(_line(f"{name}=={versions[PYTHONS[0]]}", hashes))
            continue
        found += [
            _line(f'{name}=={version}; python_version == "{python}"', pins[python][name].hashes)
            for python, version in versions.items()
            if version
        ]
    return found


def _line(requirement: str, hashes: frozenset[str]) -> str:
    return " \\\n    ".join([requirement, *(f"--hash={value}" for value in sorted(hashes))])


def write(file: Path, who: str, pins: dict[str, Pins]) -> None:
    head = HEAD.format(who, ", ".join(PYTHONS), " and ".join(MACHINES))
    file.write_text(head + "".join(f"{line}\n" for line in lines(pins)))


def beside(pins: dict[str, Pins], known: dict[str, Pins]) -> dict[str, Pins]:
    """The pins that are not among the known ones."""
    return {
        python: {name: pin for name, pin in of.items() if name not in known[python]}
        for python, of in pins.items()
    }


def main() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    # The metrics too: nothing can be added in a container, or under `install.sh`'s lock.
    needed = [*project["dependencies"], *extras["metrics"]]
    node = resolve_for_all(needed, {})
    web = resolve_for_all([*needed, *extras["web"]], node)
    dev = resolve_for_all([*needed, *extras["web"], *extras["dev"]], web)
    write(NODE_LOCK, "systemd/install.sh installs", node)
    write(WEB_LOCK, "`scribe-node web` needs beside systemd/requirements.lock", beside(web, node))
    write(DEV_LOCK, "development needs beside those two", beside(dev, web))


if __name__ == "__main__":
    main()
