"""What every system gets, and what it returns."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

BEAM = 5


@dataclass(frozen=True, slots=True)
class Setup:
    """A model's folder or, for openai-whisper, its size, and the number of processor threads.

    `trained`: the weights are real, so the model knows when a text ends.
    """

    size: str
    folder: Path
    threads: int
    trained: bool = False


@dataclass(frozen=True, slots=True)
class Job:
    """A piece of work, in seconds of the meeting: when it is ready, how long it takes, and when
    its speech ended.
    """

    ready_s: float
    takes_s: float
    spoken_s: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a system used for a meeting of `length_s`; no `lags_s` if it only works afterwards.

    `busy_s` is the time its one worker was busy; `parts_s` has the processor seconds of known
    parts; `second_looks` counts encodings beyond one per utterance, if known.
    """

    length_s: float
    cpu_s: float
    lags_s: tuple[float, ...] = ()
    busy_s: float = 0.0
    windows: float = 0.0
    tokens: int = 0
    parts_s: dict[str, float] = field(default_factory=dict)
    second_looks: int = 0

    @property
    def cpu_s_an_hour(self) -> float:
        return self.cpu_s * 3600 / self.length_s

    @property
    def median_lag_s(self) -> float | None:
        return statistics.median(self.lags_s) if self.lags_s else None

    @property
    def last_lag_s(self) -> float | None:
        """The worst of the last tenth, which grows if a system cannot follow."""
        return max(self.lags_s[-max(1, len(self.lags_s) // 10) :]) if self.lags_s else None


def lags(jobs: list[Job]) -> tuple[float, ...]:
    """Return the times from end of speech to text if one worker takes jobs as they are ready."""
    free, late = 0.0, []
    for job in sorted(jobs, key=lambda job: job.ready_s):
        free = max(free, job.ready_s) + job.takes_s
        late += [(end, free - end) for end in job.spoken_s]
    return tuple(lag for _, lag in sorted(late))
