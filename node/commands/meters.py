"""Levels of several inputs at once, from real capture: what `mics` shows and `check` looks at."""

from __future__ import annotations

import math
import selectors
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from node.adapters import capture
from node.core.model import SAMPLE_RATE
from node.core.room.channel import SILENCE_DBFS
from node.core.room.fold import Fold
from node.core.room.highpass import HighPass
from node.errors import MicError
from node.service.listening.listener import OPEN_ATTEMPTS, OPEN_TIMEOUT_S
from node.service.listening.microphone import RETRY_S, STALL_S

if TYPE_CHECKING:
    from collections.abc import Iterable

    from node.service.inventory import Inventory

POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class Level:
    """Loudness of a stretch of sound in dB below full scale: its mean and its loudest sample.

    The mean is of what a session hears: one channel, without offset. The loudest sample is of all
    that the device gives, for that is what is cut off where it is too loud.
    """

    rms_dbfs: float
    peak_dbfs: float

    @property
    def is_digital_silence(self) -> bool:
        """Nothing but zeros, which no working microphone gives: even a quiet room is noise."""
        return self.peak_dbfs <= SILENCE_DBFS


class Meter:
    """One input in a capture process of its own, opened again after every failure."""

    def __init__(self, mic: str, inventory: Inventory, zero: float) -> None:
        self.mic = mic
        self._inventory = inventory
        self._zero = zero
        self._process: capture.CaptureProcess | None = None
        self._opened: capture.Opened | None = None
        self._fold, self._highpass = Fold(), HighPass(SAMPLE_RATE)
        self._attempts = 0
        self._retry_at = 0.0
        self._heard_at = 0.0
        self._power, self._count, self._peak = 0.0, 0, 0.0
        self._failure = ""
        self.heard_s = 0.0

    @property
    def rate(self) -> int | None:
        """Hz, while the input is open."""
        return self._opened.rate if self._opened else None

    @property
    def failure(self) -> str | None:
        """Why it gives no sound; None while it does, or may still (see OPEN_ATTEMPTS)."""
        return self._failure if self._failure and self._attempts >= OPEN_ATTEMPTS else None

    def fileno(self) -> int | None:
        return self._process.fileno() if self._process else None

    def step(self, now: float) -> None:
        """Open it where that is due; give up a stream that delivers nothing."""
        if self._process is None and now >= self._retry_at:
            self._open(now)
        elif self._process is not None and now - self._heard_at > self._patience_s():
            self._attempts = max(self._attempts, OPEN_ATTEMPTS - 1)  # no blip: do not hide it
            self._fail("it gives no sound: plug it in again")

    def read(self, now: float) -> None:
        """Take what has come from the capture process."""
        for event in self._process.read() if self._process else []:
            match event:
                case capture.Opened():
                    self._opened = event
                    self._fold, self._highpass = Fold(), HighPass(event.rate)
                    self._heard_at = now
                case capture.Block(pcm):
                    self._hear(pcm, now)
                case capture.Failed(reason):
                    self._failure = reason
                case capture.Exited(status):
                    self._fail(self._failure or f"its capture process ended ({status})")

    def take_level(self) -> Level | None:
        """The level since the last call; None where nothing was heard."""
        if self._count == 0:
            return None
        level = Level(_dbfs(math.sqrt(self._power / self._count)), _dbfs(self._peak))
        self._power, self._count, self._peak = 0.0, 0, 0.0
        return level

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
        self._process = self._opened = None

    def _patience_s(self) -> float:
        return STALL_S if self._opened else OPEN_TIMEOUT_S

    def _open(self, now: float) -> None:
        self._heard_at = now
        try:
            self._process = capture.CaptureProcess(self._inventory.source(self.mic, self._zero))
            self._process.start()
        except (MicError, OSError) as error:
            self._process = None
            self._fail(str(error))

    def _fail(self, reason: str) -> None:
        self.close()
        self._failure = reason
        self._retry_at = time.monotonic() + RETRY_S[min(self._attempts, len(RETRY_S) - 1)]
        self._attempts += 1

    def _hear(self, pcm: bytes, now: float) -> None:
        assert self._opened is not None
        channels = np.frombuffer(pcm, dtype="<i2").reshape(-1, self._opened.channels)
        samples = self._highpass(self._fold(channels)).astype(np.float32) / 32768
        peak = float(np.abs(channels.astype(np.float32)).max(initial=0.0)) / 32768
        self._failure, self._attempts, self._heard_at = "", 0, now
        self._power += float(np.dot(samples, samples))
        self._count += len(samples)
        self._peak = max(self._peak, peak)
        self.heard_s += len(samples) / self._opened.rate


class Meters:
    """The meters of all inputs. Leaving the context ends every capture process.

    Use it in the thread that lasts: the kernel ends a capture process with the thread that
    started it.
    """

    def __init__(self, mics: Iterable[str], inventory: Inventory) -> None:
        zero = time.monotonic()
        self._meters = {mic: Meter(mic, inventory, zero) for mic in mics}

    def __getitem__(self, mic: str) -> Meter:
        return self._meters[mic]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        for meter in self._meters.values():
            meter.close()

    def listen(self, seconds: float) -> None:
        """Take what all inputs deliver, for so long."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._step(left)

    def measure(self, seconds: float) -> None:
        """Listen until each input has delivered `seconds` of sound, or has failed for good."""
        while any(not m.failure and m.heard_s < seconds for m in self._meters.values()):
            self._step(POLL_S)

    def _step(self, timeout_s: float) -> None:
        for meter in self._meters.values():
            meter.step(time.monotonic())
        with selectors.PollSelector() as selector:
            for meter in self._meters.values():
                if (descriptor := meter.fileno()) is not None:
                    selector.register(descriptor, selectors.EVENT_READ, meter)
            for key, _ in selector.select(min(timeout_s, POLL_S)):
                key.data.read(time.monotonic())


def _dbfs(amplitude: float) -> float:
    return round(20 * math.log10(amplitude), 1) if amplitude > 0 else SILENCE_DBFS
