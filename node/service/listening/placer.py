"""Places a microphone's sound on the session's timeline and passes it to the recorder."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np

from node.core.model import SAMPLE_RATE
from node.core.room.timeline import ANCHOR_S, StreamClock
from node.service.listening.microphone import SoundSink

if TYPE_CHECKING:
    from node.core.room.segmenter import Samples
    from node.service.listening.recorder import Recorder
    from node.service.listening.spool import SpooledUtterance

log = logging.getLogger(__name__)


class Placer(SoundSink):
    """Owned by the listener thread; one for each microphone of a session.

    Blocks are held until the session runs and the stream has its place on the timeline. The
    recorder gets all blocks of one read together, because voice detection and the room cost mostly
    per call.

    Args:
        mic: whose sound it is.
        zero: sample 0 of the session, in seconds of the monotonic clock.
        recorder: of the session.
    """

    def __init__(self, mic: str, zero: float, recorder: Recorder[SpooledUtterance]) -> None:
        self._mic = mic
        self._zero = zero
        self._recorder = recorder
        self._clock: StreamClock | None = None
        self._held: list[tuple[Samples, float]] = []
        self._start = 0
        self._unheard: list[Samples] = []
        self._going = False
        self.lost_s = 0.0

    def go(self) -> None:
        """Start recording; what was held counts, from its first sample."""
        self._going = True

    def take(self, samples: Samples, end: float, channels: Samples) -> None:  # noqa: ARG002 -- other sinks use the raw channels
        if self._clock is not None:
            self._append(samples, end)
            return
        self._held.append((samples, end))
        if self._going and sum(len(s) for s, _ in self._held) >= ANCHOR_S * SAMPLE_RATE:
            self._place_held()

    def overflow(self) -> None:
        if self._clock is not None:
            self._clock.overflow()

    def pour(self) -> None:
        """Pass what was read to the recorder; it is contiguous."""
        if self._unheard:
            unheard, self._unheard = self._unheard, []
            self._recorder.hear(self._mic, self._start, np.concatenate(unheard))

    def lose(self) -> None:
        """Keep what was said; the next stream gets a new place."""
        self.pour()
        self._clock, self._held = None, []
        self._recorder.pause(self._mic)

    def finish(self, rest: Samples) -> None:
        """Pass on the last sound; utterances open in the recorder stay open."""
        if self._clock is None and self._held and self._going:
            self._place_held()
        if self._clock is not None:
            self._append(rest)
        self.pour()
        self._clock, self._held = None, []

    def cancel_out(self) -> None:
        log.warning(
            "%s: its two channels cancel each other, so their difference is used: one is"
            " wired the wrong way round, as with a balanced microphone on a stereo input",
            self._mic,
        )

    def _place_held(self) -> None:
        self._clock = StreamClock(self._zero)
        start = self._clock.anchor([(len(samples), at) for samples, at in self._held])
        self._recorder.hear(self._mic, start, np.empty(0, np.int16))
        held, self._held = self._held, []
        for samples, at in held:
            self._append(samples, at)

    def _append(self, samples: Samples, at: float | None = None) -> None:
        assert self._clock is not None
        if len(samples) == 0:
            return
        position = self._clock.position
        if at is not None:
            placement = self._clock.place(len(samples), at)
            if placement.silence:
                self.pour()
            position += placement.silence
            self.lost_s += placement.silence / SAMPLE_RATE
            samples = _slipped(samples, placement.slip)
        if not self._unheard:
            self._start = position
        self._unheard.append(samples)


def _slipped(samples: Samples, slip: int) -> Samples:
    """Repeat (+) or drop (-) single samples, spread over the block."""
    if slip == 0:
        return samples
    places = np.linspace(0, len(samples) - 1, abs(slip) + 2).astype(int)[1:-1]
    if slip < 0:
        return np.delete(samples, places)
    return np.insert(samples, places, samples[places])
