"""One microphone: its capture process, reopened after every failure, and the sound it delivers.

Every capture uses this state machine: sessions, `mics` and `check`. Its `SoundSink` decides what to
do with the sound.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from node.adapters import capture
from node.core.model import SAMPLE_RATE
from node.core.resampler import Resampler
from node.core.room.front_end import Fold, HighPass
from node.errors import MicError

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    Samples = npt.NDArray[np.int16]

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


def _channels(pcm: bytes, channels: int) -> Samples:
    """Return interleaved 16-bit sound as an array of shape (samples, channels)."""
    samples = np.frombuffer(pcm, dtype="<i2").astype(np.int16, copy=False)
    return samples.reshape(-1, channels)
