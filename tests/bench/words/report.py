"""The tables, by kind and language, and the worst utterances."""

from __future__ import annotations

import statistics
from functools import reduce
from operator import add
from typing import TYPE_CHECKING

from tests.bench.markdown import percent, table
from tests.bench.texts import Errors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.bench.words.clips import Heard, Written
    from tests.bench.words.through import Whole

MEASURES = ("word errors", "right language", "CPU s")


def markdown(heard: Sequence[Heard]) -> str:
    """Return a row for each kind and language and one for all, with each system's measures."""
    systems = list(heard[0].written) if heard else []
    columns = [f"{measure}: {name}" for measure in MEASURES for name in systems]
    groups: dict[str, list[Heard]] = {}
    for each in heard:
        groups.setdefault(f"{each.recording.kind}, {each.recording.lang}", []).append(each)
    rows = [(name, *_cells(each, systems)) for name, each in groups.items()]
    rows.append(("all", *_cells(heard, systems)))
    return table(("Speech", "utterances", "words", *columns), rows)


def _cells(heard: Sequence[Heard], systems: Sequence[str]) -> list[str]:
    written = {name: [each.written[name] for each in heard] for name in systems}
    sums = [_runs(written[name]) for name in systems]
    return [
        str(len(heard)),
        str(sums[0][0].said if sums else 0),
        *(_rate(runs) for runs in sums),
        *(str(sum(w.language_right for w in written[name])) for name in systems),
        *(f"{sum(w.cpu_s for w in written[name]):.0f}" for name in systems),
    ]


def _runs(written: Sequence[Written]) -> list[Errors]:
    """The sum of all utterances in each run of a system; one where every run writes the same."""
    runs = max(len(each.also) for each in written)
    alike = ((each.errors, *(each.also or [each.errors] * runs)) for each in written)
    return [reduce(add, run, Errors()) for run in zip(*alike, strict=True)]


def _rate(runs: Sequence[Errors]) -> str:
    """Word errors: where runs differ their median, and the least and the most."""
    rates = sorted(run.rate for run in runs)
    median = percent(statistics.median(rates))
    if rates[0] == rates[-1]:
        return median
    return f"{median} ({percent(rates[0])} to {percent(rates[-1])})"


def worst(heard: Sequence[Heard], count: int) -> list[str]:
    """Return lines about the utterances in which the last system got most words wrong."""
    ranked = sorted(heard, key=lambda each: [w.errors.wrong for w in each.written.values()][::-1])
    lines = []
    for each in ranked[::-1][:count]:
        lines.append(f"{each.recording.id} ({each.recording.lang}): {each.recording.text}")
        for name, written in each.written.items():
            language = "" if written.language_right else ", another language"
            lines.append(f"    {name}, {written.errors.wrong} wrong{language}: {written.text}")
    return lines


def whole_markdown(wholes: Sequence[Whole]) -> str:
    """Return the table for whole recordings, as `markdown` does."""
    groups: dict[str, list[Whole]] = {}
    for whole in wholes:
        groups.setdefault(f"{whole.kind}, {whole.lang}", []).append(whole)
    rows = [_whole_row(name, each) for name, each in [*groups.items(), ("all", wholes)]]
    return table(("Speech", "speakers", "utterances", "words", "word errors"), rows)


def _whole_row(name: str, wholes: Sequence[Whole]) -> list[str]:
    found = reduce(add, (whole.errors for whole in wholes), Errors())
    utterances = sum(whole.utterances for whole in wholes)
    return [name, str(len(wholes)), str(utterances), str(found.said), percent(found.rate)]


def worst_wholes(wholes: Sequence[Whole], count: int) -> list[str]:
    """Return lines about the speakers with most wrong words."""
    ranked = sorted(wholes, key=lambda whole: whole.errors.rate, reverse=True)
    return [
        line
        for whole in ranked[:count]
        for line in (
            f"{whole.name} ({whole.lang}), {percent(whole.errors.rate)}: {whole.said}",
            f"    transcribe: {whole.written}",
        )
    ]
