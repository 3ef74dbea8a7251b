"""How long to wait for a worker's answer before the request is sent again.

A deadline has two parts: what the engine needs, from the workers' real-time factor, and what waits
before it, from how long answers have taken (as TCP's retransmission timer, RFC 6298). It doubles
with each request that is not answered in time, until one is answered that was sent only once: a
fleet which cannot keep up is not given the same work again and again. Requests in flight together
count once: one frozen worker may hold the requests of three speakers.
"""

from __future__ import annotations

import math

from node.core.pace import FIXED_S

LEAST_S, LONGEST_S = 3.0, 300.0
"""Shortest and longest deadline."""

UNKNOWN_RTF = 1.0
"""Assumed of workers that have said nothing: slower ones cannot follow one person."""

SLOWER = 4.0
"""How much longer than usual an engine may take: a second and third look at a doubtful text."""

MEMORY, MEMORY_OF_SPREAD = 7 / 8, 3 / 4
"""Weight of the past in the mean wait and in its spread (RFC 6298, 2.3)."""

MAX_DOUBLINGS = 6


class Patience:
    """What was learned from answers so far."""

    def __init__(self) -> None:
        self._wait_s: float | None = None
        self._spread_s = 0.0
        self._doublings = 0
        self._doubled_at = -math.inf
        self.rtf: float | None = None
        """Real-time factor of the engines that answered, slow ones counting more."""

    def answered(self, seconds: float, took_s: float | None, engine_s: float) -> None:
        """Take in an answer to this much sound: `took_s` in all, `engine_s` of it in the engine.

        `took_s` is None for a request that was sent again: nobody knows which one was answered.
        """
        rtf = engine_s / (FIXED_S + seconds)
        self.rtf = rtf if self.rtf is None else max(rtf, MEMORY * self.rtf + (1 - MEMORY) * rtf)
        if took_s is None:
            return
        wait_s = max(0.0, took_s - engine_s)
        if self._wait_s is None:
            self._wait_s, self._spread_s = wait_s, wait_s / 2
        else:
            off_s = abs(wait_s - self._wait_s)
            self._spread_s = MEMORY_OF_SPREAD * self._spread_s + (1 - MEMORY_OF_SPREAD) * off_s
            self._wait_s = MEMORY * self._wait_s + (1 - MEMORY) * wait_s
        self._doublings = 0

    def expired(self, sent_at: float, now: float) -> None:
        """Note that a request was not answered in time; times only go forward."""
        if sent_at >= self._doubled_at:
            self._doublings = min(MAX_DOUBLINGS, self._doublings + 1)
            self._doubled_at = now

    def deadline_s(self, seconds: float, said_rtf: float | None) -> float:
        """Return how many seconds to wait for the text of this much sound.

        Args:
            seconds: length of the sound.
            said_rtf: real-time factor that the slowest worker states, if any does.
        """
        known = [rtf for rtf in (self.rtf, said_rtf) if rtf is not None]
        engine_s = SLOWER * max(known, default=UNKNOWN_RTF) * (FIXED_S + seconds)
        wait_s = (self._wait_s or 0.0) + 4 * self._spread_s
        return min(LONGEST_S, (LEAST_S + engine_s + wait_s) * 2.0**self._doublings)
