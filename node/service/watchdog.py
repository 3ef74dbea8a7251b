"""Watches the threads, so that none dies or stalls unnoticed, and the room on the disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from node.adapters.broker import Broker
    from node.adapters.store.ballast import Ballast
    from node.service.health import SystemMetrics
    from node.service.items import DiskFailed
    from node.service.listening.listener import Listener
    from node.service.publishing.publisher import Publisher
    from node.service.transcribing.transcriber import Transcriber

STALL_S = 20.0
"""The listener loops at least every five seconds, even without mics."""

SEEN_STALLED = 3
"""Checks in a row that must see a stall: when a suspended process resumes, all its threads are late
for a moment."""

LOW_DISK_MB = 50.0


class Watchdog:
    """Owned by the main thread."""

    def __init__(
        self,
        *,
        listener: Listener,
        transcriber: Transcriber,
        broker: Broker,
        publisher: Publisher,
        system: SystemMetrics,
        ballast: Ballast,
    ) -> None:
        self._listener = listener
        self._transcriber = transcriber
        self._broker = broker
        self._publisher = publisher
        self._system = system
        self._ballast = ballast
        self._stalled = 0
        self._found: str | None = None
        self._disk_is_low = self._disk_refuses = False

    def stalled(self, now: float, *, online: bool) -> str | None:
        """Return which worker has stalled for good, if any; the process must then be restarted."""
        found = self._found = self._look(now, online=online)
        self._stalled = self._stalled + 1 if found else 0
        return found if self._stalled >= SEEN_STALLED else None

    @property
    def in_doubt(self) -> str | None:
        """Which worker seemed to have stalled at the last check; None if all is well."""
        return self._found

    def _look(self, now: float, *, online: bool) -> str | None:
        if now - self._listener.beat > STALL_S:
            return "the listener thread has stalled"
        if self._transcriber.overdue_s > 0:
            return "the engine hangs on an utterance"
        if online and not self._broker.alive():
            return "the MQTT network thread has ended"
        if not self._transcriber.hears_workers:
            return "the MQTT network thread for work has ended"
        return None

    def on_disk_failed(self, item: DiskFailed) -> None:
        self.disk_failed(item.reason)

    def disk_failed(self, reason: str) -> None:
        """Free the ballast and report once that the disk refuses."""
        self._ballast.drop()
        if not self._disk_refuses:
            self._disk_is_low = self._disk_refuses = True
            self._publisher.event(
                "disk_low",
                f"the disk refuses ({reason}); recording continues in memory: free some space",
            )

    def watch_disk(self, _now: float) -> None:
        """Report a disk that is nearly full, and when there is room again."""
        free_mb = self._system.disk_free_mb()
        if not self._disk_is_low and free_mb < LOW_DISK_MB:
            self._disk_is_low = True
            self._publisher.event("disk_low", f"only {free_mb:.0f} MB are free at storage.path")
        elif self._disk_is_low and free_mb >= LOW_DISK_MB and self._ballast.load():
            self._disk_is_low = self._disk_refuses = False
            message = f"{free_mb:.0f} MB are free again at storage.path"
            self._publisher.event("disk_back", message, good=True)
