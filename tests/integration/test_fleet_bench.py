"""The benchmark of many nodes and workers, with two nodes."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from tests.bench.fleet.__main__ import PLACES
from tests.rig.node import ROOT
from tests.rig.processes import need

if TYPE_CHECKING:
    from pathlib import Path

BRIEF = ("--model", "demo", "--threads", "1", "--nodes", "2", "--share", "0.7", "--seconds", "4")


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("|")[1:-1]]


def test_nodes_share_workers(tmp_path: Path) -> None:
    need("espeak-ng", "mosquitto")
    page = tmp_path / "page.md"
    page.write_text("".join(f"<!-- {place} -->\n<!-- end of {place} -->\n" for place in PLACES))
    command = [sys.executable, "-m", "tests.bench.fleet", *BRIEF]
    options = ["--workers", "1", "--kill", "2", "--into", str(page)]
    done = subprocess.run(
        [*command, *options], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing lost, nothing twice" in done.stdout
    rows = [cells(line) for line in page.read_text().splitlines() if line.startswith("| ")]
    assert [row[0] for row in rows[1:3]] == ["1", "2, one killed after 2 s"]
    assert all(float(row[2]) > 0 and row[-1] == "0" for row in rows[1:3])
    assert [row[0] for row in rows[3:5]] == ["Workers", "1"]
    assert rows[-1][0] == "10,000"
