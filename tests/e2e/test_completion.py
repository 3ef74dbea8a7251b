"""Tab, pressed in a real bash and a real zsh."""

from __future__ import annotations

import os
import re
import shlex
import sys
from typing import TYPE_CHECKING

import pytest

from tests.rig.commands import Terminal, run
from tests.rig.node import ROOT
from tests.rig.processes import need

if TYPE_CHECKING:
    from pathlib import Path

SHELLS = {"bash": ["bash", "--norc", "--noprofile", "-i"], "zsh": ["zsh", "-f", "-i"]}


class Shell(Terminal):
    """A shell in `folder` in which `scribe-node` shows its arguments instead of running."""

    def __init__(self, name: str, folder: Path) -> None:
        need(name)
        super().__init__(env={"PYTHONPATH": str(ROOT), "HOME": str(folder)})
        self._command = SHELLS[name]
        self._name = name
        self._folder = folder

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def prepare(self) -> None:
        python = shlex.quote(sys.executable)
        self.type(f"cd {shlex.quote(str(self._folder))}\n")
        self.type("scribe-node() { printf 'ran <%s>\\n' \"$*\"; }\n")
        self.type(f"source <({python} -m node completion {self._name})\n")
        self.type("echo prepared $((1 + 1))\n")
        self.wait_output("prepared 2")


@pytest.mark.parametrize("name", SHELLS)
@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("transc\tb\t", "transcribe"),
        ("transcript --fo\tm\t", "transcript --format md"),
        ("run --con\tno\t", "run --config node.yaml"),
        ("fetch\tbase", "fetch-model base"),
        ("transcribe --lang\tfr ali\t", "transcribe --language fr alice.wav"),
        ("transcribe alice.wav --out\tali\t", "transcribe alice.wav --output alice.wav"),
        ("completion z\t", "completion zsh"),
        ("-v stat\t--wa\t", "-v status --watch"),
        ("--vers\t", "--version"),
    ],
)
def test_tab_completes(name: str, typed: str, meant: str, tmp_path: Path) -> None:
    (tmp_path / "node.yaml").touch()
    (tmp_path / "alice.wav").touch()
    with Shell(name, tmp_path) as shell:
        shell.prepare()
        shell.type(f"scribe-node {typed}\n")
        shell.wait_output(r"ran <.*>\r")
        (ran,) = [line for line in shell.output().splitlines() if line.startswith("ran <")]
        assert ran == f"ran <{meant}>"


@pytest.mark.parametrize("shell", SHELLS)
def test_every_command_and_option_is_offered(shell: str) -> None:
    script = run("completion", shell).stdout
    page = run("--help").stdout
    commands = re.findall(r"^ {4}(\S+)", page, re.MULTILINE)
    assert {"run", "transcribe", "completion", "fetch-model"} < set(commands)
    for name in commands:
        assert f'"{name} "*)' in script
    assert f"in {'|'.join(commands)})" in script
