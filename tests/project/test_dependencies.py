"""What the package imports, what it declares, and what is installed."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import sys
import tomllib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
WEB = {
    requirement.name: requirement
    for requirement in map(Requirement, PROJECT["optional-dependencies"]["web"])
}
"""What the page needs beside it."""

NEEDED = {
    requirement.name: requirement for requirement in map(Requirement, PROJECT["dependencies"])
}
OPTIONAL = {
    requirement.name: requirement
    for requirement in map(Requirement, PROJECT["optional-dependencies"]["metrics"])
}
"""What is imported only by those who ask for it."""

PAGE = {ROOT / "node" / "commands" / "web.py", *(ROOT / "node" / "web").rglob("*.py")}
PINNED = re.compile(r"^[^\s#][^\\]*", re.MULTILINE)


def normal(name: str) -> str:
    """Return a package's name as registries compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


@cache
def installed() -> Mapping[str, list[str]]:
    """Return the packages that each name one can import comes from."""
    return importlib.metadata.packages_distributions()


def imported(files: Iterable[Path]) -> set[str]:
    """Return all packages these files import, except Python's own and the node itself."""
    found: set[str] = set()
    for file in files:
        for statement in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(statement, ast.Import):
                found |= {alias.name.split(".")[0] for alias in statement.names}
            elif isinstance(statement, ast.ImportFrom):
                found.add(str(statement.module).split(".")[0])
    owners = installed()
    names = found - sys.stdlib_module_names - {"node"}
    return {normal(owners[name][0]) for name in names}


def test_what_is_imported_is_required_and_what_is_required_is_imported() -> None:
    files = set((ROOT / "node").rglob("*.py")) - PAGE
    assert imported(files) == {normal(name) for name in {*NEEDED, *OPTIONAL}}


def test_only_the_page_imports_what_the_extra_installs() -> None:
    assert imported(PAGE) - {normal(name) for name in NEEDED} == {normal(name) for name in WEB}


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
@pytest.mark.parametrize(
    ("file", "needed"),
    [("requirements.lock", {**NEEDED, **OPTIONAL}), ("requirements-web.lock", WEB)],
)
def test_what_is_installed_is_what_is_required(
    python: str, file: str, needed: dict[str, Requirement]
) -> None:
    lock = (ROOT / "systemd" / file).read_text(encoding="utf-8")
    pins = [Requirement(line.strip()) for line in PINNED.findall(lock)]
    versions = {
        normal(pin.name): next(iter(pin.specifier)).version
        for pin in pins
        if pin.marker is None or pin.marker.evaluate({"python_version": python})
    }
    for name, requirement in needed.items():
        assert requirement.specifier.contains(versions[normal(name)]), name


@pytest.mark.parametrize("name", [*NEEDED, *WEB])
def test_every_requirement_has_both_bounds(name: str) -> None:
    operators = {each.operator for each in {**NEEDED, **WEB}[name].specifier}
    assert operators == {">=", "<"}
