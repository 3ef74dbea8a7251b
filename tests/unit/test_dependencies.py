"""What the package imports, what it declares, and what is installed."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
NEEDED = {
    requirement.name: requirement for requirement in map(Requirement, PROJECT["dependencies"])
}
OPTIONAL = {
    requirement.name
    for requirement in map(Requirement, PROJECT["optional-dependencies"]["metrics"])
}
"""What is imported only by those who ask for it."""

PINNED = re.compile(r"^[^\s#][^\\]*", re.MULTILINE)


def normal(name: str) -> str:
    """Return a package's name as registries compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def imported() -> set[str]:
    """Return all packages imported anywhere in the node, except Python's own and itself."""
    found: set[str] = set()
    for file in (ROOT / "node").rglob("*.py"):
        for statement in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(statement, ast.Import):
                found |= {alias.name.split(".")[0] for alias in statement.names}
            elif isinstance(statement, ast.ImportFrom):
                found.add(str(statement.module).split(".")[0])
    return found - sys.stdlib_module_names - {"node"}


def test_what_is_imported_is_required_and_what_is_required_is_imported() -> None:
    owners = importlib.metadata.packages_distributions()
    packages = {normal(owners[name][0]) for name in imported()}
    assert packages == {normal(name) for name in {*NEEDED, *OPTIONAL}}


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_what_is_installed_is_what_is_required(python: str) -> None:
    lock = (ROOT / "systemd" / "requirements.lock").read_text(encoding="utf-8")
    pins = [Requirement(line.strip()) for line in PINNED.findall(lock)]
    versions = {
        normal(pin.name): next(iter(pin.specifier)).version
        for pin in pins
        if pin.marker is None or pin.marker.evaluate({"python_version": python})
    }
    for name, requirement in NEEDED.items():
        assert requirement.specifier.contains(versions[normal(name)]), name


@pytest.mark.parametrize("name", NEEDED)
def test_every_requirement_has_both_bounds(name: str) -> None:
    operators = {each.operator for each in NEEDED[name].specifier}
    assert operators == {">=", "<"}
