"""Whether a session may start, and with whom: all of it is checked before anything begins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from node.errors import RequestError

if TYPE_CHECKING:
    from node.core.model import Assignment
    from node.core.mqtt.messages import StartSession
    from node.core.roster import Roster
    from node.service.health import SystemMetrics
    from node.service.inventory import Inventory

MIN_FREE_MB = 100
"""Free disk below which no session starts: an hour of four mics that all wait takes 460 MB."""


class Admission:
    """Owned by the main thread; changes nothing but what the roster knows to be plugged in."""

    def __init__(self, roster: Roster, inventory: Inventory, machine: SystemMetrics) -> None:
        self._roster = roster
        self._inventory = inventory
        self._machine = machine

    def check(self, request: StartSession) -> tuple[dict[str, Assignment], dict[str, Assignment]]:
        """What the request would assign, and who takes part in the session.

        Raises:
            RequestError: `unknown_mic`, `duplicate_mic`, `no_assignments`, `mic_unavailable` or
                `disk_full`.
        """
        wanted = self._roster.check(request.assignments or ())
        chosen = {mic: a for mic, a in wanted.items() if a.speaker} or self._kept(request)
        self._check_mics(chosen)
        free = self._machine.disk_free_mb()
        if free < MIN_FREE_MB:
            raise RequestError(
                "disk_full", f"{free:.0f} MB are free at storage.path; {MIN_FREE_MB} are needed"
            )
        return wanted, chosen

    def _kept(self, request: StartSession) -> dict[str, Assignment]:
        """The kept assignments serve where the request brings none."""
        if request.assignments is None:
            kept = {mic: self._roster.assignment(mic) for mic in self._roster.speakers()}
            if kept:
                return kept
        raise RequestError(
            "no_assignments",
            "no mic has a speaker; give one a name first, by mics/assign or in `assignments`",
        )

    def _check_mics(self, chosen: dict[str, Assignment]) -> None:
        away = self._away(chosen)
        if away:
            # One that has come since the last look is no reason to refuse.
            self._inventory.refresh(self._roster)
            away = self._away(chosen)
        if away:
            raise RequestError("mic_unavailable", f"mic: {', '.join(away)}: not connected")

    def _away(self, chosen: dict[str, Assignment]) -> list[str]:
        """Those that cannot be there; the others are found out by opening them."""
        return [
            mic
            for mic in chosen
            if not (self._roster.info(mic).connected or self._inventory.opens_by_name(mic))
        ]
