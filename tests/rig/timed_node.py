"""The node with a stopwatch on its engine: `python -m tests.rig.timed_node run`.

Each run of the engine adds a line to `ENGINE_TIMES`: begin and end on the monotonic clock, and how
many utterances it heard.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from node.adapters.whisper import Engine
from node.cli import main

if TYPE_CHECKING:
    from collections.abc import Sequence

    from node.adapters.whisper import Clip
    from node.core.model import Transcription

_TIMES = Path(os.environ["ENGINE_TIMES"])
_transcribe = Engine.transcribe
_transcribe_together = Engine.transcribe_together


def _timed(self: Engine, clip: Clip, **options: Any) -> Transcription:
    began = time.monotonic()
    try:
        return _transcribe(self, clip, **options)
    finally:
        _note(began, 1)


def _timed_together(self: Engine, clips: Sequence[Clip], **options: Any) -> list[Transcription]:
    began = time.monotonic()
    try:
        return _transcribe_together(self, clips, **options)
    finally:
        _note(began, len(clips))


def _note(began: float, utterances: int) -> None:
    with _TIMES.open("a") as file:
        file.write(f"{began} {time.monotonic()} {utterances}\n")


if __name__ == "__main__":
    Engine.transcribe = _timed  # type: ignore[method-assign]
    Engine.transcribe_together = _timed_together  # type: ignore[method-assign]
    sys.exit(main())
