"""How workers keep up with many nodes: `python -m tests.bench.fleet [--speech FOLDER]`.

Simulated rooms speak in real time. Their nodes' half that sends speech away is the real one, as are
the broker (mosquitto) and the workers, except for the engine: that only waits as long as the real
one took for such an utterance on this machine. Takes about a minute and a half for each number of
workers, and longer where there are too few.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from node.config.sections import WorkerConfig
from node.errors import NodeError
from tests.bench import trained
from tests.bench.fleet import pace, report, sounds
from tests.bench.fleet.house import House
from tests.bench.markdown import put

if TYPE_CHECKING:
    from tests.bench.fleet.house import Outcome
    from tests.bench.fleet.pace import Paces
    from tests.bench.fleet.sounds import People, Said

PLACES = ("fleet", "fleet traffic", "fleet plan")
"""Names of the marks that the tables of docs/several-nodes.md stand between."""

CACHE = Path("build/fleet")
RAM = Path("/dev/shm")  # noqa: S108  # a hundred nodes do not share a disk
BEAM = 5


def main() -> int:
    given = _arguments()
    try:
        people = sounds.recorded(given.speech) if given.speech else sounds.synthetic()
        every = [said for person in people for said in person]
        paces = _paces(given, every)
    except NodeError as error:
        raise SystemExit(str(error)) from error
    _describe(paces, every)
    outcomes = [_run(given, people, paces, workers) for workers in given.workers]
    if given.kill:
        outcomes.append(_run(given, people, paces, given.kill, given.seconds / 2))
    plan = report.plan(paces, every, BEAM)
    tables = (report.fleet(outcomes), report.traffic(outcomes), plan)
    print("\n".join(tables))
    if given.into:
        text = given.into.read_text(encoding="utf-8")
        for place, content in zip(PLACES, tables, strict=True):
            text = put(text, place, content)
        given.into.write_text(text, encoding="utf-8")
    faults = [fault for outcome in outcomes for fault in outcome.faults]
    print("\n".join(faults) or "nothing lost, nothing twice")
    return 1 if faults else 0


def _paces(given: argparse.Namespace, every: list[Said]) -> Paces:
    kind = "recorded" if given.speech else "espeak"
    file = CACHE / f"{given.model}-{given.threads}-{kind}.json"
    if given.measure or not file.exists():
        languages = sorted({said.language for said in every})
        model = trained.folder(given.model)
        pace.write(pace.measure(model, every, languages, given.threads), file)
    return pace.read(file)


def _describe(paces: Paces, every: list[Said]) -> None:
    for beam, found in paces.items():
        times = report.service(found, every)
        _say(
            f"engine, beam {beam}: {times.mean_s:.2f} s for an utterance, coefficient of variation"
            f" {times.variation:.1f}, {pace.rtf(found, every):.3f} of real time;"
            f" {found.abreast:.1f} threads ran at once"
        )


def _run(
    given: argparse.Namespace,
    people: People,
    paces: Paces,
    workers: int,
    kill_s: float | None = None,
) -> Outcome:
    turns = sounds.talk(people, given.nodes, given.share, given.seconds, given.seed)
    with (
        tempfile.TemporaryDirectory(dir=RAM if RAM.is_dir() else None) as folder,
        House(
            Path(folder), paces, turns, rooms=given.nodes, workers=workers, slots=given.slots
        ) as house,
    ):
        outcome = house.run(given.seconds, kill_s)
    _say(f"{workers} workers: {len(outcome.texts)} texts, {len(outcome.faults)} faults")
    return outcome


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests.bench.fleet", description=__doc__)
    add = parser.add_argument
    add("--speech", type=Path, metavar="FOLDER", help="recordings; without it, espeak-ng speaks")
    add("--model", choices=trained.NAMES, default="base", help="whose time is simulated")
    add("--threads", type=int, default=2, help="of its engine (%(default)s)")
    add("--measure", action="store_true", help=f"measure the engine anew (kept in {CACHE})")
    add("--nodes", type=int, default=100, help="simulated rooms (%(default)s)")
    add("--workers", type=int, nargs="*", default=[1, 2, 4, 8, 16], help="in turn (1 2 4 8 16)")
    add("--slots", type=int, default=WorkerConfig().slots, help="of each worker (%(default)s)")
    add("--kill", type=int, default=4, metavar="N", help="also kill one of N workers (4; 0: none)")
    add("--seconds", type=float, default=60, help="of meeting in each run (%(default)s)")
    add("--share", type=float, default=0.15, help="speech in it (%(default)s)")
    add("--seed", type=int, default=1, help="of who speaks when (%(default)s)")
    add("--into", type=Path, help="put the tables into this file, between marks")
    return parser.parse_args()


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
