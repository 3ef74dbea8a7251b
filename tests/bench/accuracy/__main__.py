"""Who said what, when: this node beside other ways. `python -m tests.bench.accuracy --quick`.

Meetings are of recorded speech (`--speech FOLDER`) or of espeak-ng's voices.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from node.errors import NodeError
from tests.bench import trained
from tests.bench.accuracy.report import Report
from tests.bench.accuracy.rows import NOISE, QUICK_ROWS, ROWS, Recipe, Speech, parse_row
from tests.bench.accuracy.runs import Job, run_all
from tests.bench.accuracy.systems import OURS, QUICK_SYSTEMS, SYSTEMS
from tests.bench.speech import digest, recordings

EXPLAINED = 3
NOISE_S, QUICK_NOISE_S = 600.0, 60.0


def main() -> None:
    given = _arguments()
    try:
        _run(given)
    except NodeError as error:
        raise SystemExit(str(error)) from error


def _run(given: argparse.Namespace) -> None:
    names = given.rows or (QUICK_ROWS if given.quick else ROWS)
    rows = [name for name in names if name != NOISE]
    systems = given.systems or (QUICK_SYSTEMS if given.quick else tuple(SYSTEMS))
    looked_at = OURS if OURS in systems else systems[0]
    noise_s = QUICK_NOISE_S if given.quick else NOISE_S
    job = Job(
        systems,
        trained.folder(given.model),
        given.cache,
        looked_at if given.explain else None,
        noise_s if NOISE in names else 0,
    )
    recipes = _recipes(rows, given)
    report = Report(rows, systems)
    for outcome in run_all(recipes, job, given.jobs):
        print(report.add(outcome), flush=True)
    print("", report.markdown(), sep="\n")
    print("\n".join(report.worst(looked_at, given.explain)))
    if given.json:
        given.json.write_text(report.json(), encoding="utf-8")
    if given.readme:
        text = given.readme.read_text(encoding="utf-8")
        given.readme.write_text(report.write_into(text), encoding="utf-8")


def _recipes(rows: list[str], given: argparse.Namespace) -> list[Recipe]:
    count = given.meetings or (1 if given.quick else 6)
    voices = "tuning" if given.tuning else "report"
    speech = given.speech and Speech(given.speech, digest(recordings(given.speech)))
    recipes = [
        Recipe(parse_row(name), number, given.length, voices, speech)
        for name in rows
        for number in range(1, count + 1)
    ]
    if recipes:  # too few speakers are complained of before anything takes long
        max(recipes, key=lambda recipe: recipe.row.speakers).seats()
    return recipes


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests.bench.accuracy", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few rows, one meeting, own systems")
    parser.add_argument("--tuning", action="store_true", help="other seeds and voices, to work on")
    rows = f"as {' '.join(ROWS)}; any numbers will do".replace("%", "%%")
    parser.add_argument("--rows", nargs="+", type=_row, metavar="ROW", help=rows)
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS)
    parser.add_argument("--model", choices=trained.NAMES, default="base")
    parser.add_argument("--speech", type=Path, metavar="FOLDER", help="recordings to meet with")
    parser.add_argument("--meetings", type=int, help="meetings of each row, each with its seed")
    parser.add_argument("--length", type=float, default=70.0, help="seconds of a meeting")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes")
    parser.add_argument("--cache", type=Path, default=Path("build/accuracy"), help="a folder")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    parser.add_argument("--readme", type=Path, help="put the table into this file, between marks")
    parser.add_argument(
        "--explain",
        type=int,
        nargs="?",
        const=EXPLAINED,
        default=0,
        help=f"say what went wrong in the worst meetings ({EXPLAINED})",
    )
    given = parser.parse_args()
    if given.readme and given.systems and OURS not in given.systems:
        parser.error(f"--readme wants {OURS} among the --systems: the table is about it")
    return given


def _row(name: str) -> str:
    try:
        return name if name == NOISE else parse_row(name).name
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


if __name__ == "__main__":
    main()
