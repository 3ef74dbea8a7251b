"""Where the sound of a file lies: time stamps of its container against counted samples.

Samples are exact and stamps are not: recorders stamp packets as they come. So sound is counted, and
stamps only show what is missing.
"""

from __future__ import annotations

GAP_S = 0.1
"""Seconds that a stamp must be late to be a gap: packets come up to some 0.05 s early or late."""

BACK_S = 1.0
"""Seconds a stamp must go back to start a new count, as where files were joined."""

LONGEST_PAUSE_S = 24 * 3600.0
"""No recording pauses for longer: a stamp further ahead comes from another clock."""


class Stamps:
    """Places the frames of one recording, in seconds from its beginning."""

    def __init__(self, origin_s: float | None) -> None:
        """`origin_s` is the stamp of the recording's beginning; None if that is the first stamp."""
        self._origin_s = origin_s
        self.reached_s = 0.0
        self.jumped_at: list[float] = []

    def place(self, stamp_s: float | None, length_s: float, lost_s: float = 0.0) -> float:
        """Place the next frame; returns the seconds of silence before it.

        Args:
            stamp_s: the frame's time stamp, if it has one.
            length_s: how long it is.
            lost_s: what was there before it and could not be read.
        """
        gap_s = lost_s if stamp_s is None else self._gap_s(stamp_s, lost_s)
        self.reached_s += gap_s + length_s
        return gap_s

    def _gap_s(self, stamp_s: float, lost_s: float) -> float:
        if self._origin_s is None:
            self._origin_s = stamp_s
        late_s = stamp_s - self._origin_s - self.reached_s
        if not -BACK_S <= late_s <= LONGEST_PAUSE_S:
            self._origin_s += late_s - lost_s
            self.jumped_at.append(self.reached_s)
            return lost_s
        return late_s if late_s > (0 if lost_s else GAP_S) else 0.0
