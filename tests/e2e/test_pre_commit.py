"""The hooks for commit and push let good work pass and stop each kind of mistake."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

from tests.rig.node import ROOT
from tests.rig.processes import need

if TYPE_CHECKING:
    from pathlib import Path

GOOD = {
    "node/__init__.py": '"""A package."""\n',
    "node/core.py": '"""A module."""\n\n\ndef double(value: int) -> int:\n    return 2 * value\n',
    "tests/unit/test_core.py": (
        "from node.core import double\n\n\ndef test_double() -> None:\n    assert double(2) == 4\n"
    ),
    "tests/project/test_size.py": (
        "from pathlib import Path\n\n\n"
        "def test_size() -> None:\n"
        '    assert len(Path("node/core.py").read_text().splitlines()) < 500\n'
    ),
}
SETTINGS = ("pyproject.toml", ".pre-commit-config.yaml")
TIMEOUT_S = 120


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A small repository with the settings of this one, and this environment as its `.venv`."""
    need("git")
    if find_spec("pre_commit") is None:
        if os.environ.get("CI"):
            pytest.fail("pre-commit is not installed")
        pytest.skip("pre-commit is not installed")
    for name, text in GOOD.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    for name in SETTINGS:
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    (tmp_path / ".gitignore").write_text(".venv\n")
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    return tmp_path


def hooks(repository: Path, stage: str) -> tuple[int, str]:
    """Run all hooks of a stage on all files; return the exit status and the output."""
    subprocess.run(["git", "add", "--all"], cwd=repository, check=True)
    environment = {**os.environ, "PRE_COMMIT_HOME": str(repository.parent / "pre-commit")}
    command = (sys.executable, "-m", "pre_commit", "run", "--all-files", "--color=never")
    done = subprocess.run(
        [*command, "--hook-stage", stage],
        cwd=repository,
        env=environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("stage", ["pre-commit", "pre-push"])
def test_good_work_passes(repository: Path, stage: str) -> None:
    status, said = hooks(repository, stage)
    assert status == 0, said
    assert "Passed" in said


@pytest.mark.parametrize(
    ("hook", "stage", "bad"),
    [
        ("ruff-format", "pre-commit", "def double(value:int)->int:\n    return 2 * value\n"),
        (
            "ruff-check",
            "pre-commit",
            "def double(value: int) -> int:\n    return eval('2') * value\n",
        ),
        ("mypy", "pre-commit", "def double(value: int) -> str:\n    return 2 * value\n"),
        ("unit", "pre-push", "def double(value: int) -> int:\n    return 3 * value\n"),
    ],
    ids=["format", "lint", "types", "test"],
)
def test_bad_work_is_stopped(repository: Path, hook: str, stage: str, bad: str) -> None:
    (repository / "node/core.py").write_text(f'"""A module."""\n\n\n{bad}')
    status, said = hooks(repository, stage)
    assert status != 0
    assert f"hook id: {hook}" in said, said
