"""Where captured sound lies on the session's timeline.

Samples are counted, never timed one by one: a block's arrival only says that its last sample is no
younger than that. So the smallest arrival delay within a window tells best where the stream stands:
scheduling makes blocks late, and nothing makes them early except the start of the stream (measured
with ALSA's `pulse` plugin: the first block comes 19 ms early). Two corrections follow from it:
silence that fills an overflow, and single samples doubled or left out, which take out the drift
between the mic's crystal and the clock (USB crystals: up to 100 ppm, 0.36 s an hour).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import accumulate

from node.core.model import SAMPLE_RATE

ANCHOR_S = 0.25
"""Sound heard before a stream is placed: its first block is often late, the best of many is not."""

GAP_WINDOW_S = 0.5
"""How long a delay must last after a reported overflow before it counts as lost sound."""

GAP_MIN_S = 0.03
"""Shortest loss filled after a reported overflow; below it, it is scheduling noise."""

SILENT_GAP_WINDOW_S = 2.0
SILENT_GAP_MIN_S = 0.15
"""The same where no overflow was reported: some drivers lose sound without reporting it."""

DRIFT_WINDOW_S = 10.0
DRIFT_DEAD_BAND_S = 0.005
"""Drift up to this is left alone: a third of a hop."""

SLIP_EVERY = SAMPLE_RATE // 100
"""At most one sample in 10 ms is doubled or left out: 0.6 %, far below what can be heard."""


@dataclass(frozen=True, slots=True)
class Placement:
    """What to do with a block before it is appended to its mic's sound, in samples.

    `silence`: zeros to insert before it. `slip`: samples to double (+) or leave out (-).
    """

    silence: int = 0
    slip: int = 0


class StreamClock:
    """Places the blocks of one capture stream, all at 16 kHz, on a timeline that began at `zero`.

    Owned by the listener thread, like the stream itself.
    """

    def __init__(self, zero: float) -> None:
        self._zero = zero
        self.position = 0
        self._reference = 0.0
        self._recent: deque[tuple[int, float]] = deque()
        self._overflowed_at: int | None = None
        self._window_min = float("inf")
        self._window_start = 0
        self._to_slip = 0

    def anchor(self, blocks: list[tuple[int, float]]) -> int:
        """Place the start of a stream by its first blocks: (samples, arrival time) each.

        Returns:
            The timeline position, in samples, of the first block's first sample; never negative.
        """
        ends = list(accumulate(count for count, _ in blocks))
        starts = [
            arrival - self._zero - end / SAMPLE_RATE
            for end, (_, arrival) in zip(ends, blocks, strict=True)
        ]
        start = min(starts[1:] or starts)  # the first block may be early or late
        self.position = max(0, round(start * SAMPLE_RATE))
        self._reference = start - self.position / SAMPLE_RATE
        self._window_start = self.position + ends[-1]
        return self.position

    def overflow(self) -> None:
        """The driver has reported lost sound before the next block."""
        self._overflowed_at = self.position
        self._recent.clear()

    def place(self, count: int, arrival: float) -> Placement:
        """Where the next block of `count` samples goes, read at `arrival`."""
        late = self._lateness(count, arrival)
        silence = self._gap(late, count)
        slip = 0 if silence else self._drift(late, count)
        self.position += silence + slip + count
        return Placement(silence, slip)

    def _lateness(self, count: int, arrival: float) -> float:
        end = (self.position + count) / SAMPLE_RATE
        return arrival - self._zero - end - self._reference

    def _gap(self, late: float, count: int) -> int:
        span = GAP_WINDOW_S if self._overflowed_at is not None else SILENT_GAP_WINDOW_S
        least = GAP_MIN_S if self._overflowed_at is not None else SILENT_GAP_MIN_S
        end = self.position + count
        self._recent.append((end, late))
        while self._recent[0][0] <= end - round(span * SAMPLE_RATE):
            self._recent.popleft()
        heard = (end - self._recent[0][0]) / SAMPLE_RATE + count / SAMPLE_RATE
        if heard < span - 0.1:
            return 0
        self._overflowed_at = None
        lost = min(delay for _, delay in self._recent)
        if lost < least:
            return 0
        self._recent.clear()
        self._to_slip = 0  # the silence makes up for the whole delay
        self._restart_drift_window()
        return round(lost * SAMPLE_RATE)

    def _drift(self, late: float, count: int) -> int:
        if self.position >= self._window_start:
            self._window_min = min(self._window_min, late)
        if self.position - self._window_start >= DRIFT_WINDOW_S * SAMPLE_RATE:
            if abs(self._window_min) > DRIFT_DEAD_BAND_S:
                self._to_slip = round(self._window_min * SAMPLE_RATE)
            self._restart_drift_window()
        budget = max(1, count // SLIP_EVERY)
        slip = max(-budget, min(budget, self._to_slip))
        if slip:  # a window begun before the correction would ask for it again
            self._restart_drift_window()
        self._to_slip -= slip
        return slip

    def _restart_drift_window(self) -> None:
        self._window_min = float("inf")
        self._window_start = self.position
