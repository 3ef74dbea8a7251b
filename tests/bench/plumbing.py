"""What the plumbing costs: `python -m tests.bench.plumbing`.

For 1, 2 and 4 virtual mics, the time from the end of speech to the segment at a subscriber, and
what the node itself adds to the hangover and engine time. Then the time to start, and processor
and memory use when idle, with silent mics (white noise at -60 dBFS, a quiet room) and with speech.
Takes about five minutes; other load on the machine affects the figures.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from tests.bench.costs import cost, hush
from tests.model.sentences import SENTENCES
from tests.rig.broker import Broker
from tests.rig.mqtt import Watcher
from tests.rig.node import MODEL, TOPIC, Room, RunningNode, configuration
from tests.rig.processes import wait_until
from tests.rig.vmics import VirtualMic, VirtualMics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.rig.mqtt import Message

MICS = ("desk", "door", "wall", "sofa", "lamp", "bench", "shelf", "piano")
FEW = MICS[:4]
ROUNDS = 8
STARTS = 5
MEASURE_S = 30.0
SETTLE_S = 5.0
ENGINE_S = 60.0
"""Time a sentence may take until the engine has heard it."""

HANGOVER_S = 0.6
"""`vad.hangover_ms` of the tests' configuration."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=MODEL, help="folder; default: the demo's")
    parser.add_argument("--crosstalk", choices=("drop", "tag", "off"), default="drop")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="sentences a mic")
    arguments = parser.parse_args()
    for table in measure(arguments.model, arguments.crosstalk, arguments.rounds):
        Console(width=100).print(table)


def measure(
    model: Path = MODEL,
    crosstalk: str = "drop",
    rounds: int = ROUNDS,
    seconds: float = MEASURE_S,
    started: int = STARTS,
) -> list[Table]:
    """Yield the tables: `started` starts, `rounds` of speech per mic, `seconds` per state."""
    with tempfile.TemporaryDirectory() as name, Broker() as broker:
        folder = Path(name)
        times = folder / "engine"
        times.touch()
        sections: dict[str, Any] = {
            "transcription": {"model": str(model)},
            "crosstalk": {"mode": crosstalk},
        }
        with VirtualMics([VirtualMic(mic) for mic in MICS]) as virtual, Watcher(broker.port) as w:
            config = configuration(folder, broker.port, MICS, **sections)
            env = virtual.env | {"ENGINE_TIMES": str(times)}
            node = RunningNode(folder, config, env, "tests.rig.timed_node")
            tables = [starts(node, w, started)]
            with node:
                room = Room(node.wait_online(w, w.count()), virtual, w)
                return [*tables, latencies(room, times, rounds), costs(room, seconds)]


def starts(node: RunningNode, watcher: Watcher, count: int) -> Table:
    """Measure from program start to `online`, model loaded; the first, cold start is left out."""
    taken = []
    for _ in range(count + 1):
        after, began = watcher.count(), time.monotonic()
        with node:
            node.wait_online(watcher, after)
            taken.append(_online(watcher).time - began)
            node.end()
    table = Table("median s", "all", title="Start to online")
    warm = taken[1:]
    table.add_row(f"{statistics.median(warm):.2f}", ", ".join(f"{s:.2f}" for s in warm))
    return table


def _online(watcher: Watcher) -> Message:
    return [m for m in watcher.messages(f"{TOPIC}/status") if m.text == "online"][-1]


def latencies(room: Room, times: Path, rounds: int) -> Table:
    """Measure from the end of speech to arrival, both by this machine's clocks."""
    table = Table(
        *("mics", "segments", "median s", "95th percentile s", "engine ms", "the node itself ms"),
        title="End of speech to MQTT; the last two are medians beyond the hangover",
    )
    for count in (1, 2, 4):
        speaking = MICS[:count]
        session = room.start(**{mic: mic for mic in speaking})
        heard = sum(utterances for _, _, utterances in _runs(times))
        for turn in range(rounds):
            for number, mic in enumerate(speaking):
                room.say(mic, SENTENCES[(turn * 4 + number) % len(SENTENCES)])
            _wait_for_engine(times, heard + count * (turn + 1))
        room.stop()
        segments = _segments(room, session)
        late = [message.time - _end(message) for message in segments]
        engine = [_engine_s(_end(m) + HANGOVER_S, m.time, times) for m in segments]
        own = [a - b - HANGOVER_S for a, b in zip(late, engine, strict=True)]
        quantiles = statistics.quantiles(late, n=20) if len(late) > 1 else late * 19
        table.add_row(
            *(str(count), str(len(late)), f"{statistics.median(late):.2f}"),
            *(f"{quantiles[18]:.2f}", _ms(engine), _ms(own)),
        )
    return table


def _ms(seconds: Sequence[float]) -> str:
    return f"{1000 * statistics.median(seconds):.0f}"


def _segments(room: Room, session: str) -> list[Message]:
    messages = room.watcher.messages(f"{TOPIC}/mic/+/segment")
    return [message for message in messages if message.json()["session_id"] == session]


def _end(message: Message) -> float:
    """Return when its speech ended, on the monotonic clock."""
    end = datetime.fromisoformat(message.json()["end"]).timestamp()
    return end - time.time() + time.monotonic()


def _engine_s(begin: float, end: float, times: Path) -> float:
    """Return how long the engine ran between two times, for this segment or an earlier one."""
    return sum(max(0.0, min(end, until) - max(begin, since)) for since, until, _ in _runs(times))


def _wait_for_engine(times: Path, utterances: int) -> None:
    """Wait until the engine has heard so many utterances, whether or not it wrote any text."""
    what = f"{utterances} utterances heard"
    wait_until(lambda: sum(run[2] for run in _runs(times)) >= utterances, ENGINE_S, what)


def _runs(times: Path) -> list[tuple[float, float, int]]:
    """Return begin, end and utterances of every run of the engine."""
    lines = [line.split() for line in times.read_text().splitlines()]
    return [(float(begin), float(end), int(utterances)) for begin, end, utterances in lines]


def costs(room: Room, seconds: float) -> Table:
    """Measure the share of a core that the node and its capture processes use, and memory."""
    table = Table(
        *("state", "CPU of one core", "of it the node", "a capture process", "memory (PSS)"),
        title="Cost, all processes together",
    )
    table.add_row("idle", *_cost(room, seconds))
    for mics in (FEW, MICS):
        room.start(**{mic: mic for mic in mics})
        hush(room.mics, mics, 2 * SETTLE_S + 2 * seconds)
        time.sleep(SETTLE_S)  # the cost of the start is not part of the state that is measured
        table.add_row(f"{len(mics)} silent mics", *_cost(room, seconds))
        if mics == FEW:
            for mic in mics:
                room.say(mic, *SENTENCES[:16], pause_s=0.5)
            table.add_row("4 mics speaking", *_cost(room, seconds))
        room.stop()
    return table


def _cost(room: Room, seconds: float) -> tuple[str, str, str, str]:
    found = cost(room.node.pid, seconds)
    return (
        f"{100 * found.used:.1f} %",
        f"{100 * found.first:.1f} %",
        "-" if found.child is None else f"{100 * found.child:.2f} %",
        f"{found.memory:.0f} MiB, {found.memory_first:.0f} of the node",
    )


if __name__ == "__main__":
    main()
