"""A worker that only waits as long as the engine would work: `python -m tests.bench.fleet.worker`.

All else is the real program. What it hears must be an utterance of `FLEET_PLAN`, sample by sample:
it answers with that one's text, or fails. Each run adds a line to `FLEET_RUNS`: when it began and
ended on the monotonic clock, seconds of sound, and the fingerprint.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from node.adapters.whisper import Engine
from node.cli import main
from node.core.model import SAMPLE_RATE, Transcription
from tests.bench.fleet import pace
from tests.bench.fleet.sounds import fingerprint

if TYPE_CHECKING:
    from node.adapters.whisper import Clip

_FOLDER = Path(os.environ[pace.PLAN])
_PACES = pace.read(_FOLDER / "paces.json")
_TEXTS: dict[str, list[str]] = json.loads((_FOLDER / "texts.json").read_text("utf-8"))


def _wait(_engine: Engine, clip: Clip, *, beam_size: int | None = None) -> Transcription:
    began = time.monotonic()
    known = fingerprint(clip.samples)
    text, language = _TEXTS[known]
    before = sum(len(part.samples) for part in clip.earlier)
    takes_s = _pace(beam_size).takes_s(clip.samples, before)
    time.sleep(max(0.0, began + takes_s - time.monotonic()))
    with Path(os.environ[pace.RUNS]).open("a") as file:
        file.write(f"{began} {time.monotonic()} {len(clip.samples) / SAMPLE_RATE} {known}\n")
    return Transcription(text, language, 1.0, 0.9)


def _pace(beam_size: int | None) -> pace.Pace:
    """Return that of the search asked for, or of the next wider one that was measured."""
    wide_enough = [beam for beam in _PACES if beam >= (beam_size or 0)]
    return _PACES[min(wide_enough, default=max(_PACES))]


if __name__ == "__main__":
    Engine.load = lambda _self: None  # type: ignore[method-assign, assignment]
    Engine.tuned = lambda self, _settings: self  # type: ignore[method-assign, assignment]
    Engine.transcribe = _wait  # type: ignore[method-assign, assignment]
    sys.exit(main())
