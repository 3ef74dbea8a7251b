"""The raw sound of utterances that wait for the engine, in case their cleaned sound is garbled."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from node.core.model import SAMPLE_RATE

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Samples = npt.NDArray[np.int16]

MOST_SAMPLES = 120 * SAMPLE_RATE
"""Two minutes (4 MB) are kept. If more waits, there is no time to hear anything twice."""


class RawSounds:
    """In memory only: without it an utterance is transcribed all the same. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[str, Samples] = {}

    def put(self, utterance_id: str, samples: Samples) -> None:
        """Keep the sound of an utterance; the oldest goes where there is too much."""
        with self._lock:
            self._kept[utterance_id] = samples
            while sum(map(len, self._kept.values())) > MOST_SAMPLES:
                del self._kept[next(iter(self._kept))]

    def get(self, utterance_id: str) -> Samples | None:
        with self._lock:
            return self._kept.get(utterance_id)

    def forget(self, session_id: str) -> None:
        """Forget all utterances of a session."""
        with self._lock:
            for key in [key for key in self._kept if key.startswith(f"{session_id}/")]:
                del self._kept[key]

    def drop(self, utterance_id: str) -> None:
        """Forget an utterance; can be repeated."""
        with self._lock:
            self._kept.pop(utterance_id, None)
