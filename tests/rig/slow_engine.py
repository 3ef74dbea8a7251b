"""The node on a machine that is too slow: `python -m tests.rig.slow_engine run`.

Each window takes `ENGINE_SLOW_S` seconds more to encode, as with a model that is too large, or less
if the file `ENGINE_SLOW_WHILE` is removed meanwhile. Everything else is unchanged, also the time to
load the model.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from node.adapters.whisper import Engine
from node.adapters.whisper.encoding import Encoder
from node.cli import main

_SECONDS = float(os.environ["ENGINE_SLOW_S"])
_WHILE = Path(os.environ["ENGINE_SLOW_WHILE"])
_encode = Encoder._encode
_load = Engine.load


def _slowly(self: Encoder, *arguments: Any) -> Any:
    until = time.monotonic() + _SECONDS
    while _WHILE.exists() and time.monotonic() < until:
        time.sleep(0.02)
    return _encode(self, *arguments)


def _load_and_slow_down(self: Engine) -> None:
    _load(self)
    Encoder._encode = _slowly  # type: ignore[method-assign, assignment]


if __name__ == "__main__":
    Engine.load = _load_and_slow_down  # type: ignore[method-assign]
    sys.exit(main())
