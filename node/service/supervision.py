"""What systemd is told of this node: that it is up, that it lives, and in a line how it is."""

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
"""The model may be a download away: while it is awaited, the start may take so long from now."""

EXTEND_EVERY_S = 10.0

DEAF_S = 20.0
"""Four reports of levels that have not come: the microphones of a session are not heard."""


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
        """Have the start extended until it is done, and the watchdog pinged from now on."""
        self._deadlines.every(EXTEND_EVERY_S, self._extend)
        if self._notifier.watchdog_s is not None:
            self._deadlines.every(self._notifier.watchdog_s / 2, self._want_ping)

    def up(self) -> None:
        """The start is done, with or without model and broker; or a reload is."""
        self._deadlines.cancel(self._extend)
        self._notifier.ready()

    def heard(self, now: float) -> None:
        """The levels of the session's microphones have come."""
        self._heard_at = now

    def reloading(self) -> None:
        self._notifier.reloading()

    def ending(self) -> None:
        """Asked to stop; the session at hand is ended first."""
        self._ending = True
        self._notifier.stopping()

    def failed(self, reason: str) -> None:
        """The process ends because of this; it is the last that systemd hears."""
        self._notifier.status(reason)
        self._failed = True

    def _extend(self, _now: float) -> None:
        self._notifier.extend_timeout(LOAD_EXTENSION_S)

    def _want_ping(self, _now: float) -> None:
        self._must_ping = True

    def look(self, now: float) -> None:
        """Ping the watchdog where that is due and all is well; called now and then."""
        self._deaf = self._is_deaf(now)
        if self._must_ping and not (self._deaf or self._watchdog.in_doubt):
            self._must_ping = False
            self._notifier.alive()

    def settle(self) -> None:
        """Say how things stand, where that has changed."""
        if not self._failed:
            self._notifier.status(self._status())

    def _is_deaf(self, now: float) -> bool:
        """Whether a running session hears nothing of its microphones, not even that one is lost."""
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
        return f"{there}, missing: {', '.join(lost)}" if lost else there
