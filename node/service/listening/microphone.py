"""One microphone in a session: its capture process, its clock, its place on the timeline."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from node.adapters import capture
from node.core.model import SAMPLE_RATE
from node.core.room.fold import Fold
from node.core.room.highpass import HighPass
from node.core.room.timeline import ANCHOR_S, StreamClock
from node.errors import MicError

if TYPE_CHECKING:
    import numpy.typing as npt
    import soxr

    from node.service.inventory import Inventory
    from node.service.listening.recorder import Recorder

log = logging.getLogger(__name__)

STALL_S = 2.0
"""A mic that delivered and is silent on its pipe for so long is frozen; its process is killed."""

OPENING_S = 4.0
"""Patience until the first sound: eight processes that start at once on a Pi take their time."""

RETRY_S = (0.2, 0.5, 1.0, 1.5)
"""Waits before a lost mic is opened again; the last one repeats, so it is back within 3 s."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What all mics of one session share."""

    session_id: str
    zero: float
    inventory: Inventory
    recorder: Recorder


class Microphone:
    """Owned by the listener thread, which calls every method.

    Blocks are held until the session goes and the stream is placed on the timeline; from then
    on each becomes samples at 16 kHz. The recorder of the session take those of one reading
    together: what voice detection and the room cost is mostly a price a call.
    """

    def __init__(self, mic: str, setting: Setting) -> None:
        self.mic = mic
        self._setting = setting
        self._process: capture.CaptureProcess | None = None
        self._opened: capture.Opened | None = None
        self._resampler: soxr.ResampleStream | None = None
        self._fold = Fold()
        self._highpass = HighPass(SAMPLE_RATE)
        self._clock: StreamClock | None = None
        self._held: list[tuple[npt.NDArray[np.int16], float]] = []
        self._start = 0
        self._unheard: list[npt.NDArray[np.int16]] = []
        self._going = False
        self._heard_at = 0.0
        self._attempts = 0
        self.retry_at: float | None = None
        self.failure: str | None = None
        self.lost_s = 0.0
        self._said_that_it_cancels = False

    @property
    def delivers(self) -> bool:
        """Whether sound has come from the stream that is open."""
        return self._clock is not None or bool(self._held)

    @property
    def sample_rate(self) -> int | None:
        return self._opened.rate if self._opened else None

    @property
    def attempts(self) -> int:
        """Openings that have failed since sound last came."""
        return self._attempts

    def open(self) -> None:
        """Start the capture process; what comes of it shows in `read`."""
        self.retry_at = None
        self._heard_at = time.monotonic()
        try:
            source = self._setting.inventory.source(self.mic, self._setting.zero)
            self._process = capture.CaptureProcess(source)
            self._process.start()
        except (MicError, OSError) as error:
            self._process = None
            self.lose(str(error))

    def fileno(self) -> int | None:
        return self._process.fileno() if self._process else None

    def read(self) -> None:
        """Take what has come from the capture process."""
        reason = "the capture process ended"
        for event in self._process.read() if self._process else []:
            match event:
                case capture.Block():
                    self._take(event)
                case capture.Opened():
                    self._opened = event
                    self._resampler = _resampler(event.rate)
                    self._fold, self._highpass = Fold(), HighPass(SAMPLE_RATE)
                case capture.Overflowed():
                    if self._clock is not None:
                        self._clock.overflow()
                case capture.Failed():
                    reason = event.reason
                case capture.Exited():
                    self.lose(reason)
        self._pour()

    def check_stall(self, now: float) -> None:
        """Lose a mic that does not begin to deliver, or has stopped."""
        patience = STALL_S if self.delivers else OPENING_S
        if now - self._heard_at > patience:
            self.read()  # what has come while the thread was held up
        if self._process is not None and now - self._heard_at > patience:
            self.lose(f"{self.mic} has delivered nothing for {patience:g} s")

    def lose(self, reason: str) -> None:
        """The stream is over: keep what was said, and try again later."""
        self._pour()
        self._close()
        self._setting.recorder.pause(self.mic)
        self.failure = reason
        self.retry_at = time.monotonic() + RETRY_S[min(self._attempts, len(RETRY_S) - 1)]
        self._attempts += 1

    def go(self) -> None:
        """The session has begun: what was held counts, from its first sample on."""
        self._going = True

    def stop(self) -> None:
        """Take the last sound and close the stream; what is open in the recorder stays so."""
        self.read()
        if self._clock is None and self._held and self._going:
            self._place_held()
        if self._resampler is not None and self._clock is not None:
            rest = self._resampler.resample_chunk(np.empty(0, np.int16), last=True)
            self._append(self._highpass(rest))
        self._pour()
        self._close()

    def _close(self) -> None:
        if self._process is not None:
            self._process.kill()
        self._process = self._opened = self._resampler = self._clock = None
        self._held = []

    def _take(self, block: capture.Block) -> None:
        assert self._opened is not None
        self._heard_at = time.monotonic()
        self._attempts = 0
        self.failure = None
        samples = self._fold(_channels(block.pcm, self._opened.channels))
        if self._resampler is not None:
            samples = self._resampler.resample_chunk(samples)
        samples = self._highpass(samples)
        self._say_if_it_cancels()
        if self._clock is not None:
            self._append(samples, block.time)
            return
        self._held.append((samples, block.time))
        if self._going and sum(len(s) for s, _ in self._held) >= ANCHOR_S * SAMPLE_RATE:
            self._place_held()

    def _say_if_it_cancels(self) -> None:
        if self._fold.cancels and not self._said_that_it_cancels:
            self._said_that_it_cancels = True
            log.warning(
                "%s: its two channels cancel each other, so their difference is heard: one is"
                " wired the wrong way round, as with a balanced microphone on a stereo input",
                self.mic,
            )

    def _place_held(self) -> None:
        self._clock = StreamClock(self._setting.zero)
        start = self._clock.anchor([(len(samples), at) for samples, at in self._held])
        self._setting.recorder.hear(self.mic, start, np.empty(0, np.int16))
        held, self._held = self._held, []
        for samples, at in held:
            self._append(samples, at)

    def _append(self, samples: npt.NDArray[np.int16], at: float | None = None) -> None:
        assert self._clock is not None
        if len(samples) == 0:
            return
        position = self._clock.position
        if at is not None:
            placement = self._clock.place(len(samples), at)
            if placement.silence:
                self._pour()
            position += placement.silence
            self.lost_s += placement.silence / SAMPLE_RATE
            samples = _slipped(samples, placement.slip)
        if not self._unheard:
            self._start = position
        self._unheard.append(samples)

    def _pour(self) -> None:
        """Give the recorder what was read; it is contiguous."""
        if self._unheard:
            unheard, self._unheard = self._unheard, []
            self._setting.recorder.hear(self.mic, self._start, np.concatenate(unheard))


def _resampler(rate: int) -> soxr.ResampleStream | None:
    """What brings a stream to 16 kHz; None where it is so already."""
    if rate == SAMPLE_RATE:
        return None
    import soxr  # noqa: PLC0415 -- loaded where it is needed

    return soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="int16", quality="HQ")


def _channels(pcm: bytes, channels: int) -> npt.NDArray[np.int16]:
    """Interleaved 16-bit sound as an array of shape (samples, channels)."""
    samples = np.frombuffer(pcm, dtype="<i2").astype(np.int16, copy=False)
    return samples.reshape(-1, channels)


def _slipped(samples: npt.NDArray[np.int16], slip: int) -> npt.NDArray[np.int16]:
    """Double (+) or leave out (-) single samples, spread over the block."""
    if slip == 0:
        return samples
    places = np.linspace(0, len(samples) - 1, abs(slip) + 2).astype(int)[1:-1]
    if slip < 0:
        return np.delete(samples, places)
    return np.insert(samples, places, samples[places])
