"""The tracks of a meeting as the service hears them: with the drift of each clock taken out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from node.core.model import SAMPLE_RATE
from node.service.listening.microphone import Placer

if TYPE_CHECKING:
    import numpy.typing as npt

    from node.core.room.endpointing import Samples
    from node.service.listening.recorder import Recorder

BLOCK = 320
"""Samples (20 ms) that a microphone delivers at once."""

Corrections = list[tuple[int, int]]
"""Of one track: before which sample how many were doubled (+) or left out (-)."""


@dataclass(slots=True)
class _Listening:
    """Keeps what a `Placer` passes to its recorder."""

    sound: list[Samples] = field(default_factory=list)
    corrections: Corrections = field(default_factory=list)
    end: int = 0

    def begin_stream(self, _mic: str, position: int) -> None:
        self.hear(_mic, position, np.empty(0, np.int16))

    def hear(self, _mic: str, position: int, samples: Samples, slipped: int = 0) -> None:
        self.sound += [np.zeros(position - self.end, np.int16), samples]
        self.end = position + len(samples)
        if slipped:
            self.corrections.append((self.end, slipped))


def corrected(
    tracks: npt.NDArray[np.int16], drifts_ppm: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.int16], list[Corrections]]:
    """Return tracks of shape (microphones, samples), and the corrections made in each.

    Blocks come without delay, each at the time its microphone's own clock says.
    """
    heard = [_placed(track, drift) for track, drift in zip(tracks, drifts_ppm, strict=True)]
    length = min(one.end for one in heard)
    whole = np.stack([np.concatenate(one.sound)[:length] for one in heard])
    return whole, [one.corrections for one in heard]


def _placed(track: npt.NDArray[np.int16], drift_ppm: float) -> _Listening:
    heard, rate = _Listening(), SAMPLE_RATE * (1 + drift_ppm * 1e-6)
    placer = Placer("", 0.0, cast("Recorder[Any]", heard))
    placer.go()
    for begin in range(0, len(track), BLOCK):
        block = track[begin : begin + BLOCK]
        placer.take(block, (begin + len(block)) / rate, block)
        placer.pour()
    placer.finish(np.empty(0, np.int16))
    return heard
