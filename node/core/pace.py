"""How long a pass over the sound of unfinished speech will take, from those made lately."""

from __future__ import annotations

from collections import deque

FIXED_S = 5.0
"""What a pass costs whatever is said, in seconds of speech whose words cost as much. With `base`
and beam 1 a window of 10 s is encoded in 129 ms, the time of 14 tokens, which are 3.5 s of speech
(`python -m tests.bench.backlog`); finding the language comes on top."""

REMEMBERED_PASSES = 8
"""Passes remembered; the slowest of them counts, for a final text must not wait."""

OLD_S = 30.0
"""After so long without a pass, what is remembered gives way to the next one."""


class Pace:
    """Time comes in as an argument."""

    def __init__(self) -> None:
        self._costs: deque[float] = deque(maxlen=REMEMBERED_PASSES)
        self._seen_at = 0.0

    def saw(self, now: float, seconds: float, took_s: float) -> None:
        """Remember that a pass over so many seconds of sound took so long."""
        if self.is_old(now):
            self._costs.clear()
        self._costs.append(took_s / (FIXED_S + seconds))
        self._seen_at = now

    def is_old(self, now: float) -> bool:
        """Whether it is time to measure anew."""
        return not self._costs or now - self._seen_at > OLD_S

    def expect(self, seconds: float) -> float:
        """Seconds that a pass over so much sound may take; infinite where nothing is known."""
        return max(self._costs, default=float("inf")) * (FIXED_S + seconds)
