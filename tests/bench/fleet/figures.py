"""What measured times say: percentiles, fairness, and how many workers more rooms would need."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that `share` of all do not exceed (nearest rank)."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def jain(values: Sequence[float]) -> float:
    """Return Jain's index of fairness: 1 if all get the same, 1/n if one gets everything."""
    squares = sum(value * value for value in values)
    return sum(values) ** 2 / (len(values) * squares) if squares else 1.0


def slowest(values: Sequence[float]) -> float:
    """Return how many times the median the largest is."""
    return max(values) / statistics.median(values)


@dataclass(frozen=True, slots=True)
class Service:
    """How long an engine takes for an utterance: the mean, and its coefficient of variation."""

    mean_s: float
    variation: float

    @classmethod
    def of(cls, times_s: Sequence[float]) -> Service:
        mean_s = statistics.fmean(times_s)
        return cls(mean_s, statistics.pstdev(times_s) / mean_s)

    @property
    def burst(self) -> float:
        """How much longer than with an M/M queue one waits, on average: (1 + c²) / 2."""
        return (1 + self.variation**2) / 2


def wait_alone_s(service: Service, busy: float, share: float) -> float:
    """Return the wait that `share` of all requests do not exceed if each worker has its own queue.

    M/G/1 at a utilisation of `busy`: the mean is that of Pollaczek and Khinchine, the tail is taken
    as exponential. A broker that deals requests out in turn is better than this, one queue for all
    workers much better.
    """
    if busy <= 1 - share:
        return 0.0
    return service.mean_s * service.burst / (1 - busy) * math.log(busy / (1 - share))


def wait_shared_s(service: Service, workers: int, load: float, share: float) -> float:
    """Return the same if all workers take from one queue: M/G/k, approximated by Lee and Longton.

    `load` is how many workers would always be busy (erlangs).
    """
    waits = erlang_c(workers, load)
    if waits <= 1 - share:
        return 0.0
    return service.mean_s * service.burst / (workers - load) * math.log(waits / (1 - share))


def erlang_c(workers: int, load: float) -> float:
    """Return the probability that a request has to wait (Erlang C)."""
    blocked = 1.0  # Erlang B, by its recursion over the number of workers
    for number in range(1, workers + 1):
        blocked = load * blocked / (number + load * blocked)
    return blocked / (1 - load / workers * (1 - blocked))


def least_workers(service: Service, load: float, share: float, wait_s: float) -> int:
    """Return how few workers with one queue let `share` of all requests wait no longer."""
    workers = math.floor(load) + 1
    while wait_shared_s(service, workers, load, share) > wait_s:
        workers += 1
    return workers
