"""`bench`: what this machine can do, measured with the models on it. Nothing is fetched."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from node.adapters.whisper.opening import MAX_AUTO_THREADS
from node.commands.bench_advice import (
    RELATIVE,
    Findings,
    Row,
    advised,
    best_threads,
    estimates,
    row,
)
from node.commands.bench_model import ModelBench, hearing_cpu_s
from node.commands.bench_report import document, show
from node.commands.fetch_model import cached_model
from node.commands.tables import new_console
from node.config import load_config
from node.errors import ModelError
from node.service.settings import engine_settings

if TYPE_CHECKING:
    import argparse

    from rich.console import Console

    from node.adapters.whisper import EngineSettings
    from node.commands.bench_model import Measured
    from node.config import Config

BUDGET_S = 30
"""Seconds for all measurements; one run of a large model on a slow machine may take longer."""

SHARE_S = 6
"""Of these, for one model with one number of threads."""

ROOM_MICS = 4
HEARING_S = 5.0
"""Microphones and seconds of sound used to measure the cost of hearing."""


def run(arguments: argparse.Namespace) -> int:
    """Measure and print; return the exit status.

    Raises:
        ConfigError: the configuration is wrong.
        ModelError: there is no model on this machine, or one cannot be loaded.
    """
    config = load_config(arguments.config)
    console = new_console()
    present = _present(config)
    if not arguments.json:
        names = ", ".join(present)
        console.print(f"Measuring {names} for about {BUDGET_S} s", soft_wrap=True)
    findings = _measure(config, present, console)
    hangover_s = config.vad.hangover_ms / 1000
    if arguments.json:
        print(json.dumps(document(findings, hangover_s)))
    else:
        show(console, findings, hangover_s)
    return 0


def _present(config: Config) -> dict[str, EngineSettings]:
    """Return the models on this machine by name: the configured one first, then others."""
    settings = engine_settings(config)
    found: dict[str, EngineSettings] = {}
    if settings.folder is not None:
        found[settings.model] = settings
    for name in dict.fromkeys((settings.model, *RELATIVE)):
        folder = None if "/" in name else cached_model(name, settings.download_root)
        if folder is not None:
            # As a folder, so that nothing missing is fetched from the network.
            found[name] = replace(settings, model=name, folder=folder)
    if not found:
        raise ModelError(
            "there is no model on this machine: run `python -m node fetch-model`"
            f" ({settings.model}), or give a folder in transcription.model"
        )
    return found


def _measure(config: Config, present: dict[str, EngineSettings], console: Console) -> Findings:
    cores, load = os.cpu_count() or 1, os.getloadavg()[0]
    until = time.monotonic() + BUDGET_S
    with console.status("") as status:
        status.update(f"Hearing {ROOM_MICS} microphones…")
        hearing = hearing_cpu_s(ROOM_MICS, HEARING_S)
        first, *others = present
        runs = []
        for threads in _thread_counts(config, cores):
            status.update(f"{first} with {threads} threads…")
            runs.append(_run(present[first], config, threads, until))
        best = best_threads(runs)
        measured = {first: best}
        for name in others:
            status.update(f"{name}…")
            measured[name] = _run(present[name], config, best.threads, until)
    rows = _rows(measured, hearing, cores)
    return Findings(cores, load, hearing, rows, tuple(runs), advised(rows))


def _run(settings: EngineSettings, config: Config, threads: int, until: float) -> Measured:
    language = None if config.transcription.language == "auto" else config.transcription.language
    deadline = min(until, time.monotonic() + SHARE_S)
    return ModelBench(settings, language, threads).measure(deadline, until)


def _thread_counts(config: Config, cores: int) -> list[int]:
    """Return 1, 2 and 4 up to the number of cores, and the configured number."""
    configured = config.transcription.threads or min(MAX_AUTO_THREADS, cores)
    return sorted({configured, *(n for n in (1, 2, 4) if n <= cores)})


def _rows(measured: dict[str, Measured], hearing: float, cores: int) -> tuple[Row, ...]:
    """Return what was measured, and estimates from the first model of one of Whisper's sizes."""
    rows = [row(name, costs, hearing, cores) for name, costs in measured.items()]
    known = next((name for name in measured if name in RELATIVE), None)
    if known is not None:
        for name, costs in estimates(known, measured[known], measured).items():
            rows.append(row(name, costs, hearing, cores, estimated=True))
    order = list(RELATIVE)
    return tuple(sorted(rows, key=lambda r: order.index(r.model) if r.model in order else -1))
