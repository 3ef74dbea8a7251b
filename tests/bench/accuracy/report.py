"""Tables of many meetings: sums, medians and the worst."""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict
from functools import reduce
from operator import add
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.bench.accuracy.runs import Outcome
    from tests.bench.accuracy.score import Score


class Report:
    """Outcomes as they come, by row."""

    def __init__(self, rows: Sequence[str], systems: Sequence[str]) -> None:
        self._rows = rows
        self._systems = systems
        self._outcomes: list[Outcome] = []

    def add(self, outcome: Outcome) -> None:
        self._outcomes.append(outcome)

    def line(self, outcome: Outcome) -> str:
        rates = (f"{name} {100 * s.cpwer:.1f} %" for name, s in outcome.scores.items())
        return f"{outcome.recipe.name}: {', '.join(rates)}"

    def markdown(self) -> str:
        """A table with a line for each system of each row."""
        header = (
            "| Row | System | cpWER | median | worst | tcpWER 5 s | 1 s | ORC-WER | doubled | lost"
            " | wrong name | order | own speech missed | others' kept |"
        )
        rule = "|---" * header.count(" |") + "|"
        rows = [
            f"| {row} | {system} | {' | '.join(_cells(self._scores(row, system)))} |"
            for row in self._rows
            for system in self._systems
        ]
        return "\n".join(["", header, rule, *rows, ""])

    def worst(self, count: int) -> Iterator[str]:
        """Explanations of the meetings in which the node's own way (or the first) did worst."""
        system = "drop" if "drop" in self._systems else self._systems[0]
        ranked = sorted(self._outcomes, key=lambda o: o.scores[system].cpwer, reverse=True)
        for outcome in ranked[:count]:
            yield f"\n{outcome.recipe.name}, {system}: cpWER {_percent(outcome.scores[system])}"
            yield from outcome.explanations[system]

    def json(self) -> str:
        meetings = [
            {
                "row": outcome.recipe.row.name,
                "number": outcome.recipe.number,
                "voices": outcome.recipe.voices,
                "length_s": outcome.recipe.length_s,
                "systems": {name: asdict(score) for name, score in outcome.scores.items()},
            }
            for outcome in self._outcomes
        ]
        return json.dumps({"meetings": meetings}, indent=1)

    def _scores(self, row: str, system: str) -> list[Score]:
        return [o.scores[system] for o in self._outcomes if o.recipe.row.name == row]


def _percent(score: Score) -> str:
    return f"{100 * score.cpwer:.1f} %"


def _cells(scores: list[Score]) -> list[str]:
    total = reduce(add, scores)
    return [
        _percent(total),
        f"{100 * statistics.median(s.cpwer for s in scores):.1f} %",
        f"{100 * max(s.cpwer for s in scores):.1f} %",
        *(f"{100 * e / total.words:.1f} %" for e in (total.tcp5, total.tcp1, total.orc)),
        f"{total.doubled} of {total.sentences}",
        *(str(count) for count in (total.lost, total.misnamed)),
        f"{total.disordered} of {total.pairs}",
        f"{100 * total.own_missed_s / total.own_s:.1f} %",
        f"{100 * total.foreign_kept_s / max(total.foreign_s, 0.01):.1f} %",
    ]
