"""How long a pass over the sound of unfinished speech will take, judging by recent passes."""

from __future__ import annotations

from collections import deque

FIXED_S = 5.0
"""Fixed cost of a pass, in seconds of speech whose words cost as much. With `base` and beam 1 a
window of 10 s is encoded in 129 ms, the time of 14 tokens, which are 3.5 s of speech (`python -m
tests.bench.backlog`); detecting the language adds to that."""

REMEMBERED_PASSES = 8
"""Passes remembered; the slowest of them counts, as a final text must not wait."""

OLD_S = 30.0
"""After this long without a pass, the next one replaces what is remembered."""


class Pace:
    """Expected duration of a pass. Time comes in as an argument."""

    def __init__(self) -> None:
        self._costs: deque[float] = deque(maxlen=REMEMBERED_PASSES)
        self._seen_at = 0.0

    def saw(self, now: float, seconds: float, took_s: float) -> None:
        """Remember that a pass over this many seconds of sound took `took_s`."""
        if self.is_old(now):
            self._costs.clear()
        self._costs.append(took_s / (FIXED_S + seconds))
        self._seen_at = now

    def is_old(self, now: float) -> bool:
        """Whether it is time to measure again."""
        return not self._costs or now - self._seen_at > OLD_S

    def expect(self, seconds: float) -> float:
        """Seconds that a pass over this much sound may take; infinite if nothing is known."""
        return max(self._costs, default=float("inf")) * (FIXED_S + seconds)
