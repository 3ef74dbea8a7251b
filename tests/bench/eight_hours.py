"""Whether a long session costs more over time: `python -m tests.bench.eight_hours`.

Eight hours of four mics, 4600 utterances, pass through the real node in a few minutes (see
`tests.rig.hurried_node`): voice detection, endpointing, spool, engine, store, outbox, broker. Its
memory and processor time are read at regular intervals. Exits with status 1 if memory or the cost
of a segment has grown by more than chance, or if a segment is missing or duplicated.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

from tests.rig.broker import Broker
from tests.rig.mqtt import Watcher
from tests.rig.node import TOPIC, Room, RunningNode, configuration
from tests.rig.processes import PROC
from tests.rig.vmics import write_wav

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

UTTERANCES = 4600
"""Eight hours in which somebody speaks for half the time, 3 s at a time."""

SAMPLES = 60
"""How many times the node is measured."""

SETTLING = 0.5
"""Share of the session left out of the slopes: caches and pools fill up in it, the slowest of them
SQLite's pages (2 MiB), with the database."""

CERTAIN = 3.0
"""Standard errors that growth must exceed to be more than chance."""

MOST_GROWTH = {"memory": 0.02, "segment": 0.10, "main thread": 0.10}
"""Share of the mean that growth over the whole session must exceed to matter."""

PATIENCE_S = 120.0
MIB = 2**20


@dataclass(frozen=True, slots=True)
class Look:
    """The node after some segments: PSS in MiB, CPU seconds in total and of the main thread."""

    segments: int
    memory: float
    process_s: float
    main_s: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--utterances", type=int, default=UTTERANCES)
    arguments = parser.parse_args()
    looks, missing = measure(arguments.utterances)
    table, grown = judge(looks)
    Console(width=100).print(table)
    print(f"segments lost or doubled: {missing}")
    sys.exit(1 if grown or missing else 0)


def measure(utterances: int) -> tuple[list[Look], int]:
    """Return measurements over a long session, and how many segments are lost or doubled."""
    with tempfile.TemporaryDirectory() as name, Broker() as broker, Watcher(broker.port) as watcher:
        folder = Path(name)
        quiet = write_wav(folder / "quiet.wav", _room_noise(), 16000)
        audio = {"source": "files", "devices": [], "files": [_file("desk", quiet)]}
        config = configuration(folder, broker.port, [], audio=audio)
        env = os.environ | {"HURRY_UTTERANCES": str(utterances)}
        with RunningNode(folder, config, env, "tests.rig.hurried_node") as node:
            room = Room(node.wait_online(watcher), None, watcher)  # type: ignore[arg-type]
            session = room.start(desk="Nobody")
            looks = [_await(node.pid, watcher, n) for n in _steps(utterances)]
            room.do("session/stop", timeout=PATIENCE_S)
            ids = [body["id"] for body in _segments(watcher) if body["session_id"] == session]
            return looks, abs(utterances - len(set(ids))) + len(ids) - len(set(ids))


def _steps(utterances: int) -> Sequence[int]:
    return [round(utterances * n / SAMPLES) for n in range(1, SAMPLES + 1)]


def _await(pid: int, watcher: Watcher, segments: int) -> Look:
    """Wait for that number of segments, and measure."""
    deadline = time.monotonic() + PATIENCE_S
    while (come := len(watcher.messages(f"{TOPIC}/mic/+/segment"))) < segments:
        assert time.monotonic() < deadline, f"{come} of {segments} segments have come"
        time.sleep(0.05)
    process = psutil.Process(pid)
    times = process.cpu_times()
    return Look(
        come,
        process.memory_full_info().pss / MIB,
        times.user + times.system,
        _thread_s(pid),
    )


def _thread_s(pid: int) -> float:
    """Return the main thread's run time in seconds (proc(5): schedstat's first field, in ns)."""
    return int((PROC / f"{pid}/task/{pid}/schedstat").read_text().split()[0]) / 1e9


def judge(looks: Sequence[Look]) -> tuple[Table, bool]:
    """Return what has grown over the measurements, and whether any of it matters."""
    quarters = [f"{n}. quarter" for n in (1, 2, 3, 4)]
    table = Table("of", *quarters, "growth", "by chance", title=_title(looks))
    grown = False
    for name, unit, value in _MEASURES:
        points = value(looks)
        kept = points[int(len(points) * SETTLING) :]
        growth, chance = _growth(kept)
        mean = statistics.fmean(y for _, y in kept)
        grows = growth > CERTAIN * chance and growth > MOST_GROWTH[name] * mean
        grown = grown or grows
        means = [statistics.fmean(y for _, y in part) for part in _quarters(points)]
        verdict = f"{growth:+.2f} {unit}{' GROWS' if grows else ''}"
        table.add_row(name, *(f"{mean:.2f}" for mean in means), verdict, f"± {chance:.2f}")
    return table, grown


def _quarters(points: Points) -> list[Points]:
    size = len(points) // 4
    return [points[n * size : (n + 1) * size] for n in range(4)]


def _title(looks: Sequence[Look]) -> str:
    return f"{looks[-1].segments} segments, eight hours of four mics"


Points = list[tuple[float, float]]


def _per_segment(seconds: Callable[[Look], float]) -> Callable[[Sequence[Look]], Points]:
    """Return the milliseconds per segment between measurements."""

    def points(looks: Sequence[Look]) -> Points:
        return [
            (b.segments, 1000 * (seconds(b) - seconds(a)) / max(1, b.segments - a.segments))
            for a, b in itertools.pairwise(looks)
        ]

    return points


_MEASURES: list[tuple[str, str, Callable[[Sequence[Look]], Points]]] = [
    ("memory", "MiB", lambda looks: [(look.segments, look.memory) for look in looks]),
    ("segment", "ms", _per_segment(lambda look: look.process_s)),
    ("main thread", "ms", _per_segment(lambda look: look.main_s)),
]


def _growth(points: Points) -> tuple[float, float]:
    """Return the growth over all points by a least-squares line, and its standard error."""
    x, y = (np.array(column) for column in zip(*points, strict=True))
    x = (x - x[0]) / (x[-1] - x[0])
    slope, base = np.polyfit(x, y, 1)
    residual = y - (slope * x + base)
    spread = float(((x - x.mean()) ** 2).sum())
    error = float(np.sqrt((residual**2).sum() / max(1, len(x) - 2) / spread))
    return float(slope), error


def _segments(watcher: Watcher) -> list[dict[str, str]]:
    return [message.json() for message in watcher.messages(f"{TOPIC}/mic/+/segment")]


def _file(mic: str, file: Path) -> dict[str, object]:
    return {"mic": mic, "file": str(file), "loop": True}


def _room_noise(seconds: int = 60) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    """Return white noise at -60 dBFS."""
    wide = np.random.default_rng(1).normal(0, 32.768, seconds * 16000)
    return wide.round().astype(np.int16)


if __name__ == "__main__":
    main()
