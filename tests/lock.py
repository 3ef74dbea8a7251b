"""Writes systemd/constraints.txt: the versions that every supported Python installs, on PC and Pi.

    python -m tests.lock

Wheels only: a version that has none for one of them is a failure, as pip says it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "systemd" / "constraints.txt"
PYTHONS = ("3.11", "3.12", "3.13")
MACHINES = ("x86_64", "aarch64")
GLIBC = (28, 27, 26, 17)  # of Debian 10 and before: what the wheels are built on
HEAD = "# Versions installed by systemd/install.sh; written by `make lock`, for {}.\n"


def resolve(python: str, machine: str) -> dict[str, str]:
    """Versions by package, as pip would install them there."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    platforms = [f"--platform=manylinux_2_{minor}_{machine}" for minor in GLIBC]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        subprocess.run(
            [
                *(sys.executable, "-m", "pip", "install", "--dry-run", "--quiet"),
                *("--only-binary=:all:", "--implementation=cp", f"--python-version={python}"),
                *(f"--target={folder}/target", f"--report={report}"),
                *(*platforms, f"--platform=manylinux2014_{machine}", *project["dependencies"]),
            ],
            check=True,
        )
        installs = json.loads(report.read_text())["install"]
    return {entry["metadata"]["name"].lower(): entry["metadata"]["version"] for entry in installs}


def lines(resolved: dict[str, dict[str, str]]) -> list[str]:
    """One line a package; where Pythons differ, one for each."""
    found = []
    for package in sorted({name for versions in resolved.values() for name in versions}):
        versions = {python: known.get(package) for python, known in resolved.items()}
        if len(set(versions.values())) == 1:
            found.append(f"{package}=={versions[PYTHONS[0]]}")
        else:
            found += [
                f'{package}=={version}; python_version == "{python}"'
                for python, version in versions.items()
                if version
            ]
    return found


def main() -> None:
    resolved = {}
    for python in PYTHONS:
        on = [resolve(python, machine) for machine in MACHINES]
        assert on[0] == on[1], f"{python}: {MACHINES} install different versions"
        resolved[python] = on[0]
    head = HEAD.format(f"Python {', '.join(PYTHONS)} on {' and '.join(MACHINES)}")
    LOCK.write_text(head + "".join(f"{line}\n" for line in lines(resolved)))


if __name__ == "__main__":
    main()
