"""Scores a transcript against what was said: meeteval's rates, and what a reader would count."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import meeteval
import numpy as np

from tests.bench.accuracy.findings import find, order
from tests.bench.accuracy.outcome import Score
from tests.bench.texts import words

if TYPE_CHECKING:
    import numpy.typing as npt

    from tests.bench.accuracy.meeting import Spoken
    from tests.bench.accuracy.node_way import Line

for _name in ("preprocess", "error_rate"):
    # They warn about every long line of other systems that it is longer than the collar.
    logging.getLogger(_name).setLevel(logging.ERROR)

GRID_S = 0.01

BESIDE_S = 1.0
"""Time around a speaker's own speech that does not count as others' speech kept: our hangover."""


def score(said: list[Spoken], lines: list[Line], *, named: bool = True) -> Score:
    """Count errors; without `named`, as if one person had said everything, under one name.

    For the lines of one microphone, cpWER is then the same as ORC-WER.
    """
    if not named:
        said = [replace(spoken, speaker=0) for spoken in said]
        lines = [replace(line, speaker=0) for line in lines]
    reference = [_entry(s.speaker, s.start, s.end, s.text) for s in said]
    hypothesis = [_entry(x.speaker, x.start, x.end, x.text) for x in lines if words(x.text)]
    cp = _rate(meeteval.wer.cpwer, reference, hypothesis)
    findings, strays = find(said, lines)
    pairs, disordered = order(findings)
    return Score(
        words=cp.length,
        cp=cp.errors,
        tcp5=_rate(meeteval.wer.tcpwer, reference, hypothesis, collar=5).errors,
        tcp1=_rate(meeteval.wer.tcpwer, reference, hypothesis, collar=1).errors,
        orc=_rate(meeteval.wer.greedy_orcwer, reference, hypothesis).errors,
        sentences=len(said),
        doubled=sum(f.doubled for f in findings),
        lost=sum(f.lost for f in findings),
        misnamed=sum(f.misnamed for f in findings),
        strays=len(strays),
        lines=len(hypothesis),
        pairs=pairs,
        disordered=len(disordered),
        **_coverage(said, lines),
    )


def _rate(measure: Any, reference: list[Any], hypothesis: list[Any], **options: Any) -> Any:
    if not hypothesis:  # meeteval needs at least one speaker
        hypothesis = [_entry(0, 0, 0, "")]
    seglst = meeteval.io.SegLST
    return measure(seglst(reference), seglst(hypothesis), **options)["meeting"]


def _entry(speaker: int, start: float, end: float, text: str) -> dict[str, Any]:
    return {
        "session_id": "meeting",
        "speaker": str(speaker),
        "start_time": start,
        "end_time": max(end, start + 0.01),
        "words": " ".join(words(text)),
    }


def _coverage(said: list[Spoken], lines: list[Line]) -> dict[str, float]:
    """Return own speech outside the speaker's lines, and others' inside while they are silent."""
    length = max([s.end for s in said] + [line.end for line in lines]) + 1
    everyone = {s.speaker for s in said}
    speaking = {w: _grid([s for s in said if s.speaker == w], 0, length) for w in everyone}
    found = dict.fromkeys(("own_s", "own_missed_s", "foreign_s", "foreign_kept_s"), 0.0)
    for who in everyone:
        kept = _grid([line for line in lines if line.speaker == who], 0, length)
        silent = ~_grid([s for s in said if s.speaker == who], BESIDE_S, length)
        foreign = silent & np.any([speaking[w] for w in everyone - {who}], axis=0)
        found["own_s"] += GRID_S * speaking[who].sum()
        found["own_missed_s"] += GRID_S * (speaking[who] & ~kept).sum()
        found["foreign_s"] += GRID_S * foreign.sum()
        found["foreign_kept_s"] += GRID_S * (foreign & kept).sum()
    return found


def _grid(spans: list[Any], beside_s: float, length_s: float) -> npt.NDArray[np.bool_]:
    covered = np.zeros(round(length_s / GRID_S), bool)
    for span in spans:
        first = max(0, round((span.start - beside_s) / GRID_S))
        covered[first : round((span.end + beside_s) / GRID_S)] = True
    return covered
