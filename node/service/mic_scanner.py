"""Looks for microphones without blocking the main thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

from node.errors import RequestError
from node.service.items import InputsListed
from node.service.service_thread import ServiceThread

if TYPE_CHECKING:
    from collections.abc import Callable

    from node.core.roster import Roster
    from node.service.inventory import Inventory
    from node.service.items import ThreadItem

MAX_WAITING = 64
"""Requests that may wait for a scan; more are answered `busy`."""


class MicScanner:
    """Owned by the main thread. PortAudio takes seconds, so it runs in a thread of its own."""

    def __init__(
        self, inventory: Inventory, roster: Roster, post: Callable[[ThreadItem], None]
    ) -> None:
        self._inventory = inventory
        self._roster = roster
        self._post = post
        self._looking = self._again = False
        self._answering: list[Callable[[], None]] = []
        self._waiting: list[Callable[[], None]] = []

    def begin(self) -> None:
        """Look for the first time, at startup, when blocking does no harm."""
        self._inventory.learn(self._inventory.names())
        self._inventory.refresh(self._roster)

    def look(self, then: Callable[[], None] = lambda: None) -> None:
        """Look for microphones, and call `then` once the roster is up to date.

        Raises:
            RequestError: `busy`: too many requests wait for it.
        """
        self._inventory.refresh(self._roster)
        if not self._inventory.asks_portaudio:
            then()
            return
        if len(self._waiting) >= MAX_WAITING:
            raise RequestError("busy", "too many requests wait for a scan; try again")
        self._waiting.append(then)
        self._again = True
        self._go_on()

    def on_listed(self, item: InputsListed) -> None:
        """Handle PortAudio's answer."""
        self._looking = False
        self._inventory.learn(item.names)
        self._inventory.refresh(self._roster)
        answering, self._answering = self._answering, []
        for then in answering:
            then()
        self._go_on()

    def watch(self, _now: float) -> None:
        """Look again if a card was plugged in or removed."""
        if self._inventory.has_changed():
            self.renew()

    def renew(self) -> None:
        """Look again after a change of hardware or configuration."""
        self._inventory.refresh(self._roster)
        self._again |= self._inventory.asks_portaudio
        self._go_on()

    def _go_on(self) -> None:
        """Start the look that is due, unless one still runs; that one began too early to count."""
        if self._again and not self._looking:
            self._looking, self._again = True, False
            self._answering, self._waiting = self._waiting, []
            ServiceThread("mic scanner", self._list, self._post).start()

    def _list(self) -> None:
        self._post(InputsListed(self._inventory.names()))
