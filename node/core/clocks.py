"""How accurate a node's wall clock is while it records, by what the kernel knows from NTP."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from node.core.mqtt.payloads import ClockPayload, ClockStatePayload

STAMP_MS = 1.0
"""The start of a session is published in whole milliseconds."""

SLEWED_MS = 1000.0
"""How much an NTP client may take away by running the clock faster or slower instead of setting it:
0.4 s with systemd-timesyncd, 1 s with chrony as distributions configure it. The clock that counts
a session's time runs faster or slower too (clock_gettime(2)), so it does not show in a shift."""


@dataclass(frozen=True, slots=True)
class ClockState:
    """A wall clock at one moment.

    `max_error_ms`: how far it may be from UTC at most (RFC 5905's maximum error). It says nothing
    unless the clock is `synchronised`.
    """

    synchronised: bool
    max_error_ms: float

    def payload(self) -> ClockStatePayload:
        return {"synchronised": self.synchronised, "max_error_ms": round(self.max_error_ms, 1)}


@dataclass(frozen=True, slots=True)
class SessionClock:
    """The clock from which a session has its start; None where it is not known.

    `shift_ms`: by how much the clock was set forward while the session's own time was counted: an
    unsynchronised clock that is right in the end was that much slow at the start.
    """

    start: ClockState | None = None
    stop: ClockState | None = None
    shift_ms: float | None = None

    def payload(self) -> ClockPayload:
        return {
            "start": self.start.payload() if self.start else None,
            "stop": self.stop.payload() if self.stop else None,
            "shift_ms": self.shift_ms,
        }

    def stopped(
        self, state: ClockState | None, started_at: datetime, now: datetime, counted_s: float | None
    ) -> SessionClock:
        """The same at the end of the session.

        Args:
            state: of the clock now.
            started_at: when the session began, by the clock.
            now: what the clock shows.
            counted_s: seconds since then on the clock that is never set; None if not counted from
                the start.
        """
        if counted_s is None:
            return replace(self, stop=state)
        passed_s = (now - started_at).total_seconds()
        return replace(self, stop=state, shift_ms=round((passed_s - counted_s) * 1000, 1))

    @property
    def late_ms(self) -> float:
        """By how much the clock was slow at the start, if it became right later; else 0."""
        became_right = self.stop is not None and self.stop.synchronised
        was_right = self.start is None or self.start.synchronised
        return 0.0 if was_right or not became_right else self.shift_ms or 0.0

    @property
    def error_ms(self) -> float | None:
        """How far the start may be from UTC, once `late_ms` is added; None if nobody knows.

        What the clock was shifted by during the session is part of it: it was not right before, or
        not after.
        """
        if self.start is not None and self.start.synchronised:
            return max(self.start.max_error_ms, abs(self.shift_ms or 0.0))
        if self.start is None or self.stop is None or self.shift_ms is None:
            return None
        return self.stop.max_error_ms + SLEWED_MS if self.stop.synchronised else None


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far the clocks of nodes agree: `within_ms`, None if unknown, and what to say of it."""

    within_ms: float | None
    remarks: tuple[str, ...]


def compare(clocks: Mapping[str, SessionClock]) -> Agreement:
    """Compare the clocks of nodes, by name. A single clock gives no remarks."""
    if len(clocks) < 2:
        return Agreement(None, ())
    remarks = [remark for name, clock in clocks.items() if (remark := _remark(name, clock))]
    errors = sorted(error for clock in clocks.values() if (error := clock.error_ms) is not None)
    if len(errors) < len(clocks):
        return Agreement(None, tuple(remarks))
    within_ms = math.ceil(errors[-1] + errors[-2] + STAMP_MS)
    said = (
        f"the clocks of {_listed(list(clocks))} agree within {_length(within_ms)}:"
        " lines closer to each other may be in the wrong order"
    )
    return Agreement(within_ms, (said, *remarks))


def _remark(name: str, clock: SessionClock) -> str | None:
    if clock.error_ms is None:
        wrong = clock.start is not None and not clock.start.synchronised
        why = "its clock was not synchronised" if wrong else "nothing is known of its clock"
        return f"{name}: {why}, so its lines may stand too early or too late"
    if clock.late_ms:
        way = "forward" if clock.late_ms > 0 else "back"
        return (
            f"{name}: its clock was not synchronised at the start and was set"
            f" {_length(abs(clock.late_ms))} {way} later; its lines stand where the right time"
            " puts them"
        )
    return None


def _listed(names: list[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _length(milliseconds: float) -> str:
    if milliseconds < 1000:
        return f"{math.ceil(milliseconds)} ms"
    return f"{milliseconds / 1000:.1f} s"
