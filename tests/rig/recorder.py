"""Sounds for tests, and recorders that keep what capture processes deliver."""

from __future__ import annotations

import select
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from node.adapters.capture import (
    Block,
    CaptureProcess,
    Exited,
    Failed,
    Opened,
)
from tests.rig.patience import Patience

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from node.adapters.capture import CaptureEvent, CaptureSource


PATIENCE_S = 10


def noise(seconds: float, rate: int, seed: int, channels: int = 1) -> npt.NDArray[np.int16]:
    """Return white noise, shape (frames,) or (frames, channels), different for each seed."""
    frames = round(seconds * rate)
    shape = (frames,) if channels == 1 else (frames, channels)
    return np.random.default_rng(seed).integers(-12000, 12000, shape, dtype=np.int16)


def correlation(recorded: npt.NDArray[np.int16], played: npt.NDArray[np.int16]) -> float:
    """Return the normalised correlation of `played` with its best match in `recorded`."""
    if len(recorded) < len(played):
        return 0.0
    size = len(recorded) + len(played)
    spectrum = np.fft.rfft(recorded, size) * np.fft.rfft(played, size).conj()
    lag = int(np.argmax(np.fft.irfft(spectrum, size)[: len(recorded) - len(played) + 1]))
    found = recorded[lag : lag + len(played)].astype(float)
    norm = float(np.linalg.norm(found) * np.linalg.norm(played.astype(float)))
    return float(found @ played.astype(float)) / norm if norm else 0.0


class Recorder:
    """Keeps all the events of one capture process."""

    def __init__(self, source: CaptureSource) -> None:
        self.process = CaptureProcess(source)
        self.events: list[CaptureEvent] = []

    @property
    def blocks(self) -> list[Block]:
        return [event for event in self.events if isinstance(event, Block)]

    @property
    def opened(self) -> Opened:
        return next(event for event in self.events if isinstance(event, Opened))

    @property
    def reason(self) -> str:
        return next(event.reason for event in self.events if isinstance(event, Failed))

    @property
    def ended(self) -> bool:
        return any(isinstance(event, Exited) for event in self.events)

    def samples(self) -> npt.NDArray[np.int16]:
        pcm = b"".join(block.pcm for block in self.blocks)
        return np.frombuffer(pcm, "<i2").reshape(-1, self.opened.channels)


class Recorders:
    """Starts recorders and reads them all while it waits for something."""

    def __init__(self) -> None:
        self._all: list[Recorder] = []

    def start(self, source: CaptureSource) -> Recorder:
        recorder = Recorder(source)
        recorder.process.start()
        self._all.append(recorder)
        return recorder

    def read_until(
        self, condition: Callable[[], object], message: str, timeout: float = PATIENCE_S
    ) -> None:
        patience = Patience(timeout)
        while not condition():
            if patience.over():
                events = [recorder.events[-3:] for recorder in self._all]
                pytest.fail(f"not within {timeout} s: {message}; last events: {events}")
            running = [recorder for recorder in self._all if not recorder.ended]
            ready, _, _ = select.select([one.process for one in running], [], [], 0.05)
            for recorder in running:
                if recorder.process in ready:
                    recorder.events += recorder.process.read()

    def read_for(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        self.read_until(lambda: time.monotonic() > end, "time passes", seconds + 1)

    def start_delivering(self, source: CaptureSource) -> Recorder:
        recorder = self.start(source)
        self.read_until(lambda: recorder.blocks or recorder.ended, f"{source} delivers")
        assert recorder.blocks, recorder.events
        return recorder

    def start_failing(self, source: CaptureSource) -> str:
        """Return the reason why a source cannot be opened."""
        recorder = self.start(source)
        self.read_until(lambda: recorder.ended, f"{source} fails")
        assert recorder.events[1:] == [Exited(1)], recorder.events
        return recorder.reason

    def kill(self) -> None:
        for recorder in self._all:
            recorder.process.kill()
