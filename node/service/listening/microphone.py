"""One microphone: its capture process, reopened after every failure, and the sound it delivers.

Every capture uses this state machine: sessions, `mics` and `check`. Its `SoundSink` decides what to
do with the sound; that of a session is the `Placer`.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

import numpy as np

from node.adapters import capture
from node.core.model import SAMPLE_RATE
from node.core.resampler import Resampler
from node.core.room.front_end import Fold, HighPass
from node.core.room.timeline import ANCHOR_S, StreamClock
from node.errors import MicError

if TYPE_CHECKING:
    from collections.abc import Callable

    from node.core.room.endpointing import Samples
    from node.service.listening.recorder import Recorder
    from node.service.listening.spool import SpooledUtterance

log = logging.getLogger(__name__)

STALL_S = 2.0
"""A mic whose pipe is silent this long after it delivered is frozen; its process is killed."""

OPENING_S = 4.0
"""How long the first sound may take: eight processes starting at once on a Pi are slow."""

RETRY_S = (0.2, 0.5, 1.0, 1.5)
"""Waits before a lost mic is reopened; the last repeats. A mic that is back is open within 3 s."""

OPEN_ATTEMPTS = 3
"""Failures after which a mic counts as unavailable, where somebody waits for it: two capture
processes that start at once can both fail."""


class SoundSink:
    """Where a microphone's sound goes; a subclass overrides what it needs.

    Called in the thread that owns the microphone.
    """

    def take(self, samples: Samples, end: float, channels: Samples) -> None:
        """Take a block of sound.

        Args:
            samples: one channel at 16 kHz without offset, as a session hears it.
            end: when it ended, in seconds of the monotonic clock.
            channels: the same sound as the device delivered it, of shape (samples, channels).
        """

    def overflow(self) -> None:
        """Note that samples were lost here."""

    def pour(self) -> None:
        """Handle the end of a batch: `take` has been called for every block that was read."""

    def lose(self) -> None:
        """Note that the stream has broken off; what comes next belongs to a new one."""

    def finish(self, rest: Samples) -> None:
        """Note that the stream is closed on purpose; `rest` is what the resampler still held."""

    def cancel_out(self) -> None:
        """Note that the two channels cancel each other: their difference is used from now on."""


class Microphone:
    """Owned by one thread, which calls every method.

    Args:
        mic: its id.
        source: returns how to open it now; raises MicError if it is not plugged in.
        sink: takes its sound.
    """

    def __init__(
        self, mic: str, source: Callable[[], capture.CaptureSource], sink: SoundSink
    ) -> None:
        self.mic = mic
        self._source = source
        self._sink = sink
        self._process: capture.CaptureProcess | None = None
        self._opened: capture.Opened | None = None
        self._resampler = Resampler(SAMPLE_RATE)
        self._fold = Fold()
        self._highpass = HighPass(SAMPLE_RATE)
        self._heard_at = 0.0
        self._reason: str | None = None
        self._has_cancelled = False
        self.delivers = False  # whether the open stream has delivered sound
        self.attempts = 0  # failures since the last sound
        self.retry_at: float | None = None
        self.failure: str | None = None
        self.has_stalled = False  # whether the last failure was silence on the pipe

    @property
    def sample_rate(self) -> int | None:
        """Hz, while the device is open."""
        return self._opened.rate if self._opened else None

    def open(self) -> None:
        """Start the capture process; `read` finds out whether it succeeds."""
        self.retry_at = None
        self._reason = None
        self._heard_at = time.monotonic()
        try:
            self._process = capture.CaptureProcess(self._source())
            self._process.start()
        except (MicError, OSError) as error:
            self._process = None
            self.lose(str(error))

    def fileno(self) -> int | None:
        return self._process.fileno() if self._process else None

    def read(self) -> None:
        """Handle what the capture process has sent."""
        for event in self._process.read() if self._process else []:
            match event:
                case capture.Block():
                    self._take(event)
                case capture.Opened():
                    self._opened = event
                    self._resampler = Resampler(event.rate)
                    self._fold, self._highpass = Fold(), HighPass(SAMPLE_RATE)
                case capture.Overflowed():
                    self._sink.overflow()
                case capture.Failed():
                    self._reason = event.reason
                case capture.Exited():
                    self.lose(self._reason or "the capture process ended")
        self._sink.pour()

    def supervise(self, now: float) -> None:
        """Give up a stream that delivers nothing, or no longer; reopen the mic when due."""
        patience = STALL_S if self.delivers else OPENING_S
        if now - self._heard_at > patience:
            self.read()  # sound may have arrived while the thread was held up
        if self._process is not None and now - self._heard_at > patience:
            self.lose(f"{self.mic} has delivered nothing for {patience:g} s")
            self.has_stalled = True
        if self.retry_at is not None and now >= self.retry_at:
            self.open()

    def lose(self, reason: str) -> None:
        """Close a stream that has failed, and schedule another try."""
        self._close()
        self._sink.lose()
        self.failure, self.has_stalled = reason, False
        self.retry_at = time.monotonic() + RETRY_S[min(self.attempts, len(RETRY_S) - 1)]
        self.attempts += 1

    def stop(self) -> None:
        """Take the last sound and close the stream."""
        self.read()
        self._sink.finish(self._highpass(self._resampler.rest()))
        self._close()

    def _close(self) -> None:
        if self._process is not None:
            self._process.kill()
        self._process = self._opened = None
        self._resampler = Resampler(SAMPLE_RATE)
        self.delivers = False

    def _take(self, block: capture.Block) -> None:
        assert self._opened is not None
        self._heard_at = time.monotonic()
        self.attempts = 0
        self.failure = None
        self.delivers = True
        channels = _channels(block.pcm, self._opened.channels)
        samples = self._highpass(self._resampler(self._fold(channels)))
        if self._fold.cancels and not self._has_cancelled:
            self._has_cancelled = True
            self._sink.cancel_out()
        self._sink.take(samples, block.time, channels)


class Placer(SoundSink):
    """Places a microphone's sound on the session's timeline and passes it to the recorder.

    Owned by the listener thread; one for each microphone of a session.

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
        self._slipped = 0
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
            slipped, self._slipped = self._slipped, 0
            self._recorder.hear(self._mic, self._start, np.concatenate(unheard), slipped)

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
        self._recorder.begin_stream(self._mic, start)
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
            self._slipped += placement.slip
            samples = _slipped(samples, placement.slip)
        if not self._unheard:
            self._start = position
        self._unheard.append(samples)


def _channels(pcm: bytes, channels: int) -> Samples:
    """Return interleaved 16-bit sound as an array of shape (samples, channels)."""
    samples = np.frombuffer(pcm, dtype="<i2").astype(np.int16, copy=False)
    return samples.reshape(-1, channels)


def _slipped(samples: Samples, slip: int) -> Samples:
    """Repeat (+) or drop (-) single samples, spread over the block."""
    if slip == 0:
        return samples
    places = np.linspace(0, len(samples) - 1, abs(slip) + 2).astype(int)[1:-1]
    if slip < 0:
        return np.delete(samples, places)
    return np.insert(samples, places, samples[places])
