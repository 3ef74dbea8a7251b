"""Words found in sounds without speech: by `transcribe`, and by the engine without a detector."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from node.adapters.whisper import Clip
from node.cli import main as node
from node.core.model import SAMPLE_RATE
from tests.bench.engine.sounds import MODEL, NOISES, as_int16, engine
from tests.model.say import write_wav

if TYPE_CHECKING:
    from tests.bench.engine.sounds import Samples

PIECE_S = 5


def run(minutes: float) -> None:
    print(
        f"{minutes:g} minutes of each       transcribe   engine alone: texts, removed by its guards"
    )
    for name, make in NOISES.items():
        samples = as_int16(make(round(minutes * 60 * SAMPLE_RATE), np.random.default_rng(1)))
        engine().removed.clear()
        pieces = [
            samples[at : at + PIECE_S * SAMPLE_RATE]
            for at in range(0, len(samples), PIECE_S * SAMPLE_RATE)
        ]
        texts = sum(bool(engine().transcribe(Clip(piece)).text) for piece in pieces)
        words = words_of(samples)
        print(f"{name:22} {words:4} words   {texts} of {len(pieces)}, {dict(engine().removed)}")


def words_of(samples: Samples) -> int:
    """Return how many words the `transcribe` command finds in a recording."""
    with tempfile.TemporaryDirectory() as folder:
        file, output = Path(folder) / "noise.wav", Path(folder) / "out.json"
        write_wav(file, samples, SAMPLE_RATE)
        options = ["--model", str(MODEL), "--format", "json", "--output", str(output)]
        assert node(["transcribe", str(file), *options]) == 0
        document = json.loads(output.read_text(encoding="utf-8"))
    return sum(len(segment["text"].split()) for segment in document["segments"])
