"""The node with a stopwatch on its engine: `python -m tests.rig.timed_node run`.

Each run of the engine adds a line to `ENGINE_TIMES`: begin and end on the monotonic clock.
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
    from node.core.model import Transcription

_TIMES = Path(os.environ["ENGINE_TIMES"])
_transcribe = Engine.transcribe


def _timed(self: Engine, *arguments: Any, **options: Any) -> Transcription:
    began = time.monotonic()
    try:
        return _transcribe(self, *arguments, **options)
    finally:
        with _TIMES.open("a") as file:
            file.write(f"{began} {time.monotonic()}\n")


if __name__ == "__main__":
    Engine.transcribe = _timed  # type: ignore[method-assign]
    sys.exit(main())
