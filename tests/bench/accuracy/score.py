"""How far a transcript is from what was said: meeteval's rates, and what a reader would count."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any

import meeteval

if TYPE_CHECKING:
    from tests.bench.accuracy.meeting import Spoken
    from tests.bench.accuracy.systems import Line

TOLERANCE_S = 0.5
"""How far beside a sentence its words may be looked for: delays and pre-roll."""

SIMULTANEOUS_S = 0.3
"""Sentences that begin closer together have no order."""

MOST = 0.5
"""Share of its words from which a sentence counts as found."""


@dataclass(frozen=True, slots=True)
class Score:
    """Errors and what they are counted against."""

    words: int
    cp: int
    tcp5: int
    tcp1: int
    orc: int
    sentences: int
    doubled: int
    lost: int
    pairs: int
    disordered: int

    def __add__(self, other: Score) -> Score:
        return Score(*(a + b for a, b in zip(self.values(), other.values(), strict=True)))

    def values(self) -> tuple[int, ...]:
        return tuple(getattr(self, name) for name in self.__slots__)


def score(said: list[Spoken], lines: list[Line]) -> Score:
    reference = [_entry(s.speaker, s.start, s.end, s.text) for s in said]
    hypothesis = [_entry(x.speaker, x.start, x.end, x.text) for x in lines if _words(x.text)]
    cp = _rate(meeteval.wer.cpwer, reference, hypothesis)
    found = [_finders(spoken, said, lines) for spoken in said]
    pairs, disordered = _order(said, lines)
    return Score(
        words=cp.length,
        cp=cp.errors,
        tcp5=_rate(meeteval.wer.tcpwer, reference, hypothesis, collar=5).errors,
        tcp1=_rate(meeteval.wer.tcpwer, reference, hypothesis, collar=1).errors,
        orc=_rate(meeteval.wer.greedy_orcwer, reference, hypothesis).errors,
        sentences=len(said),
        doubled=sum(own and elsewhere for own, elsewhere in found),
        lost=sum(not own for own, _ in found),
        pairs=pairs,
        disordered=disordered,
    )


def _rate(measure: Any, reference: list[Any], hypothesis: list[Any], **options: Any) -> Any:
    if not hypothesis:  # meeteval wants a speaker at least
        hypothesis = [_entry(0, 0, 0, "")]
    seglst = meeteval.io.SegLST
    return measure(seglst(reference), seglst(hypothesis), **options)["meeting"]


def _entry(speaker: int, start: float, end: float, text: str) -> dict[str, Any]:
    return {
        "session_id": "meeting",
        "speaker": str(speaker),
        "start_time": start,
        "end_time": max(end, start + 0.01),
        "words": " ".join(_words(text)),
    }


def _words(text: str) -> list[str]:
    return re.findall(r"[\w'-]+", text.lower())


def _finders(spoken: Spoken, said: list[Spoken], lines: list[Line]) -> tuple[bool, bool]:
    """Whether a sentence stands under its own name, and whether under another's as well."""
    names = {line.speaker for line in lines} - {spoken.speaker}
    own = _holds([line for line in lines if line.speaker == spoken.speaker], spoken)
    return own, any(_holds(_foreign(name, said, lines), spoken) for name in names)


def _foreign(name: int, said: list[Spoken], lines: list[Line]) -> list[Line]:
    """The lines under a name without those that hold a sentence of that speaker."""
    own = [spoken for spoken in said if spoken.speaker == name]
    theirs = [line for line in lines if line.speaker == name]
    return [line for line in theirs if not any(_holds([line], spoken) for spoken in own)]


def _holds(lines: list[Line], spoken: Spoken) -> bool:
    near = [
        line
        for line in lines
        if line.start < spoken.end + TOLERANCE_S and line.end > spoken.start - TOLERANCE_S
    ]
    return _overlap(spoken.text, " ".join(line.text for line in near)) >= MOST


def _overlap(sentence: str, text: str) -> float:
    """Share of a sentence's words that stand in a text, in their order."""
    wanted = _words(sentence)
    matcher = SequenceMatcher(None, wanted, _words(text), autojunk=False)
    return sum(block.size for block in matcher.get_matching_blocks()) / len(wanted)


def _order(said: list[Spoken], lines: list[Line]) -> tuple[int, int]:
    """Neighbouring sentences whose order can be told, and those told the wrong way round."""
    places = [_place(spoken, lines) for spoken in said]
    pairs = [
        (places[i], places[i + 1])
        for i in range(len(said) - 1)
        if said[i + 1].start - said[i].start > SIMULTANEOUS_S
    ]
    known = [(a, b) for a, b in pairs if a is not None and b is not None]
    return len(known), sum(a > b for a, b in known)


def _place(spoken: Spoken, lines: list[Line]) -> int | None:
    """Where in the transcript the line stands that holds the sentence under its own name."""
    options = [
        (abs(line.start - spoken.start), place)
        for place, line in enumerate(lines)
        if line.speaker == spoken.speaker and _holds([line], spoken)
    ]
    return min(options)[1] if options else None
