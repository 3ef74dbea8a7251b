"""The long kill campaign: `python -m tests.bench.soak [KILLS] [--seed N]`, about 5 s per kill.

Half of the kills are with `session.resume`, half without. The exit status is 1 if a sentence was
lost, doubled or changed, or if anything was left behind.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from tests.model.sentences import ENGLISH, FRENCH
from tests.rig.broker import Broker
from tests.rig.campaign import Campaign
from tests.rig.mqtt import Watcher
from tests.rig.node import RunningNode, configuration
from tests.rig.tapes import record, tape_recorder

if TYPE_CHECKING:
    from tests.rig.verdict import Report

MICS = ("desk", "door", "wall", "sofa")
COUNTS = ("kills", "sessions", "expected", "found", "lost", "doubled", "altered", "repeats")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kills", nargs="?", type=int, default=100)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    arguments = parser.parse_args()
    console = Console(width=110)
    console.print(f"seed {arguments.seed}")
    table = Table("session", *COUNTS, "online s", "replayed s", title="Kills under load")
    half = arguments.kills // 2
    reports = {
        "goes on": campaign(arguments.kills - half, arguments.seed, resume=True),
        "is closed": campaign(half, arguments.seed, resume=False),
    }
    for name, report in reports.items():
        counts = [str(getattr(report, count)) for count in COUNTS]
        table.add_row(name, *counts, spread(report.online_s), spread(report.replayed_s))
    console.print(table)
    wrong = [line for report in reports.values() for line in report.wrong]
    console.print("\n".join(wrong) or "nothing lost, nothing doubled", markup=False)
    return 1 if wrong else 0


def campaign(kills: int, seed: int, *, resume: bool) -> Report:
    """Kill a node with four mics `kills` times, in a folder of its own."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as name, Broker() as broker, Watcher(broker.port) as watcher:
        folder = Path(name)
        tapes = [record(folder, mic, ENGLISH + FRENCH, rng) for mic in MICS]
        sections = {
            "audio": tape_recorder(*tapes),
            "session": {"resume": resume},
            "crosstalk": {"mode": "off"},
        }
        with RunningNode(folder, configuration(folder, broker.port, [], **sections)) as node:
            return Campaign(node, watcher, tapes, rng, resume=resume).run(kills)


def spread(seconds: list[float]) -> str:
    """Return median and maximum."""
    if not seconds:
        return "-"
    return f"{statistics.median(seconds):.1f} / {max(seconds):.1f}"


if __name__ == "__main__":
    sys.exit(main())
