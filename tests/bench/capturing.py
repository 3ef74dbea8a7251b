"""What a node costs that only captures: `python -m tests.bench.capturing`.

Processor time and memory of a node with four virtual microphones, idle, in silence (white noise at
-60 dBFS) and with speech: first one that transcribes with `base` itself, then one that leaves that
to a worker, and this worker. Takes about eight minutes.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from node.errors import NodeError
from tests.bench import trained
from tests.bench.costs import cost, has_model, hush
from tests.bench.markdown import percent, put, table
from tests.model.sentences import SENTENCES
from tests.rig.broker import Broker
from tests.rig.mqtt import Watcher
from tests.rig.node import Room, RunningNode, configuration
from tests.rig.vmics import VirtualMic, VirtualMics
from tests.rig.workers import RunningWorker

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PLACE = "capturing"
"""Name of the marks that the table of docs/several-nodes.md stands between."""

MICS = ("desk", "door", "wall", "sofa")
SETTLE_S = 5.0
SILENCE, SPEECH = "4 mics, silence", "4 mics, speech"


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.bench.capturing", description=__doc__)
    parser.add_argument("--model", choices=trained.NAMES, default="base")
    parser.add_argument("--seconds", type=float, default=30.0, help="of each state (%(default)s)")
    parser.add_argument("--into", type=Path, help="put the table into this file, between marks")
    given = parser.parse_args()
    try:
        found = measured(trained.folder(given.model), given.seconds)
    except NodeError as error:
        raise SystemExit(str(error)) from error
    print(found)
    if given.into:
        text = given.into.read_text(encoding="utf-8")
        given.into.write_text(put(text, PLACE, found), encoding="utf-8")


def measured(model: Path, seconds: float, wheres: Sequence[str] = ("here", "broker")) -> str:
    """Return the table: `seconds` of each state, for these values of `transcription.where`."""
    columns = ("Process", "state", "processor, of one core", "memory (PSS)", "model loaded")
    rows = [row for where in wheres for row in _rows(where, model, seconds)]
    return table(columns, rows)


def _rows(where: str, model: Path, seconds: float) -> list[list[str]]:
    with (
        tempfile.TemporaryDirectory() as name,
        Broker() as broker,
        Watcher(broker.port) as watcher,
        VirtualMics([VirtualMic(mic) for mic in MICS]) as virtual,
    ):
        folder, own = Path(name), {"model": str(model), "threads": 1}
        config = configuration(folder, broker.port, MICS, transcription={**own, "where": where})
        worker = RunningWorker(folder, "w1", broker.port, transcription=own)
        with RunningNode(folder, config, virtual.env) as node, worker:
            worker.wait_online(watcher)
            room = Room(node.wait_online(watcher), virtual, watcher)
            rows = [
                [f"node, `where: {where}`", state, *_cells(node.pid, seconds)]
                for state in _states(room, seconds)
            ]
            if where == "broker":
                rows.append(["worker", SPEECH, *_cells(worker.program.pid, seconds)])
            health = room.do("health/check")
            _say(f"{where}: lag {health['lag_s']} s, {health['backlog_s']} s wait")
            return rows


def _states(room: Room, seconds: float) -> Iterator[str]:
    """Bring a node into each state, one after the other; what that costs is not part of it."""
    settle_s = min(SETTLE_S, seconds)
    time.sleep(settle_s)
    yield "idle"
    room.start(**{mic: mic for mic in MICS})
    hush(room.mics, MICS, seconds + 2 * settle_s)
    time.sleep(settle_s)
    yield SILENCE
    for number, mic in enumerate(MICS):  # the same words at all of them would be one voice
        first = number * len(SENTENCES) // len(MICS)
        room.say(mic, *SENTENCES[first:], *SENTENCES[:first], pause_s=0.5)
    time.sleep(settle_s)
    yield SPEECH


def _cells(pid: int, seconds: float) -> list[str]:
    found = cost(pid, seconds)
    memory = f"{found.memory:.0f} MiB, {found.memory_first:.0f} of its main process"
    return [percent(found.used), memory, "yes" if has_model(pid) else "no"]


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    main()
