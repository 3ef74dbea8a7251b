"""Explains what went wrong in a meeting, sentence by sentence, with details for an engineer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from node.core.model import SAMPLE_RATE
from tests.bench.accuracy.findings import Finding, find, order
from tests.bench.accuracy.systems import recognised
from tests.bench.texts import words

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.bench.accuracy.meeting import Spoken
    from tests.bench.accuracy.node_way import Account, Line
    from tests.bench.accuracy.scene import Scene

NEAR_S = 0.7
PRE_ROLL_S, TAIL_S = 0.3, 0.3


def explain(scene: Scene, account: Account, model: Path) -> Iterator[str]:
    """Yield lines of text. Mics and speakers are numbered from 1; levels are dBFS at the mics."""
    findings, strays = find(scene.said, account.lines)
    _, wrong_order = order(findings)
    yield _setting(scene, account)
    for finding in findings:
        faults = _faults(finding, [b for _, b in wrong_order], account.lines)
        if faults:
            yield _sentence(finding.spoken, ", ".join(faults))
            yield from _circumstances(scene, finding.spoken)
            yield from _transcribed(finding, account)
            if finding.line is None or finding.matched < len(words(finding.spoken.text)):
                yield from _clean(scene, finding, account, model)
    for index in strays:
        line = account.lines[index]
        yield f"  {_span(line)}  mic {line.speaker + 1}  STRAY LINE  {line.text}"
        yield from _speaking(scene, line)


def _setting(scene: Scene, account: Account) -> str:
    late = scene.recording.delays_s - scene.recording.delays_s.min()
    delays = ", ".join(f"{1000 * delay:.0f}" for delay in late)
    lags = account.lags_s
    found = ", ".join("?" if lag is None else f"{1000 * lag:.0f}" for lag in lags)
    noise = ", ".join(f"{level:.0f}" for level in scene.recording.noise_db)
    return f"  delays {delays} ms; found at the end {found} ms; noise {noise} dBFS"


def _faults(finding: Finding, behind: list[Finding], lines: list[Line]) -> list[str]:
    faults = []
    if finding.lost:
        faults.append("LOST")
    if finding.misnamed:
        faults.append("WRONG NAME")
    if finding.doubled:
        faults.append("DOUBLED")
    if any(finding is other for other in behind):
        faults.append("ORDER: stands before the one before it")
    if finding.line is not None and finding.matched < len(words(finding.spoken.text)):
        faults.append(f"WORDS: {lines[finding.line].text}")
    return faults


def _sentence(spoken: Spoken, faults: str) -> str:
    return f"  {_span(spoken)}  speaker {spoken.speaker + 1}  {spoken.text}  {faults}"


def _circumstances(scene: Scene, spoken: Spoken) -> Iterator[str]:
    """Yield the sentence's level at every microphone, and who speaks into its own meanwhile."""
    index = next(i for i, other in enumerate(scene.said) if other is spoken)
    levels = " ".join(f"{level:.0f}" for level in scene.recording.levels_db[index])
    yield f"      level at mics 1, 2, …: {levels} dBFS"
    own = scene.recording.levels_db[index, spoken.speaker]
    for i, other in enumerate(scene.said):
        if other is not spoken and other.start < spoken.end and other.end > spoken.start:
            there = scene.recording.levels_db[i, spoken.speaker]
            yield (
                f"      at once {_span(other)}  speaker {other.speaker + 1}, at this mic"
                f" {there - own:+.0f} dB: {other.text}"
            )


def _transcribed(finding: Finding, account: Account) -> Iterator[str]:
    """Yield what the own microphone has for that time, and where the copies are."""
    spoken = finding.spoken
    shown = {i for i, x in enumerate(account.lines) if x.speaker == spoken.speaker}
    for i, line in enumerate(account.lines):
        if (i in shown and _touches(line, spoken)) or i in finding.copies:
            yield f"      line {_span(line)}  mic {line.speaker + 1}: {line.text}"
    for mic, start, end, owner in account.set_aside:
        if mic == spoken.speaker and start < spoken.end + NEAR_S and end > spoken.start - NEAR_S:
            yield f"      set aside {start:.2f}-{end:.2f} s as speech of mic {owner + 1}"


def _clean(scene: Scene, finding: Finding, account: Account, model: Path) -> Iterator[str]:
    """Yield what the engine makes of the speaker alone, in the time of the existing lines.

    If that is wrong too, the fault is in endpointing or the engine, not in what others leave.
    """
    spoken = finding.spoken
    mine = [line for line in account.lines if line.speaker == spoken.speaker]
    lines = [line for line in mine if _touches(line, spoken)]
    if not lines:
        return
    start = min(line.start for line in lines) - PRE_ROLL_S
    end = max(line.end for line in lines) + TAIL_S
    alone = np.zeros(round((end - start) * SAMPLE_RATE), np.float32)
    for other in (x for x in scene.said if x.speaker == spoken.speaker):
        at = round((other.start - start) * SAMPLE_RATE)
        piece = other.sound[max(0, -at) :][: max(0, len(alone) - max(0, at))]
        alone[max(0, at) : max(0, at) + len(piece)] += piece
    yield f"      alone and clean, that time gives: {recognised(alone, model)}"


def _speaking(scene: Scene, line: Line) -> Iterator[str]:
    for i, spoken in enumerate(scene.said):
        if _touches(line, spoken):
            level = scene.recording.levels_db[i, line.speaker]
            yield (
                f"      speaking {_span(spoken)}  speaker {spoken.speaker + 1}, at this mic"
                f" {level:.0f} dBFS: {spoken.text}"
            )


def _touches(line: Line, spoken: Spoken) -> bool:
    return line.start < spoken.end + NEAR_S and line.end > spoken.start - NEAR_S


def _span(piece: Spoken | Line) -> str:
    return f"{piece.start:.2f}-{piece.end:.2f} s"
