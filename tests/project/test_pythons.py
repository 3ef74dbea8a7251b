"""Which Pythons the node runs on: reported before anything else can fail."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.lock import PYTHONS

ROOT = Path(__file__).parents[2]


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def started_on(version: tuple[int, int]) -> subprocess.CompletedProcess[str]:
    """Run `python -m node --version` with a Python that claims another version."""
    program = (
        f"import sys; sys.version_info = ({version[0]}, {version[1]}, 0, 'final', 0);"
        " sys.argv = ['node', '--version'];"
        " import runpy; runpy.run_module('node', run_name='__main__')"
    )
    command = [sys.executable, "-c", program]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("version", [(3, 6), (3, 10), (3, 14)])
def test_another_python_is_refused_with_those_that_serve(version: tuple[int, int]) -> None:
    done = started_on(version)
    assert done.returncode == 1
    said = (
        f"Scribe Node runs on Python 3.11 to 3.13, and this is Python {version[0]}.{version[1]} ("
    )
    assert done.stderr.startswith(said)
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("version", [(3, 11), (3, 12), (3, 13)])
def test_these_serve(version: tuple[int, int]) -> None:
    assert started_on(version).returncode == 0


@pytest.mark.parametrize("file", ["node/__init__.py", "node/__main__.py"])
def test_what_refuses_can_be_read_by_old_pythons(file: str) -> None:
    assert "__future__" not in text(file)
    ast.parse(text(file), feature_version=(3, 7))


def test_all_that_name_the_pythons_agree() -> None:
    assert PYTHONS == ("3.11", "3.12", "3.13")
    project = tomllib.loads(text("pyproject.toml"))["project"]
    assert project["requires-python"] == ">=3.11,<3.14"
    named = [c.rpartition(" ")[2] for c in project["classifiers"] if " :: 3." in c]
    assert tuple(named) == PYTHONS
    assert "(3, 11) <= sys.version_info[:2] <= (3, 13)" in text("systemd/install.sh")
    for name in ("README.md", "docs/fr.md"):
        said = re.findall(r"Python (3\.\d+) (?:to|à) (3\.\d+)", text(name))
        assert said == [("3.11", "3.13")], name


def test_a_package_that_is_missing_is_named_with_what_installs_it() -> None:
    """As if the system's Python were run in a clone."""
    command = [sys.executable, "-S", "-m", "node", "check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "is not installed for" in done.stderr
    assert "run .venv/bin/python -m node" in done.stderr
    assert "Traceback" not in done.stderr
