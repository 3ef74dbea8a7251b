"""Tables of many meetings: sums, medians and the worst."""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict
from functools import reduce
from operator import add
from typing import TYPE_CHECKING

from tests.bench.accuracy.outcome import Outcome
from tests.bench.accuracy.rows import parse_row
from tests.bench.accuracy.systems import BEST_MIC, NAMELESS, ORACLE, OURS
from tests.bench.markdown import percent, put, table
from tests.bench.speech import ONE, TWO

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.bench.accuracy.outcome import Invented, Score

PLACE = "accuracy"
"""Name of the marks that the table of docs/who-said-it.md stands between."""

COLUMNS = (
    *("Row", "System", "cpWER", "above oracle", "x best mic", "median", "worst", "tcpWER 5 s"),
    *("1 s", "ORC-WER", "doubled", "lost", "wrong name", "strays", "order", "own missed"),
    *("others' kept", "CPU s"),
)

LANGUAGES = {ONE: "one language", TWO: "two languages"}

SUMMARY = (
    *("All rows", "cpWER", "above oracle", "x best mic", "doubled", "wrong name"),
    *("stray lines", "lost beyond oracle", "CPU s a meeting"),
)

LEGEND = (
    "Above oracle: in points of cpWER. Doubled, wrong name and lost are shares of the sentences,"
    " stray lines of the lines; lost beyond oracle is by how much more are lost than the oracle"
    f" loses. {BEST_MIC} knows no names: its cpWER is its ORC-WER. CPU s: processor time for one"
    " meeting.\n"
)


