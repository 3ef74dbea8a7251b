"""Tells systemd that the node is up and alive, and sums up its state in a line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from node.core.session import State

if TYPE_CHECKING:
    from node.adapters.systemd import Notifier
    from node.core.deadlines import Deadlines
    from node.core.roster import Roster
    from node.service.conductor import Conductor
    from node.service.publishing.publisher import Publisher
    from node.service.watchdog import Watchdog

LOAD_EXTENSION_S = 120.0
"""Start timeout to ask for, counted from now: the model may have to be downloaded first."""

EXTEND_EVERY_S = 10.0

DEAF_S = 20.0
"""Time without a report of levels, four of them missed, until a session counts as deaf."""


class Supervision:
    """Owned by the main thread."""

    def __init__(
        self,
        *,
        deadlines: Deadlines,
        notifier: Notifier,
        conductor: Conductor,
        roster: Roster,
        publisher: Publisher,
        watchdog: Watchdog,
    ) -> None:
        self._deadlines = deadlines
        self._notifier = notifier
        self._conductor = conductor
        self._roster = roster
        self._publisher = publisher
        self._watchdog = watchdog
        self._ending = self._failed = self._deaf = self._must_ping = False
        self._heard_at: float | None = None

    def start(self) -> None:
        """Extend the start timeout until the node is up, and ping the watchdog from now on."""
        self._deadlines.every(EXTEND_EVERY_S, self._extend)
        if self._notifier.watchdog_s is not None:
            self._deadlines.every(self._notifier.watchdog_s / 2, self._want_ping)

    def up(self) -> None:
        """Report that a start or reload is complete, with or without a model and broker."""
        self._deadlines.cancel(self._extend)
        self._notifier.ready()

    def heard(self, now: float) -> None:
        """Note that levels of the session's microphones have arrived."""
        self._heard_at = now

    def reloading(self) -> None:
        self._notifier.reloading()

    def ending(self) -> None:
        """Report that the node is stopping; a running session is finished first."""
        self._ending = True
        self._notifier.stopping()

    def failed(self, reason: str) -> None:
        """Report why the process ends; this is the last status."""
        self._notifier.status(reason)
        self._failed = True

    def _extend(self, _now: float) -> None:
        self._notifier.extend_timeout(LOAD_EXTENSION_S)

    def _want_ping(self, _now: float) -> None:
        self._must_ping = True

    def look(self, now: float) -> None:
        """Ping the watchdog if that is due and all is well; called now and then."""
        self._deaf = self._is_deaf(now)
        if self._must_ping and not (self._deaf or self._watchdog.in_doubt):
            self._must_ping = False
            self._notifier.alive()

    def settle(self) -> None:
        """Report the status; the notifier sends it only if it has changed."""
        if not self._failed:
            self._notifier.status(self._status())

    def _is_deaf(self, now: float) -> bool:
        """Return whether levels of a running session's microphones have stopped arriving."""
        if self._conductor.state is not State.RECORDING:
            self._heard_at = None
            return False
        if self._heard_at is None:
            self._heard_at = now
        return now - self._heard_at > DEAF_S

    def _status(self) -> str:
        parts = [
            "ending" if self._ending else str(self._conductor.state),
            self._microphones(),
            f"{backlog:.0f} s to transcribe" if (backlog := self._conductor.backlog_s()) else "",
            f"broker: {self._publisher.away}" if self._publisher.away else "",
            "no sound comes from the microphones" if self._deaf else "",
            self._watchdog.in_doubt or "",
            self._conductor.message or "",
        ]
        return "; ".join(part for part in parts if part)

    def _microphones(self) -> str:
        mics = [self._roster.info(mic) for mic in self._roster]
        lost = [info.mic for info in mics if not info.connected]
        there = f"{len(mics) - len(lost)} of {len(mics)} microphones"
        return f"{there}, disconnected: {', '.join(lost)}" if lost else there
