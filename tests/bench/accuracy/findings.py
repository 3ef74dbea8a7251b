"""Finds each sentence of a meeting in a transcript, as a reader would."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import TYPE_CHECKING

from tests.bench.texts import words

if TYPE_CHECKING:
    from tests.bench.accuracy.meeting import Spoken
    from tests.bench.accuracy.node_way import Line

TOLERANCE_S = 0.5
"""How far from a sentence its words may be: delays, pre-roll, a cut-off end."""

SIMULTANEOUS_S = 0.3
"""Sentences that begin closer together have no order."""

HALF = 0.5
"""Share of its words, in order, from which a sentence counts as found under its own name.
A copy needs more than that: neighbours share words by chance.
"""


@dataclass(slots=True)
class Finding:
    """A sentence, the index of the line that has it under its own name, and the copies.

    `copies` are indices of lines that have it a second time, or under another name. No word of a
    transcript counts for two sentences.
    """

    spoken: Spoken
    line: int | None = None
    matched: int = 0
    copies: list[int] = field(default_factory=list)

    @property
    def lost(self) -> bool:
        return self.line is None and not self.copies

    @property
    def misnamed(self) -> bool:
        return self.line is None and bool(self.copies)

    @property
    def doubled(self) -> bool:
        return (self.line is not None) + len(self.copies) > 1


@dataclass(slots=True)
class _Word:
    text: str
    line: int
    used: bool = False


def find(said: list[Spoken], lines: list[Line]) -> tuple[list[Finding], list[int]]:
    """Return each sentence's finding, and the lines without a word that belongs to a sentence."""
    pools: dict[int, list[_Word]] = {}
    for index, line in enumerate(lines):
        pools.setdefault(line.speaker, []).extend(_Word(word, index) for word in words(line.text))
    findings = [Finding(spoken) for spoken in said]
    for finding in findings:
        pool = pools.get(finding.spoken.speaker, [])
        if taken := _take(finding.spoken, pool, lines, HALF):
            finding.line, finding.matched = _commonest(taken), len(taken)
    for finding in findings:
        for pool in pools.values():
            if taken := _take(finding.spoken, pool, lines, HALF + 0.01):
                finding.copies.append(_commonest(taken))
    used = {word.line for pool in pools.values() for word in pool if word.used}
    return findings, [i for i, line in enumerate(lines) if words(line.text) and i not in used]


def order(findings: list[Finding]) -> tuple[int, list[tuple[Finding, Finding]]]:
    """Return how many neighbours have a clear order, and which of them are in the wrong order.

    Neighbours are two sentences, both found under their own names, of which the second is the next
    to begin, more than 0.3 s after the first.
    """
    pairs = [
        (first, second)
        for first, second in itertools.pairwise(findings)
        if second.spoken.start - first.spoken.start > SIMULTANEOUS_S
        and first.line is not None
        and second.line is not None
    ]
    wrong = [(a, b) for a, b in pairs if (a.line or 0) > (b.line or 0)]
    return len(pairs), wrong


def _take(spoken: Spoken, pool: list[_Word], lines: list[Line], least: float) -> list[_Word]:
    """Take a sentence's words from those of one name, if at least that share is there."""
    near = [word for word in pool if not word.used and _is_near(spoken, lines[word.line])]
    wanted = words(spoken.text)
    matcher = SequenceMatcher(None, wanted, [word.text for word in near], autojunk=False)
    found = [near[b.b + i] for b in matcher.get_matching_blocks() for i in range(b.size)]
    if len(found) < least * len(wanted):
        return []
    for word in found:
        word.used = True
    return found


def _is_near(spoken: Spoken, line: Line) -> bool:
    return line.start < spoken.end + TOLERANCE_S and line.end > spoken.start - TOLERANCE_S


def _commonest(taken: list[_Word]) -> int:
    places = [word.line for word in taken]
    return max(places, key=places.count)
