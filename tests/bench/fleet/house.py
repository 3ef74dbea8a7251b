"""Rooms full of people, workers and a broker: one run of the benchmark."""

from __future__ import annotations

import json
import os
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import pytest

from node.adapters.weights import WEIGHTS, digest
from node.core.work.messages import ModelId
from tests.bench.fleet import pace
from tests.bench.fleet.meter import CLIENTS, EVERY, Processors, Traffic
from tests.bench.fleet.rooms import Room
from tests.bench.fleet.sounds import fingerprint
from tests.rig.broker import Broker
from tests.rig.mqtt import Watcher
from tests.rig.node import MODEL
from tests.rig.processes import wait_until
from tests.rig.workers import RunningWorker

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.bench.fleet.pace import Paces
    from tests.bench.fleet.sounds import Turn

READY_S = 120
"""How long all may take to start."""

DRAIN_S = 1800
"""How long the last texts may take."""

STATUS = "scribe/worker/+/status"


@dataclass(frozen=True, slots=True)
class Text:
    """An utterance whose text has come: its room, and seconds since all began to speak."""

    room: int
    ended_s: float
    late_s: float
    seconds: float

    @property
    def came_s(self) -> float:
        return self.ended_s + self.late_s


@dataclass(frozen=True, slots=True)
class EngineRun:
    """One run of a simulated engine."""

    worker: str
    took_s: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run with so many workers; `talk_s` is how long people spoke, `all_s` until the last text.

    `killed_s` is when a worker was killed.
    """

    workers: int
    rooms: int
    talk_s: float
    all_s: float
    texts: list[Text]
    faults: list[str]
    engine: list[EngineRun]
    traffic: Traffic
    used: Processors
    killed_s: float | None = None


class House:
    """Everything runs within its context. `folder` takes the nodes' storage and all else.

    Each worker takes `slots` requests at a time.
    """

    def __init__(
        self,
        folder: Path,
        paces: Paces,
        turns: Sequence[Turn],
        *,
        rooms: int,
        workers: int,
        slots: int,
    ) -> None:
        self._folder = folder
        self._turns = turns
        self._runs = [folder / f"runs-{number}" for number in range(workers)]
        self._write_plan(paces)
        self._stack = ExitStack()
        self._broker = Broker(persistence=False, extra=f"{EVERY}\nlog_type none")
        env = {**os.environ, pace.PLAN: str(folder)}
        self._workers = [
            RunningWorker(
                folder,
                f"w{number}",
                self._broker.port,
                "tests.bench.fleet.worker",
                {**env, pace.RUNS: str(runs)},
                worker={"slots": slots},
            )
            for number, runs in enumerate(self._runs)
        ]
        has = ModelId(name=MODEL.name, sha256=digest(MODEL / WEIGHTS))
        self._rooms = [
            Room(number, folder, self._broker.port, MODEL, has) for number in range(rooms)
        ]

    def _write_plan(self, paces: Paces) -> None:
        pace.write(paces, self._folder / "paces.json")
        texts = {
            fingerprint(turn.said.samples): [turn.said.text, turn.said.language]
            for turn in self._turns
        }
        (self._folder / "texts.json").write_text(json.dumps(texts), "utf-8")

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            broker = stack.enter_context(self._broker)
            topics = ("$SYS/#", STATUS)
            self._watcher = stack.enter_context(Watcher(broker.port, topics=topics))
            for worker in self._workers:
                stack.enter_context(worker)
            for worker in self._workers:
                worker.wait_online(self._watcher)
            for room in self._rooms:
                room.start()
                stack.callback(room.close)
            for room in self._rooms:
                stack.callback(room.stop)
            self._wait_for_clients(len(self._rooms) + len(self._workers) + 1)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stack.close()

    def _wait_for_clients(self, count: int) -> None:
        def connected() -> bool:
            found = self._watcher.messages(CLIENTS)
            return bool(found) and int(found[-1].text) >= count

        wait_until(connected, READY_S, f"{count} clients at the broker")

    def run(self, talk_s: float, kill_s: float | None = None) -> Outcome:
        """Let people speak until the last text has come; kill the last worker after `kill_s`."""
        traffic, used = Traffic.now(self._watcher), Processors.now(self._processes())
        began = time.monotonic()
        self._speak(began, kill_s)
        time.sleep(max(0.0, began + talk_s - time.monotonic()))
        wait_until(self._is_done, DRAIN_S, "all texts")
        all_s = time.monotonic() - began
        used = Processors.now(self._processes()) - used
        traffic = Traffic.now(self._watcher) - traffic  # waits: what comes late, comes
        return Outcome(
            workers=len(self._workers),
            rooms=len(self._rooms),
            talk_s=talk_s,
            all_s=all_s,
            texts=self._texts(began),
            faults=[fault for room in self._rooms for fault in room.faults()],
            engine=[run for file in self._runs for run in _engine_runs(file)],
            traffic=traffic,
            used=used,
            killed_s=kill_s,
        )

    def _speak(self, began: float, kill_s: float | None) -> None:
        for turn in self._turns:
            ended_at = began + turn.end_s
            if kill_s is not None and turn.end_s >= kill_s:
                self._workers[-1].program.kill_group()
                kill_s = None
            time.sleep(max(0.0, ended_at - time.monotonic()))
            self._rooms[turn.room].say(turn, ended_at)

    def _is_done(self) -> bool:
        if all(worker.program.process.poll() is not None for worker in self._workers):
            pytest.fail(f"every worker has ended:\n{self._workers[0].program.output()}")
        return all(len(room.texts) >= len(room.ended) or room.wrong for room in self._rooms)

    def _texts(self, began: float) -> list[Text]:
        return [
            Text(number, ended_at - began, room.texts[key] - ended_at, said.seconds)
            for number, room in enumerate(self._rooms)
            for key, (ended_at, said) in room.ended.items()
            if key in room.texts
        ]

    def _processes(self) -> dict[str, list[int]]:
        workers = [worker.program.pid for worker in self._workers]
        return {"nodes": [os.getpid()], "broker": [self._broker.pid], "workers": workers}


def _engine_runs(file: Path) -> list[EngineRun]:
    if not file.exists():
        return []
    lines = [line.split() for line in file.read_text().splitlines()]
    return [
        EngineRun(file.name, float(until) - float(since), float(seconds))
        for since, until, seconds, _ in lines
    ]
