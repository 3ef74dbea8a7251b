"""The wheel, built from the source distribution, holds all that is needed and runs by itself."""

from __future__ import annotations

import email
import os
import re
import signal
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from node import __version__
from tests.model.sentences import SENTENCES
from tests.rig import package
from tests.rig.documents import DOCUMENTS, ROOT, links, relative
from tests.rig.node import spoken
from tests.rig.processes import Program, need
from tests.rig.vmics import write_wav

if TYPE_CHECKING:
    from tests.rig.package import Distributions, Environment

NAME = f"scribe_node-{__version__}"
DATA = f"{NAME}.data/data/share/scribe-node/"
DOCUMENTS_BESIDE = {"README.md", "CHANGELOG.md", "LICENSE"}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Distributions:
    return package.build(tmp_path_factory.mktemp("package"))


@pytest.fixture(scope="module")
def installed(built: Distributions, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return package.install(built.wheel, tmp_path_factory.mktemp("installed") / "venv")


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder far from the clone, and an environment that does not lead back to it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("PYTHONPATH", "VIRTUAL_ENV", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def files_under(root: Path, *folders: str) -> set[str]:
    return {
        file.relative_to(root).as_posix()
        for folder in folders
        for file in (root / folder).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts and not _is_secret(file)
    }


def _is_secret(file: Path) -> bool:
    return file.parent.name == "config" and file.name.endswith("-password")


def test_the_wheel_holds_the_program_and_what_the_readme_names(built: Distributions) -> None:
    with zipfile.ZipFile(built.wheel) as wheel:
        held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    shared = files_under(built.source, "config", "docs", "systemd") | DOCUMENTS_BESIDE
    program = files_under(built.source, "node")
    assert held == program | {DATA + name for name in shared}
    named = {target for file in DOCUMENTS for target, _ in links(file)}
    assert {relative(target) for target in named} - shared == set()


def test_the_installer_copies_all_that_the_build_needs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    shared = {Path(name).parts[0] for name in wheel["shared-data"]}
    needed = {*wheel["packages"], *shared, *project["project"]["license-files"]}
    installer = (ROOT / "systemd" / "install.sh").read_text(encoding="utf-8")
    copied = re.findall(r'cp -r (.+) "\$build"', installer)
    assert set(copied[0].split()) == needed | {"pyproject.toml", project["project"]["readme"]}


def test_the_source_distribution_holds_the_tests_too(built: Distributions) -> None:
    with tarfile.open(built.sdist) as archive:
        held = {member.name.removeprefix(f"{NAME}/") for member in archive if member.isfile()}
    assert not any(_is_secret(Path(name)) for name in held)
    missing = files_under(built.source, ".") - held
    assert {name for name in missing if not name.startswith(".ci/")} == set()


def test_the_metadata_say_what_it_is(built: Distributions) -> None:
    with zipfile.ZipFile(built.wheel) as wheel:
        said = email.message_from_bytes(wheel.read(f"{NAME}.dist-info/METADATA"))
        licence = wheel.read(f"{NAME}.dist-info/licenses/LICENSE").decode()
    assert (said["Name"], said["Version"]) == ("scribe-node", __version__)
    assert said["License-Expression"] == "MIT"
    assert "MIT License" in licence
    assert said["Requires-Python"] == "<3.14,>=3.11"
    assert said["Description-Content-Type"] == "text/markdown"
    needed = [entry for entry in said.get_all("Requires-Dist", []) if "extra ==" not in entry]
    assert needed
    assert [entry for entry in needed if not re.search(r">=.*<|<.*>=", entry)] == []


def run(installed: Environment, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [installed.command, *arguments], capture_output=True, text=True, timeout=120, check=False
    )


def test_the_command_runs_outside_the_clone(installed: Environment, elsewhere: Path) -> None:
    assert run(installed, "--version").stdout == f"{__version__}\n"
    where = "import node; print(node.__file__)"
    found = subprocess.run(
        [installed.python, "-c", where], stdout=subprocess.PIPE, text=True, check=True
    )
    assert found.stdout.startswith(str(installed.root)), f"seen from {elsewhere}"


def test_it_checks_the_configuration_it_brings(installed: Environment, elsewhere: Path) -> None:
    config = installed.share / "config" / "demo" / "node.yaml"
    done = run(installed, "check", "--config", config)
    assert re.search(r"^model +warning .* loads in", done.stdout, re.MULTILINE), (
        f"{done} in {elsewhere}"
    )


def test_it_transcribes(installed: Environment, elsewhere: Path) -> None:
    track = write_wav(elsewhere / "alice.wav", spoken(SENTENCES[0]), 16000)
    model = installed.share / "config" / "demo" / "model"
    done = run(installed, "transcribe", track, "--speaker", "Alice", "--model", model)
    assert f"Alice: {SENTENCES[0].text}" in done.stdout, done.stderr


def test_it_plays_the_demo(installed: Environment, elsewhere: Path) -> None:
    need("mosquitto")
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with Program([installed.command, "demo"], environment, elsewhere) as demo:
        demo.wait_output("Alice", 90)
        demo.wait_output("  en, ", 90)
        demo.signal_group(signal.SIGINT)
        demo.wait(60)
        assert "Traceback" not in demo.output()


def test_it_is_typed(installed: Environment, elsewhere: Path) -> None:
    """Code that imports it gets its types: mypy knows what `Topics.root` is."""
    user = elsewhere / "user.py"
    user.write_text(
        'from node.core.mqtt.topics import Topics\nreveal_type(Topics("a", "b").root)\n'
    )
    options = ("--strict", "--config-file=", "--python-executable", installed.python)
    command: list[str | Path] = [sys.executable, "-m", "mypy", *options, user]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert re.search(r'Revealed type is "(builtins\.)?str"', done.stdout), done.stdout
    assert done.returncode == 0, done.stdout
