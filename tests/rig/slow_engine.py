"""The node on a machine too slow for it: `python -m tests.rig.slow_engine run`.

Each window takes `ENGINE_SLOW_S` seconds more to encode for as long as the file `ENGINE_SLOW_WHILE`
exists: as with a model that is too large. All else of the node is as it is.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from node.adapters.whisper.encoding import Encoder
from node.cli import main

_SECONDS = float(os.environ["ENGINE_SLOW_S"])
_WHILE = Path(os.environ["ENGINE_SLOW_WHILE"])
_encode = Encoder._encode


def _slowly(self: Encoder, *arguments: Any) -> Any:
    if _WHILE.exists():
        time.sleep(_SECONDS)
    return _encode(self, *arguments)


if __name__ == "__main__":
    Encoder._encode = _slowly  # type: ignore[method-assign, assignment]
    sys.exit(main())
