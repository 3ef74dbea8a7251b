"""The tables: how fast and how fair, what goes over the network, and what more rooms would need."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from node.service.working.program import COUNTS_EVERY_S
from tests.bench.fleet.figures import (
    Service,
    jain,
    least_workers,
    percentile,
    slowest,
    wait_alone_s,
)
from tests.bench.markdown import percent, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.bench.fleet.house import Outcome, Text
    from tests.bench.fleet.pace import Pace, Paces
    from tests.bench.fleet.sounds import Said

WARM = 0.1
"""Share of a run that is left out of its latencies: all rooms begin silent."""

HOUR_S = 3600
MB = 10**6

ROOMS = (100, 1_000, 10_000)
SHARES = (0.15, 0.5)
"""Speech in a room that is used now and then, and in one in which a meeting takes place."""

P95 = 0.95
WAIT_S = 3.0
"""How long 95 % of all requests may wait for a worker, at most."""


def fleet(outcomes: Sequence[Outcome]) -> str:
    columns = (
        *("Workers", "busy", "s of speech a second", "last text after the end"),
        *("p50", "p95", "p99", "slowest node / median", "Jain index"),
        *("runs for each utterance", "lost or twice"),
    )
    return table(columns, [_row(outcome) for outcome in outcomes])


def _row(outcome: Outcome) -> list[str]:
    late = [text.late_s for text in _counted(outcome)]
    nodes = _by_node(outcome)
    killed = "" if outcome.killed_s is None else f", one killed after {outcome.killed_s:.0f} s"
    return [
        f"{outcome.workers}{killed}",
        percent(_busy(outcome)),
        f"{_throughput(outcome):.1f}",
        f"{max(0.0, outcome.all_s - outcome.talk_s):.0f} s",
        *(f"{percentile(late, share):.2f} s" for share in (0.5, 0.95, 0.99)),
        f"{slowest(nodes):.1f}",
        f"{jain(nodes):.2f}",
        f"{len(outcome.engine) / len(outcome.texts):.2f}",
        str(len(outcome.faults)),
    ]


def _counted(outcome: Outcome) -> list[Text]:
    return [text for text in outcome.texts if text.ended_s >= WARM * outcome.talk_s]


def _by_node(outcome: Outcome) -> list[float]:
    """Return the mean latency of each node that somebody spoke to."""
    nodes: dict[int, list[float]] = {}
    for text in _counted(outcome):
        nodes.setdefault(text.room, []).append(text.late_s)
    return [statistics.fmean(late) for late in nodes.values()]


def _busy(outcome: Outcome) -> float:
    """Return the share of their time in which the workers' engines worked."""
    return sum(run.took_s for run in outcome.engine) / outcome.workers / outcome.all_s


def _throughput(outcome: Outcome) -> float:
    """Return the seconds of speech written in a second, while people spoke."""
    begin, end = WARM * outcome.talk_s, outcome.talk_s
    return sum(t.seconds for t in outcome.texts if begin <= t.came_s <= end) / (end - begin)


def traffic(outcomes: Sequence[Outcome]) -> str:
    columns = (
        *("Workers", "to the broker, an hour of speech", "from it", "messages a second to it"),
        *("from it", "processor: broker", "nodes", "workers", "machine busy"),
    )
    return table(columns, [_traffic_row(o) for o in outcomes if o.killed_s is None])


def _traffic_row(outcome: Outcome) -> list[str]:
    hours = sum(text.seconds for text in outcome.texts) / HOUR_S
    found, used = outcome.traffic, outcome.used
    return [
        str(outcome.workers),
        *(f"{number / hours / MB:.0f} MB" for number in (found.bytes_in, found.bytes_out)),
        *(f"{n / outcome.all_s:.0f}" for n in (found.messages_in, found.messages_out)),
        *(percent(used.parts[who] / outcome.all_s) for who in ("broker", "nodes", "workers")),
        percent(used.busy),
    ]


def service(pace: Pace, sounds: Sequence[Said]) -> Service:
    return Service.of([pace.takes_s(said.samples) for said in sounds])


def plan(paces: Paces, sounds: Sequence[Said], beam: int) -> str:
    """Return how many workers more rooms would need, by the laws of queues."""
    columns = (
        *("Rooms", "speech", "engines busy", "workers, one queue", "workers, dealt out in turn"),
        *("utterances a second", "statuses a second"),
    )
    times = service(paces[beam], sounds)
    length_s = statistics.fmean(said.seconds for said in sounds)
    rows = [_plan_row(rooms, share, times, length_s) for rooms in ROOMS for share in SHARES]
    return table(columns, rows)


def _plan_row(rooms: int, share: float, times: Service, length_s: float) -> list[str]:
    utterances = rooms * share / length_s
    load = utterances * times.mean_s
    together = least_workers(times, load, P95, WAIT_S)
    busy = next(b / 100 for b in range(99, 0, -1) if wait_alone_s(times, b / 100, P95) <= WAIT_S)
    alone = max(together, -int(-load // busy))
    return [
        f"{rooms:,}",
        percent(share),
        f"{load:.1f}",
        f"{together} ({percent(load / together)} busy)",
        f"{alone} ({percent(load / alone)} busy)",
        f"{utterances:.0f}",
        f"{rooms * alone / COUNTS_EVERY_S:,.0f}",
    ]
