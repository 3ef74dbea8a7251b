"""What is given up while speech comes in faster than it can be written, and when it comes back.

A ladder: each rung also gives up what the rungs below it do, and none gives up text. A rung is
climbed at once, and left only after a calm at half its height, one rung at a time, so that a steady
load never makes it go up and down.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Literal

LoadName = Literal["normal", "no_partials", "together", "beam_1", "overloaded"]

CALM_S = 5.0
"""How long it must be calm before a rung is left: longer than most sentences."""


class Load(IntEnum):
    """The rungs."""

    NORMAL = 0
    NO_PARTIALS = 1  # no text of speech that still goes on
    TOGETHER = 2  # several short utterances go through the decoder at once
    BEAM_1 = 3  # the quickest search in place of the configured one
    OVERLOADED = 4  # nothing is left to give up: somebody must be told

    @property
    def label(self) -> LoadName:
        """Its name in `T/health`."""
        return _LABELS[self]


_LABELS: dict[Load, LoadName] = {
    Load.NORMAL: "normal",
    Load.NO_PARTIALS: "no_partials",
    Load.TOGETHER: "together",
    Load.BEAM_1: "beam_1",
    Load.OVERLOADED: "overloaded",
}

DELAY_S = {Load.NO_PARTIALS: 2.0, Load.TOGETHER: 4.0, Load.BEAM_1: 10.0, Load.OVERLOADED: 30.0}
"""Delay from the end of speech to its text at which each rung is climbed.

An idle node needs one second (pause, look-ahead, engine). Four make one long sentence of somebody
else in between; at ten, people have stopped looking at the live text; at thirty, it is no longer
live."""


class Overload:
    """A state machine; the time comes in with every look at the load."""

    def __init__(self) -> None:
        self.load = Load.NORMAL
        self._calm_since: float | None = None
        self._said = False

    def look(
        self, now: float, *, backlog_s: float, lag_s: float, rtf: float | None
    ) -> Literal["overloaded", "recovered"] | None:
        """Climb or leave rungs; returns what to announce, once at each end of an episode.

        Args:
            now: seconds on a clock that only goes forward.
            backlog_s: seconds of speech that wait.
            lag_s: seconds that the oldest speech has waited; 0 if none waits.
            rtf: seconds of work for a second of speech; None if not known yet.
        """
        delay_s = max(lag_s, backlog_s * (rtf or 0.0))
        reached = max((load for load, least in DELAY_S.items() if delay_s >= least), default=None)
        if reached is not None and reached > self.load:
            self.load, self._calm_since = reached, None
        else:
            self._descend(now, delay_s)
        return self._news()

    def _descend(self, now: float, delay_s: float) -> None:
        if self.load is Load.NORMAL or delay_s > DELAY_S[self.load] / 2:
            self._calm_since = None
        elif self._calm_since is None:
            self._calm_since = now
        elif now - self._calm_since >= CALM_S:
            self.load, self._calm_since = Load(self.load - 1), now

    def _news(self) -> Literal["overloaded", "recovered"] | None:
        if self.load is Load.OVERLOADED and not self._said:
            self._said = True
            return "overloaded"
        if self.load is Load.NORMAL and self._said:
            self._said = False
            return "recovered"
        return None
