"""What a node costs while it runs: processor time, and memory that shared pages count in once."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psutil

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.rig.vmics import VirtualMics

QUIET_DBFS = -60
MODEL_LIBRARY = "ctranslate2"


@dataclass(frozen=True, slots=True)
class Cost:
    """Shares of one core, and memory (PSS) in MiB: all processes, the first, each of the others."""

    used: float
    first: float
    child: float | None
    memory: float
    memory_first: float


def hush(virtual: VirtualMics, mics: Sequence[str], seconds: float) -> None:
    """Play the noise of a quiet room into the mics, different in each."""
    for number, mic in enumerate(mics):
        wide = np.random.default_rng(number).normal(0, 1, round(seconds * 16000))
        noise = (wide * 32768 * 10 ** (QUIET_DBFS / 20)).round().astype(np.int16)
        virtual.play(mic, noise, 16000)


def cost(pid: int, seconds: float) -> Cost:
    """Measure a process and its children for so long."""
    parent = psutil.Process(pid)
    processes = [parent, *parent.children(recursive=True)]
    before = [_seconds(process) for process in processes]
    began = time.monotonic()
    time.sleep(seconds)  # the period that is measured
    lasted = time.monotonic() - began
    used = [
        (_seconds(process) - earlier) / lasted
        for process, earlier in zip(processes, before, strict=True)
    ]
    memory = [process.memory_full_info().pss / 2**20 for process in processes]
    child = statistics.fmean(used[1:]) if used[1:] else None
    return Cost(sum(used), used[0], child, sum(memory), memory[0])


def has_model(pid: int) -> bool:
    """Return whether a process has loaded the library that runs models."""
    return MODEL_LIBRARY in Path(f"/proc/{pid}/maps").read_text()


def _seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