class Report:
    """Outcomes as they come, by row."""

    def __init__(self, rows: Sequence[str], systems: Sequence[str]) -> None:
        self._rows = rows
        self._systems = systems
        self._outcomes: list[Outcome] = []
        self._invented: list[Invented] = []

    def add(self, outcome: Outcome | Invented) -> str:
        """Add an outcome; return it as a line of text."""
        if isinstance(outcome, Outcome):
            self._outcomes.append(outcome)
            rates = (f"{name} {percent(s.cpwer)}" for name, s in outcome.scores.items())
            return f"{outcome.recipe.name}: {', '.join(rates)}"
        self._invented.append(outcome)
        counts = (f"{name} {count}" for name, count in outcome.words.items())
        return f"{outcome.seconds:.0f} s of {outcome.noise}: words of {', '.join(counts)}"

    def markdown(self) -> str:
        """Return everything: a line per system and row, and the words found in noise."""
        rows = [
            (row, system, *self._cells(row, system))
            for row in self._rows
            for system in self._systems
        ]
        noise = [
            (f"{x.seconds:.0f} s of {x.noise}", *(str(x.words.get(s, "")) for s in self._systems))
            for x in self._invented
        ]
        tables = [table(COLUMNS, rows), self.summary(), LEGEND] if rows else []
        if noise:
            tables.append(table(("Words of", *self._systems), noise))
        return "\n".join(tables)

    def summary(self) -> str:
        """Return the sum over all rows, a line per system."""
        return table(SUMMARY, [self._summed(system) for system in self._systems])

    def comparison(self) -> str:
        """Return the rates of all systems side by side, and the node's other errors."""
        columns = (*self._systems, "doubled", "lost", "wrong name", "out of order")
        rows = [(_in_words(row), *self._compared(row)) for row in self._rows]
        if self._invented:
            rows.append((self._noises(), *self._noise_words(), "", "", "", ""))
        return table(("Meeting", *columns), rows)

    def write_into(self, text: str) -> str:
        """Return a text with the table of docs/who-said-it.md put in its place.

        Raises:
            ValueError: it has no such place.
        """
        return put(text, PLACE, self.comparison())

    def worst(self, system: str, count: int) -> Iterator[str]:
        """Yield explanations of the meetings in which a system did worst."""
        ranked = sorted(self._outcomes, key=lambda o: o.scores[system].cpwer, reverse=True)
        for outcome in ranked[:count]:
            rate = percent(outcome.scores[system].cpwer)
            yield f"\n{outcome.recipe.name}, {system}: cpWER {rate}"
            yield from outcome.explanation

    def json(self) -> str:
        meetings = [
            {
                "row": outcome.recipe.row.name,
                "number": outcome.recipe.number,
                "voices": outcome.recipe.voices,
                "length_s": outcome.recipe.length_s,
                "systems": {name: asdict(score) for name, score in outcome.scores.items()},
                "took_s": outcome.took_s,
            }
            for outcome in self._outcomes
        ]
        noises = [asdict(invented) for invented in self._invented]
        return json.dumps({"meetings": meetings, "noises": noises}, indent=1)

    def _of(self, row: str | None) -> list[Outcome]:
        """Return the meetings of a row, or all of them."""
        return [o for o in self._outcomes if row is None or o.recipe.row.name == row]

    def _scores(self, row: str | None, system: str) -> list[Score]:
        return [outcome.scores[system] for outcome in self._of(row)]

    def _total(self, row: str | None, system: str) -> Score | None:
        """Return the total score; None if the system did not run."""
        return reduce(add, self._scores(row, system)) if system in self._systems else None

    def _against(self, row: str | None, system: str) -> list[str]:
        """Return cpWER, its distance to the oracle's in points, and its ratio to the best mic's."""
        total = reduce(add, self._scores(row, system))
        oracle, best = self._total(row, ORACLE), self._total(row, BEST_MIC)
        return [
            percent(total.cpwer),
            f"{100 * total.above(oracle):+.1f}" if oracle and system != ORACLE else "",
            f"{total.cpwer / best.cpwer:.2f}" if best and best.cp and system != BEST_MIC else "",
        ]

    def _took(self, row: str | None, system: str) -> str:
        return f"{statistics.mean(outcome.took_s[system] for outcome in self._of(row)):.1f}"

    def _cells(self, row: str, system: str) -> list[str]:
        scores = self._scores(row, system)
        return [*self._against(row, system), *_cells(scores), self._took(row, system)]

    def _summed(self, system: str) -> list[str]:
        total, oracle = reduce(add, self._scores(None, system)), self._total(None, ORACLE)
        return [
            system,
            *self._against(None, system),
            percent(total.doubled_share),
            "" if system in NAMELESS else percent(total.misnamed_share),
            percent(total.stray_share),
            percent(total.lost_beyond(oracle)) if oracle and system != ORACLE else "",
            self._took(None, system),
        ]

    def _compared(self, row: str) -> list[str]:
        cells = []
        for system in self._systems:
            scores = self._scores(row, system)
            cells.append(percent(reduce(add, scores).cpwer))
            if system == OURS and len(scores) > 1:
                cells[-1] += f" ({percent(max(s.cpwer for s in scores))})"
        ours = reduce(add, self._scores(row, OURS))
        return [
            *cells,
            f"{ours.doubled} of {ours.sentences}",
            *(str(count) for count in (ours.lost, ours.misnamed)),
            f"{ours.disordered} of {ours.pairs}",
        ]

    def _noises(self) -> str:
        minutes = self._invented[0].seconds / 60
        return f"words in {minutes:.0f} min each of {', '.join(x.noise for x in self._invented)}"

    def _noise_words(self) -> list[str]:
        return [
            ", ".join(str(x.words[system]) for x in self._invented)
            if system in self._invented[0].words
            else ""
            for system in self._systems
        ]


def _in_words(name: str) -> str:
    row = parse_row(name)
    bleed = "no bleed" if row.bleed_db is None else f"bleed {row.bleed_db:g} dB"
    spoken = row.languages and LANGUAGES.get(row.languages, f"all {row.languages}")
    languages = f", {spoken}" if spoken else ""
    uneven = ", gains ±12 dB, delays to 0.2 s" if row.uneven else ""
    return f"{row.speakers} speakers, {bleed}, {row.overlap} % overlap{languages}{uneven}"


def _cells(scores: list[Score]) -> list[str]:
    total = reduce(add, scores)
    return [
        percent(statistics.median(s.cpwer for s in scores)),
        percent(max(s.cpwer for s in scores)),
        *(percent(errors / total.words) for errors in (total.tcp5, total.tcp1, total.orc)),
        f"{total.doubled} of {total.sentences}",
        *(str(count) for count in (total.lost, total.misnamed, total.strays)),
        f"{total.disordered} of {total.pairs}",
        percent(total.own_missed_s / total.own_s),
        percent(total.foreign_kept_s / max(total.foreign_s, 0.01)),
    ]
