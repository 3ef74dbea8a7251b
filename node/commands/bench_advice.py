"""Which models a machine can keep up with, by measured costs, and what to configure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from node.commands.bench_model import Cost, Measured

RESERVE = 0.8
"""Share of the time to plan with: above it, utterances wait long for each other."""

WANTED_MICS = 2.0
"""Microphones at full speech for the advised model: in a meeting two sometimes speak at once."""

GAIN = 0.9
"""More threads are advised only if they take less than this share of the time."""

BUSY = 0.3
"""Share of the cores that other work may take while the figures can be trusted."""


@dataclass(frozen=True, slots=True)
class Relative:
    """Costs of a size of Whisper relative to `base`."""

    encode: float
    encode_full: float
    decode: float


RELATIVE = {
    "tiny": Relative(0.42, 0.51, 0.54),
    "base": Relative(1.0, 1.0, 1.0),
    "small": Relative(3.1, 3.6, 2.6),
    "medium": Relative(9.0, 9.0, 6.8),
    "large-v3-turbo": Relative(17.0, 15.6, 2.1),
    "large-v3": Relative(17.0, 15.6, 10.4),
}
"""Measured with random weights of these sizes, int8, two threads, beam 5, on x86-64:
`python -m tests.bench.models … --costs`. From the smallest to the largest.
"""


@dataclass(frozen=True, slots=True)
class Row:
    """What this machine can do with one model; `mics` are at full speech: nobody ever pauses."""

    model: str
    measured: Measured
    estimated: bool
    mics: float


@dataclass(frozen=True, slots=True)
class Findings:
    """All results.

    `hearing`: processor seconds per second of one microphone; `threads`: the first model with
    several numbers of threads; `load`: of the machine, before.
    """

    cores: int
    load: float
    hearing: float
    rows: tuple[Row, ...]
    threads: tuple[Measured, ...]
    advice: Row | None

    @property
    def is_disturbed(self) -> bool:
        """Whether other work took so much of the machine that the figures are too high."""
        return self.load > BUSY * self.cores


def row(
    model: str, measured: Measured, hearing: float, cores: int, *, estimated: bool = False
) -> Row:
    """Work out how many microphones can be followed.

    There are two limits: the engine takes one utterance at a time, and it shares the processor with
    the hearing of every microphone.

    Args:
        model: its name, for people.
        measured: what its utterances cost.
        hearing: processor seconds per second of one microphone.
        cores: of the machine.
        estimated: whether the costs are scaled from those of another model.
    """
    by_time = RESERVE / measured.rtf
    by_processor = RESERVE * cores / (measured.cpu_rtf + hearing)
    return Row(model, measured, estimated, min(by_time, by_processor))


def best_threads(runs: Sequence[Measured]) -> Measured:
    """Return the run with the fewest threads that is not much slower than any with more."""
    best, *more = sorted(runs, key=lambda run: run.threads)
    for run in more:
        if run.rtf < GAIN * best.rtf:
            best = run
    return best


def estimates(model: str, measured: Measured, present: Mapping[str, object]) -> dict[str, Measured]:
    """Return the costs of the sizes that are not present, scaled from a measured model."""
    if model not in RELATIVE:
        return {}
    return {name: _scaled(measured, model, name) for name in RELATIVE if name not in present}


def advised(rows: Sequence[Row]) -> Row | None:
    """Return the largest model that keeps up with enough microphones; None if none does."""
    order = list(RELATIVE)
    fitting = [r for r in rows if r.mics >= WANTED_MICS and r.model in RELATIVE]
    return max(fitting, key=lambda r: order.index(r.model), default=None)


def _scaled(measured: Measured, known: str, name: str) -> Measured:
    of, to = RELATIVE[known], RELATIVE[name]
    decode = to.decode / of.decode
    full = to.encode_full / of.encode_full
    encode = full if measured.full else to.encode / of.encode
    return replace(
        measured,
        utterances=tuple(_cost(cost, encode, decode) for cost in measured.utterances),
        window=measured.window and _cost(measured.window, full, decode),
    )


def _cost(cost: Cost, encode: float, decode: float) -> Cost:
    scaled = replace(cost, encode_s=cost.encode_s * encode, decode_s=cost.decode_s * decode)
    return replace(scaled, cpu_s=cost.cpu_s * scaled.takes_s / cost.takes_s)
