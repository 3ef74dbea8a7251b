"""One microphone's way from placed sound to utterances: frames, voice activity, endpointing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from node.core.model import SAMPLE_RATE, TICK
from node.core.segmenter import Ended, Endpointing, Event, Segmenter

if TYPE_CHECKING:
    from node.core.segmenter import Samples

LONGEST_FILL = SAMPLE_RATE
"""A gap of up to 1 s is filled with silence inside an utterance; a longer one ends it."""

SILENCE_DBFS = -100.0
"""Level of a track that has delivered nothing but zeros."""


class VoiceDetector(Protocol):
    """Speech probability of consecutive frames of one track."""

    def __call__(self, samples: Samples) -> float: ...

    def reset(self) -> None: ...


class Track:
    """Turns the sound of one mic into utterance events. Owned by the thread that feeds it."""

    def __init__(
        self, detector: VoiceDetector, endpointing: Endpointing, position: int = 0
    ) -> None:
        self._detector = detector
        self._segmenter = Segmenter(endpointing)
        self._segmenter.jump(position)
        self._rest: Samples = np.empty(0, np.int16)
        self._power = 0.0
        self._measured = 0
        self.position = position

    def feed(self, samples: Samples) -> list[Event]:
        """Append int16 samples at 16 kHz to the track."""
        self.position += len(samples)
        self._rest = np.concatenate([self._rest, samples])
        whole = len(self._rest) // TICK * TICK
        frames, self._rest = self._rest[:whole].reshape(-1, TICK), self._rest[whole:]
        events: list[Event] = []
        for frame in frames:
            events += self._segmenter.feed(frame, self._detector(frame))
            self._measure(frame)
        return events

    def skip_to(self, position: int) -> list[Event]:
        """Nothing was heard up to `position`: silence where that is short, else a new beginning."""
        missing = position - self.position
        if missing <= 0:
            return []
        if missing <= LONGEST_FILL:
            return self.feed(np.zeros(missing, np.int16))
        events = self.flush()
        self._detector.reset()
        self.position = position
        self._segmenter.jump(position)
        return events

    def flush(self) -> list[Event]:
        """End what is open, with the last samples that fill no frame."""
        events: list[Event] = []
        if len(self._rest):
            padded = np.pad(self._rest, (0, TICK - len(self._rest)))
            self._rest = self._rest[:0]
            events = self._segmenter.feed(padded, self._detector(padded))
        events += self._segmenter.flush()
        self._segmenter.jump(self.position)
        return [self._unpadded(event) for event in events]

    def _unpadded(self, event: Event) -> Event:
        return Ended(min(event.end, self.position)) if isinstance(event, Ended) else event

    def level_dbfs(self) -> float:
        """RMS level since the last call, in dB below full scale."""
        mean = self._power / self._measured if self._measured else 0.0
        self._power, self._measured = 0.0, 0
        return round(10 * float(np.log10(mean)), 1) if mean > 0 else SILENCE_DBFS

    def _measure(self, frame: Samples) -> None:
        wide = frame.astype(np.float32) / 32768
        self._power += float(np.dot(wide, wide))
        self._measured += len(frame)
