"""Who said what, and when: this node and other systems. `python -m tests.bench.accuracy --quick`.

Meetings are made from recorded speech (`--speech FOLDER`) or espeak-ng's voices.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from node.errors import NodeError
from tests.bench import trained
from tests.bench.accuracy.report import Report
from tests.bench.accuracy.rows import NOISE, QUICK_ROWS, ROWS, SYNTAX, Recipe, Speech, parse_row
from tests.bench.accuracy.runs import Job, run_all
from tests.bench.accuracy.systems import DEFAULT_SYSTEMS, MEANT, OURS, QUICK_SYSTEMS, SYSTEMS
from tests.bench.speech import SpeechError, digest, recordings

EXPLAINED = 3
COSTS = (
    "All rows take half an hour to an hour on two cores with --systems oracle drop, and about four"
    " hours with all systems. The folder --cache takes 2 GB; results in it are reused."
)
NOISE_S, QUICK_NOISE_S = 600.0, 60.0


def main() -> None:
    given = _arguments()
    try:
        _run(given)
    except NodeError as error:
        raise SystemExit(str(error)) from error


def _run(given: argparse.Namespace) -> None:
    names = given.rows or (QUICK_ROWS if given.quick else ROWS)
    systems = given.systems or (QUICK_SYSTEMS if given.quick else DEFAULT_SYSTEMS)
    looked_at = OURS if OURS in systems else systems[0]
    noise_s = QUICK_NOISE_S if given.quick else NOISE_S
    job = Job(
        systems,
        trained.folder(given.model),
        given.cache,
        looked_at if given.explain else None,
        noise_s if NOISE in names else 0,
    )
    recipes = _recipes([name for name in names if name != NOISE], given)
    report = Report(list(dict.fromkeys(recipe.row.name for recipe in recipes)), systems)
    for outcome in run_all(recipes, job, given.jobs):
        print(report.add(outcome), flush=True)
    print("", report.markdown(), sep="\n")
    print("\n".join(report.worst(looked_at, given.explain)))
    if given.json:
        given.json.write_text(report.json(), encoding="utf-8")
    if given.into:
        text = given.into.read_text(encoding="utf-8")
        given.into.write_text(report.write_into(text), encoding="utf-8")


def _recipes(rows: list[str], given: argparse.Namespace) -> list[Recipe]:
    count = given.meetings or (1 if given.quick else 6)
    voices = "tuning" if given.tuning else "report"
    speech = given.speech and Speech(given.speech, digest(recordings(given.speech)))
    recipes = [
        [
            Recipe(parse_row(name), number + 1, given.length, voices, speech)
            for number in range(count)
        ]
        for name in rows
    ]
    # Report too few speakers before the long work starts.
    return [recipe for row in recipes if _has_speakers(row[0], given) for recipe in row]


def _has_speakers(recipe: Recipe, given: argparse.Namespace) -> bool:
    """Return whether there are enough speakers; rows asked for by name always count."""
    try:
        recipe.check()
    except SpeechError as error:
        if given.rows:
            raise
        print(f"Left out: {recipe.row.name}: {error}", flush=True)
        return False
    return True


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="tests.bench.accuracy", description=__doc__, epilog=f"{SYNTAX} {COSTS}"
    )
    parser.add_argument("--quick", action="store_true", help="few rows, one meeting, our systems")
    parser.add_argument("--tuning", action="store_true", help="other seeds and voices, for tuning")
    rows = f"in the format below; default: {len(ROWS)} rows, from {ROWS[0]} to {ROWS[-2]}"
    parser.add_argument("--rows", nargs="+", type=_row, metavar="ROW", help=rows.replace("%", "%%"))
    systems = "; ".join(f"{name}: {what}" for name, what in MEANT.items())
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, metavar="SYSTEM", help=systems)
    parser.add_argument("--model", choices=trained.NAMES, default="base")
    parser.add_argument("--speech", type=Path, metavar="FOLDER", help="recordings to use")
    meetings = "meetings per row, each with its own seed (6; --quick: 1)"
    parser.add_argument("--meetings", type=int, help=meetings)
    parser.add_argument("--length", type=float, default=70.0, help="length of a meeting in seconds")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes")
    parser.add_argument("--cache", type=Path, default=Path("build/accuracy"), help="a folder")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    parser.add_argument("--into", type=Path, help="put the table into this file, between marks")
    parser.add_argument(
        "--explain",
        type=int,
        nargs="?",
        const=EXPLAINED,
        default=0,
        help=f"say what went wrong in the worst meetings ({EXPLAINED})",
    )
    given = parser.parse_args()
    if given.into and given.systems and OURS not in given.systems:
        parser.error(f"--into needs {OURS} among the --systems: the table is about it")
    return given


def _row(name: str) -> str:
    try:
        return name if name == NOISE else parse_row(name).name
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


if __name__ == "__main__":
    main()
