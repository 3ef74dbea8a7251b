"""The results of `bench`: a table and bars for people, a document for scripts."""

from __future__ import annotations

import platform
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.text import Text

from node.commands.bench_advice import RELATIVE, WANTED_MICS
from node.commands.tables import new_table, print_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from node.commands.bench_advice import Findings, Row
    from node.commands.bench_model import Cost, Measured

TYPICAL_S = 4.0
"""Length of the utterance whose delay is shown."""

BAR = 40
"""Columns of the longest bar."""

MOST_MICS = 10
"""Microphones of a full bar; more are shown as a `+`."""

NOTE = (
    "At full speech nobody ever pauses. In one room people take turns and each sentence is"
    " transcribed once: a meeting counts as one or two."
)


def show(console: Console, findings: Findings, hangover_s: float) -> None:
    """Print the table, the bars and the advice."""
    print_table(console, _table(console, findings, hangover_s))
    console.print()
    console.print("Microphones at full speech that can be followed")
    print_table(console, _bars(console, findings.rows))
    console.print()
    for line in _remarks(findings):
        console.print(line, markup=False)


def document(findings: Findings, hangover_s: float) -> dict[str, Any]:
    """Return everything, for scripts; times in seconds."""
    advice = findings.advice
    return {
        "machine": {
            "processor": platform.machine(),
            "cores": findings.cores,
            "load": round(findings.load, 1),
        },
        "hearing_cpu_s": round(findings.hearing, 4),
        "models": [_model(row, hangover_s) for row in findings.rows],
        "threads": [{"threads": t.threads, "rtf": round(t.rtf, 4)} for t in findings.threads],
        "advice": {"model": advice.model, "threads": advice.measured.threads} if advice else None,
    }


def _model(row: Row, hangover_s: float) -> dict[str, Any]:
    measured = row.measured
    return {
        "model": row.model,
        "estimate": row.estimated,
        "threads": measured.threads,
        "rtf": round(measured.rtf, 4),
        "cpu_rtf": round(measured.cpu_rtf, 4),
        "utterances": [_cost(cost) for cost in measured.utterances],
        "window": _cost(measured.window) if measured.window else None,
        "text_after_s": round(_text_after(measured, hangover_s), 3),
        "mics_at_full_speech": round(row.mics, 1),
    }


def _cost(cost: Cost) -> dict[str, float]:
    values = {**asdict(cost), "takes_s": cost.takes_s, "rtf": cost.rtf}
    return {key: round(value, 4) for key, value in values.items()}


def _text_after(measured: Measured, hangover_s: float) -> float:
    """Return seconds from the end of a typical utterance to its text, if nobody else speaks."""
    typical = min(measured.utterances, key=lambda cost: abs(cost.seconds - TYPICAL_S))
    return hangover_s + typical.takes_s


def _table(console: Console, findings: Findings, hangover_s: float) -> Any:
    lengths = [f"{cost.seconds:g} s takes" for cost in findings.rows[0].measured.utterances]
    heads = ("model", "", "threads", *lengths, "RTF", "RTF of 30 s", "text after", "mics")
    table = new_table(console, *heads)
    for row in findings.rows:
        measured = row.measured
        table.add_row(
            Text(row.model, style="bold" if row is findings.advice else ""),
            "estimate" if row.estimated else "measured",
            str(measured.threads),
            *(f"{cost.takes_s:.2f} s" for cost in measured.utterances),
            f"{measured.rtf:.3f}",
            f"{measured.window.rtf:.3f}" if measured.window else "-",
            f"{_text_after(measured, hangover_s):.1f} s",
            f"{row.mics:.1f}",
        )
    return table


def _bars(console: Console, rows: Sequence[Row]) -> Any:
    table = new_table(console, "model", "mics", "")
    for row in rows:
        length = round(BAR * min(row.mics, MOST_MICS) / MOST_MICS)
        style = "green" if row.mics >= WANTED_MICS else "yellow" if row.mics >= 1 else "red"
        more = "+" if row.mics > MOST_MICS else ""
        bar = Text(("░" if row.estimated else "█") * length + more, style)
        table.add_row(Text(row.model), f"{row.mics:.1f}", bar)
    return table


def _remarks(findings: Findings) -> list[str]:
    lines = [_advice(findings), _threads(findings), NOTE]
    hearing = f"{100 * findings.hearing:.1f} %"
    lines.append(f"Hearing one microphone, silent or not, takes {hearing} of one core.")
    if findings.is_disturbed:
        lines.append(
            f"Other work kept this machine busy (load {findings.load:.1f}): it can do more than"
            " these figures say."
        )
    if any(row.estimated for row in findings.rows):
        lines.append(
            "Estimates (░) are scaled from the measured model by the relative costs of these sizes;"
            " to measure one, run `fetch-model NAME`, then `bench` again."
        )
    return lines


def _advice(findings: Findings) -> str:
    best = findings.advice
    if best is not None:
        sure = " (an estimate)" if best.estimated else ""
        return (
            f"Advice: transcription.model: {best.model}, the largest that keeps up with"
            f" {WANTED_MICS:g} people who speak at once{sure}."
        )
    if any(row.model in RELATIVE for row in findings.rows):
        return (
            f"Advice: no model keeps up with {WANTED_MICS:g} people who speak at once; use tiny"
            " with transcription.beam_size: 1."
        )
    return "No advice on models: this is not one of Whisper's sizes, so others cannot be judged."


def _threads(findings: Findings) -> str:
    tried = ", ".join(f"{run.threads}: RTF {run.rtf:.3f}" for run in findings.threads)
    best = next(row for row in findings.rows if not row.estimated).measured.threads
    return f"Threads tried: {tried}. Advice: transcription.threads: {best}."
