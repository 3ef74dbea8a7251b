"""Runs one system on one meeting in its own process, so that no other system is counted."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import resource
import subprocess
import sys
from dataclasses import asdict
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.bench.speed import pace
from tests.bench.speed.setup import Outcome, Setup, lags

if TYPE_CHECKING:
    from tests.bench.speed.meeting import Meeting

SYSTEMS = {
    "ours": ("tests.bench.speed.ours", "Ours"),
    "floor": ("tests.bench.speed.ours", "Floor"),
    "openai-blocks": ("tests.bench.speed.peers", "OpenAiBlocks"),
    "faster-blocks": ("tests.bench.speed.peers", "FasterWhisperBlocks"),
    "faster-vad": ("tests.bench.speed.peers", "FasterWhisperVad"),
    "batched": ("tests.bench.speed.peers", "Batched"),
    "wyoming": ("tests.bench.speed.satellite", "Wyoming"),
}
NEEDS = {"openai-blocks": "whisper", "wyoming": "wyoming_faster_whisper"}
"""What is installed by hand: neither is a dependency of this project."""

RANDOM_ONLY = "openai-blocks"
"""It has classes and a file format of its own, for which only random weights are made here."""

LIMIT_S = 1800


def installed(system: str) -> bool:
    return system not in NEEDS or find_spec(NEEDS[system]) is not None


def measure(system: str, meeting: Meeting, setup: Setup, folder: Path) -> Outcome:
    """Run a system in a child process.

    Raises:
        subprocess.CalledProcessError: it failed; its output is on standard error.
    """
    file = folder / "meeting.pickle"
    file.write_bytes(pickle.dumps((meeting, setup)))
    threads = str(setup.threads)
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.speed.measure", system, str(file)],
        env={**os.environ, "OMP_NUM_THREADS": threads, "HF_HUB_OFFLINE": "1"},
        stdout=subprocess.PIPE,
        timeout=LIMIT_S,
        check=True,
    )
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return Outcome(**{**said, "lags_s": tuple(said["lags_s"])})


def _run(name: str, meeting: Meeting, setup: Setup) -> Outcome:
    module, factory = SYSTEMS[name]
    count = pace.count() if setup.trained else pace.install()
    with contextlib.ExitStack() as stack:
        system = getattr(import_module(module), factory)(setup)
        if hasattr(system, "__enter__"):
            stack.enter_context(system)
        if name == "openai-blocks":
            count = pace.install_openai(system.model)
        windows, tokens, used = count.windows, count.tokens, _used(system)
        jobs = system.run(meeting)
        return Outcome(
            length_s=meeting.length_s,
            cpu_s=_used(system) - max(used, getattr(system, "began_s", 0.0)),
            lags_s=lags(jobs),
            busy_s=sum(job.takes_s for job in jobs),
            windows=count.windows - windows,
            tokens=count.tokens - tokens,
            parts_s=system.parts_s,
            second_looks=getattr(system, "second_looks", 0),
        )


def _used(system: Any) -> float:
    """Return processor seconds so far of this process and, if the system is a server, of that."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    total = used.ru_utime + used.ru_stime
    if (process := getattr(system, "process", None)) is not None:
        times = process.cpu_times()
        total += times.user + times.system
    return total


def main() -> None:
    meeting, setup = pickle.loads(Path(sys.argv[2]).read_bytes())  # noqa: S301  # from our parent
    print(json.dumps(asdict(_run(sys.argv[1], meeting, setup))))


if __name__ == "__main__":
    main()
