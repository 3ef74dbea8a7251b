"""What is the cheapest way to work off a backlog: `python -m tests.bench.backlog [--model base]`.

Short utterances in a window of 10 s, on a model of real size with random weights: what it takes to
decode two or four of them in one search instead of one by one, with beams 5 and 1, and the most
that one window for several could save, which is their encodings. Times are medians of processor
time on one thread, so that other load on the machine matters little. Then, on the demonstration
model, how many texts differ.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.table import Table

from node.adapters.whisper import Clip, Engine, EngineSettings
from node.adapters.whisper.decoding import DecodeRequest, _stacked
from tests.bench.models import SHAPES, cached
from tests.model.sentences import SENTENCES
from tests.rig.node import MODEL, spoken

if TYPE_CHECKING:
    from collections.abc import Callable

SECONDS = 3.0
"""Of speech in each utterance."""

WINDOW = 1000
ROUNDS = 7


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=SHAPES, default="base")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    given = parser.parse_args()
    console = Console(width=100)
    with tempfile.TemporaryDirectory() as name:
        console.print(costs(loaded(cached(given.model), Path(name)), given.model, given.rounds))
        different, all_texts = differences(loaded(MODEL, Path(name)))
    console.print(f"texts that differ, together and alone: {different} of {all_texts}")


def loaded(model: Path, folder: Path) -> Engine:
    settings = EngineSettings("bench", model, folder, languages=("en", "fr"), threads=1)
    engine = Engine(settings)
    engine.load()
    return engine


def costs(engine: Engine, model: str, rounds: int) -> Table:
    """Return milliseconds per utterance; `together` and `one window` as shares of `alone`."""
    table = Table(
        *("beam", "utterances", "encoding ms", "decoding ms", "decoding together"),
        *("all, together", "all, one window at best"),
        title=f"{model}, {SECONDS:g} s of speech in a window of {WINDOW / 100:g} s",
    )
    rng = np.random.default_rng(1)
    features = rng.standard_normal((80, WINDOW), dtype=np.float32)
    encode_s = seconds(lambda: engine._encoder._encode(features, WINDOW), rounds)
    for beam in (5, 1):
        request = DecodeRequest("en", round(SECONDS * 100), beam, None)
        for count in (2, 4):
            pairs = [(engine._encoder._encode(features, WINDOW), request) for _ in range(count)]
            alone_s, together_s = decoding(engine, pairs, rounds)
            whole_s = count * encode_s + alone_s
            table.add_row(
                str(beam),
                str(count),
                f"{1000 * encode_s:.0f}",
                f"{1000 * alone_s / count:.0f}",
                f"{together_s / alone_s:.2f}",
                f"{(count * encode_s + together_s) / whole_s:.2f}",
                f"{(encode_s + alone_s) / whole_s:.2f}",
            )
    return table


def decoding(
    engine: Engine, pairs: list[tuple[Any, DecodeRequest]], rounds: int
) -> tuple[float, float]:
    """Return the seconds for all of them: one search after the other, and in one search."""
    decoder = engine._decoder
    requests = [request for _, request in pairs]
    stacked = _stacked([encoding for encoding, _ in pairs])
    return (
        seconds(lambda: [decoder._search(each, [request]) for each, request in pairs], rounds),
        seconds(lambda: decoder._search(stacked, requests), rounds),
    )


def seconds(work: Callable[[], object], rounds: int) -> float:
    """Return processor time: the median of `rounds`, after a first round."""
    work()
    taken = []
    for _ in range(rounds):
        began = time.process_time()
        work()
        taken.append(time.process_time() - began)
    return statistics.median(taken)


def differences(engine: Engine) -> tuple[int, int]:
    """Return how many texts differ when decoded by four, at beams 5 and 1, and how many in all."""
    sounds = [spoken(sentence, pause_s=0.3) for sentence in SENTENCES]
    different = 0
    for beam in (5, 1):
        for first in range(0, len(sounds), 4):
            four = sounds[first : first + 4]
            together = engine.transcribe_together([Clip(each) for each in four], beam_size=beam)
            alone = [engine.transcribe(Clip(each), beam_size=beam) for each in four]
            different += sum(a.text != b.text for a, b in zip(together, alone, strict=True))
    return different, 2 * len(sounds)


if __name__ == "__main__":
    main()
