"""What a node costs that only captures: `python -m tests.bench.capturing`.

Processor and memory of a node with several microphones (recordings played in real time), with
`base`, transcribing itself and leaving that to a worker beside it; and of that worker. Speech is
the tests' sentences, half of the time on each microphone. Takes about four minutes.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from tests.model.sentences import SENTENCES
from tests.rig.broker import Broker
from tests.rig.mqtt import Watcher
from tests.rig.node import Room, RunningNode, configuration
from tests.rig.tapes import record, tape_recorder
from tests.rig.weights import real_base
from tests.rig.workers import RunningWorker

MB = 1024 * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mics", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=60.0)
    arguments = parser.parse_args()
    table = Table("process", "idle MB", "MB in session", "processor %")
    for where in ("here", "broker"):
        for row in measure(where, arguments.mics, arguments.seconds):
            table.add_row(*row)
    Console(width=100).print(table)


def measure(where: str, mics: int, seconds: float) -> list[tuple[str, str, str, str]]:
    """Return a row for the node, and one for the worker, if there is one."""
    with tempfile.TemporaryDirectory() as name, Broker() as broker, Watcher(broker.port) as watcher:
        folder = Path(name)
        own = {"model": str(real_base()), "threads": 1}
        tapes = [
            record(folder, f"mic{n}", SENTENCES[5 * n : 5 * n + 5], random.Random(n))
            for n in range(mics)
        ]
        config = configuration(
            folder,
            broker.port,
            [],
            audio=tape_recorder(*tapes),
            transcription={**own, "where": where},
            crosstalk={"mode": "off"},
        )
        worker = RunningWorker(folder, "w1", broker.port, transcription=own)
        with RunningNode(folder, config) as node, worker:
            room = Room(node.wait_online(watcher), None, watcher)  # type: ignore[arg-type]  # tapes
            worker.wait_online(watcher)
            pids = {"node": node.pid, "worker": worker.program.pid}
            if where == "here":
                del pids["worker"]
            time.sleep(5)
            idle = {who: memory(pid) for who, pid in pids.items()}
            room.do("session/start", assignments=[
                {"mic": tape.mic, "speaker": f"Person {n}"} for n, tape in enumerate(tapes)
            ])  # fmt: skip
            time.sleep(10)
            before = {who: used(pid) for who, pid in pids.items()}
            time.sleep(seconds)
            rows = []
            for who, pid in pids.items():
                share = 100 * (used(pid) - before[who]) / seconds
                rows.append((f"{who}, where: {where}", idle[who], memory(pid), f"{share:.0f}"))
            health = room.do("health/check")
            print(where, {key: health[key] for key in ("rtf", "lag_s", "backlog_s", "load")})
            return rows


def family(pid: int) -> list[psutil.Process]:
    parent = psutil.Process(pid)
    return [parent, *parent.children(recursive=True)]


def memory(pid: int) -> str:
    """Return the memory of a process and its children, what they share counted once."""
    return f"{sum(each.memory_full_info().pss for each in family(pid)) / MB:.0f}"


def used(pid: int) -> float:
    """Return the processor seconds of a process and its children."""
    return sum(sum(each.cpu_times()[:2]) for each in family(pid))


if __name__ == "__main__":
    main()
