"""The node with an engine that fails on long utterances: `python -m tests.rig.failing_engine run`.

`ENGINE_FAULT` says how: `raise`, `raise_once`, `hang` or `abort`; `draft` raises on partial texts.
`ENGINE_LONG_S` says from which length.
An engine cannot be made to fail at will from outside; everything else in the node is unchanged,
except that it notices a hang after seconds.
"""

from __future__ import annotations

import itertools
import os
import sys
import time
from typing import TYPE_CHECKING, Any

from node.adapters.whisper import Engine
from node.cli import main
from node.core.model import SAMPLE_RATE
from node.service.transcribing import transcriber

if TYPE_CHECKING:
    from node.adapters.whisper import Clip
    from node.core.model import Transcription

LONG_S = float(os.environ.get("ENGINE_LONG_S", "2.1"))
"""By default half a second from the short utterances of virtual microphones, and from the long."""

DEADLINE_S = 2.0

_FAULT = os.environ["ENGINE_FAULT"]
_times = itertools.count()
_transcribe = Engine.transcribe
_draft = Engine.draft


def _failing(self: Engine, clip: Clip, **options: Any) -> Transcription:
    if len(clip.samples) > LONG_S * SAMPLE_RATE:
        _fail()
    return _transcribe(self, clip, **options)


def _failing_draft(self: Engine, clip: Clip) -> str:
    if len(clip.samples) > LONG_S * SAMPLE_RATE:
        raise RuntimeError("the engine is out of order")
    return _draft(self, clip)


def _fail() -> None:
    if _FAULT == "hang":
        time.sleep(3600)
    elif _FAULT == "abort":
        os.abort()
    elif _FAULT == "raise" or next(_times) == 0:
        raise RuntimeError("the engine is out of order")


if __name__ == "__main__":
    if _FAULT == "draft":
        Engine.draft = _failing_draft  # type: ignore[method-assign]
    else:
        Engine.transcribe = _failing  # type: ignore[method-assign]
    transcriber.DEADLINE_S, transcriber.DEADLINE_RTF = DEADLINE_S, 0.0
    sys.exit(main())
