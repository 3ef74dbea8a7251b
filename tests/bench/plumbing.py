"""What the plumbing costs: `python -m tests.bench.plumbing`.

For 1, 2 and 4 virtual mics: the time from the end of speech to the segment at a subscriber, beside
the hangover and the engine's own time; then processor and memory idle, with silent mics and with
speaking ones. Runs for about three minutes; other load on the machine shows in the figures.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from rich.console import Console
from rich.table import Table

from tests.model.sentences import SENTENCES
from tests.rig.broker import Broker
from tests.rig.mqtt import Watcher
from tests.rig.node import TOPIC, Room, RunningNode, configuration
from tests.rig.vmics import VirtualMic, VirtualMics

if TYPE_CHECKING:
    from tests.rig.mqtt import Message

MICS = ("desk", "door", "wall", "sofa")
ROUNDS = 8
MEASURE_S = 10.0


def main() -> None:
    for table in measure():
        Console(width=100).print(table)


def measure(rounds: int = ROUNDS, seconds: float = MEASURE_S) -> list[Table]:
    """The two tables; `rounds` of speech a mic, `seconds` for each state."""
    with tempfile.TemporaryDirectory() as name, Broker() as broker:
        mics = [VirtualMic(mic) for mic in MICS]
        with VirtualMics(mics) as virtual, Watcher(broker.port) as watcher:
            folder = Path(name)
            node = RunningNode(folder, configuration(folder, broker.port, MICS), virtual.env)
            with node:
                room = Room(node.wait_online(watcher), virtual, watcher)
                return [latencies(room, rounds), costs(room, seconds)]


def latencies(room: Room, rounds: int) -> Table:
    """End of speech to arrival; both by this machine's wall clock."""
    table = Table(
        "mics", "segments", "median s", "95th percentile s", title="End of speech to MQTT"
    )
    for count in (1, 2, 4):
        speaking = MICS[:count]
        session = room.start(**{mic: mic for mic in speaking})
        for turn in range(rounds):
            for number, mic in enumerate(speaking):
                room.say(mic, SENTENCES[(turn * 4 + number) % len(SENTENCES)])
            room.segments(session, count * (turn + 1))
        room.stop()
        late = [_late(m) for m in _segments(room, session)]
        quantiles = statistics.quantiles(late, n=20) if len(late) > 1 else late * 19
        table.add_row(
            str(count), str(len(late)), f"{statistics.median(late):.2f}", f"{quantiles[18]:.2f}"
        )
    return table


def _segments(room: Room, session: str) -> list[Message]:
    messages = room.watcher.messages(f"{TOPIC}/mic/+/segment")
    return [message for message in messages if message.json()["session_id"] == session]


def _late(message: Message) -> float:
    end = datetime.fromisoformat(json.loads(message.payload)["end"]).timestamp()
    return message.time + time.time() - time.monotonic() - end


def costs(room: Room, seconds: float) -> Table:
    """Share of one core and memory, of the node with all its capture processes."""
    table = Table("state", "CPU of one core", "memory (PSS)", title="Cost, all processes together")
    table.add_row("idle", *_cost(room, seconds))
    room.start(**{mic: mic for mic in MICS})
    table.add_row("4 silent mics", *_cost(room, seconds))
    for mic in MICS:
        room.say(mic, *SENTENCES[:8], pause_s=0.5)
    table.add_row("4 mics speaking", *_cost(room, seconds))
    room.stop()
    return table


def _cost(room: Room, seconds: float) -> tuple[str, str]:
    parent = psutil.Process(room.node.pid)
    processes = [parent, *parent.children(recursive=True)]
    before = sum(_seconds(process) for process in processes)
    began = time.monotonic()
    time.sleep(seconds)  # the span that is measured
    used = sum(_seconds(process) for process in processes) - before
    memory = sum(process.memory_full_info().pss for process in processes) / 2**20
    return f"{100 * used / (time.monotonic() - began):.1f} %", f"{memory:.0f} MiB"


def _seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


if __name__ == "__main__":
    main()
