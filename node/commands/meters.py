"""Levels of several inputs at once, from real capture: what `mics` shows and `check` looks at."""

from __future__ import annotations

import math
import selectors
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from node.core.model import SAMPLE_RATE
from node.core.room.mic_path import SILENCE_DBFS
from node.service.listening.microphone import OPEN_ATTEMPTS, Microphone, SoundSink

if TYPE_CHECKING:
    from collections.abc import Iterable

    from node.core.room.endpointing import Samples
    from node.service.inventory import Inventory

POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class Level:
    """Loudness of a stretch of sound in dB below full scale: its mean and its loudest sample.

    The mean is of what a session hears: one channel, without offset. The loudest sample is of all
    channels of the device, as these are what clips.
    """

    rms_dbfs: float
    peak_dbfs: float

    @property
    def is_digital_silence(self) -> bool:
        """Whether there are only zeros; a working microphone has noise even in a quiet room."""
        return self.peak_dbfs <= SILENCE_DBFS


class Meter(SoundSink):
    """The level of one microphone."""

    def __init__(self, mic: str, inventory: Inventory, zero: float) -> None:
        self.microphone = Microphone(mic, inventory.source(mic, zero), self)
        self._power, self._count, self._peak = 0.0, 0, 0.0
        self.heard_s = 0.0

    @property
    def rate(self) -> int | None:
        """Hz, while the input is open."""
        return self.microphone.sample_rate

    @property
    def failure(self) -> str | None:
        """Why it gives no sound; None while it does, or still may (see OPEN_ATTEMPTS)."""
        if self.microphone.failure and self.microphone.has_stalled:
            return "it gives no sound: plug it in again"
        return self.microphone.failure if self.microphone.attempts >= OPEN_ATTEMPTS else None

    def take(self, samples: Samples, end: float, channels: Samples) -> None:  # noqa: ARG002 -- a level has no place in time
        sound = samples.astype(np.float32) / 32768
        self._power += float(np.dot(sound, sound))
        self._count += len(sound)
        peak = float(np.abs(channels.astype(np.float32)).max(initial=0.0)) / 32768
        self._peak = max(self._peak, peak)
        self.heard_s += len(sound) / SAMPLE_RATE

    def take_level(self) -> Level | None:
        """Return the level since the last call; None if nothing was heard."""
        if self._count == 0:
            return None
        level = Level(_dbfs(math.sqrt(self._power / self._count)), _dbfs(self._peak))
        self._power, self._count, self._peak = 0.0, 0, 0.0
        return level


class Meters:
    """The meters of all inputs. Leaving the context ends every capture process.

    Use it in a thread that lives longer: the kernel kills a capture process when the thread that
    started it ends.
    """

    def __init__(self, mics: Iterable[str], inventory: Inventory) -> None:
        zero = time.monotonic()
        self._meters = {mic: Meter(mic, inventory, zero) for mic in mics}
        self._microphones = [meter.microphone for meter in self._meters.values()]

    def __getitem__(self, mic: str) -> Meter:
        return self._meters[mic]

    def __enter__(self) -> Self:
        for microphone in self._microphones:
            microphone.open()
        return self

    def __exit__(self, *_exception: object) -> None:
        for microphone in self._microphones:
            microphone.stop()

    def listen(self, seconds: float) -> None:
        """Take what all inputs deliver in this time."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._step(left)

    def measure(self, seconds: float) -> None:
        """Listen until each input has delivered `seconds` of sound, or has failed for good."""
        while any(not m.failure and m.heard_s < seconds for m in self._meters.values()):
            self._step(POLL_S)

    def _step(self, timeout_s: float) -> None:
        for microphone in self._microphones:
            microphone.supervise(time.monotonic())
        with selectors.PollSelector() as selector:
            for microphone in self._microphones:
                if (descriptor := microphone.fileno()) is not None:
                    selector.register(descriptor, selectors.EVENT_READ, microphone)
            for key, _ in selector.select(min(timeout_s, POLL_S)):
                key.data.read()


def _dbfs(amplitude: float) -> float:
    return round(20 * math.log10(amplitude), 1) if amplitude > 0 else SILENCE_DBFS
