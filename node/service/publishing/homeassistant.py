"""Announces the node to Home Assistant, again when it starts, and removes what is gone."""

from __future__ import annotations

import logging
import random
import time
from typing import TYPE_CHECKING, Any

from node.errors import DamageError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from node.adapters.announced import AnnouncedTopics
    from node.adapters.broker import Message
    from node.core.deadlines import Deadlines
    from node.core.mqtt.discovery import Discovery
    from node.core.roster import Roster
    from node.service.publishing.publisher import Publisher

log = logging.getLogger(__name__)

BIRTH_DELAY_S = (1.0, 4.0)
"""Bounds of a random delay: Home Assistant is still busy, and every other device answers too."""

SHOWN = ("mic", "index", "name", "usb_id", "serial")
"""The fields of a mic that discovery shows; only a change in these makes new messages."""


class HomeAssistant:
    """Owned by the main thread. Without `discovery` it only removes what was announced before."""

    def __init__(
        self,
        *,
        deadlines: Deadlines,
        discovery: Discovery | None,
        announced: AnnouncedTopics,
        publisher: Publisher,
        roster: Roster,
    ) -> None:
        self._deadlines = deadlines
        self._discovery = discovery
        self._announced = announced
        self._publisher = publisher
        self._roster = roster
        self._shown: list[tuple[Any, ...]] | None = None
        self._wanted: list[str] = []
        self._orphans: set[str] = set()
        self._noted: set[str] = set()

    def load(self) -> None:
        """Read what was announced before, and listen for Home Assistant's birth message."""
        if self._discovery is not None:
            self._publisher.listen(self._discovery.birth)
        try:
            self._noted = self._announced.load()
        except StoreError as error:
            log.warning("%s", error)
        except DamageError as error:
            self._publisher.event("data_damaged", str(error))
        self._orphans = set(self._noted)

    @property
    def topics(self) -> dict[str, Callable[[Message], None]]:
        """Handlers of messages, by topic."""
        return {} if self._discovery is None else {self._discovery.birth: self._on_birth}

    def _on_birth(self, message: Message) -> None:
        """Home Assistant has started: send everything again, but not at once."""
        is_born = message.payload == b"online" and not message.retained
        if is_born and self._resend not in self._deadlines:
            self._deadlines.at(time.monotonic() + random.uniform(*BIRTH_DELAY_S), self._resend)

    def _resend(self, _now: float) -> None:
        self._publisher.resend(first=self._wanted)

    def settle(self) -> None:
        """Announce what has changed and remove what is gone."""
        self._announce()
        self._orphans = {topic for topic in self._orphans if self._publisher.is_clearing(topic)}
        self._note((*self._wanted, *self._orphans))

    def _announce(self) -> None:
        mics = self._roster.payloads() if self._discovery else []
        shown = [tuple(mic[field] for field in SHOWN) for mic in mics]  # type: ignore[literal-required]  # they are fields of a mic
        if shown == self._shown:
            return
        self._shown = shown
        messages = self._discovery.messages(mics) if self._discovery else {}
        self._orphans = (self._orphans | set(self._wanted)) - set(messages)
        self._wanted = list(messages)
        # Noted first: after a crash, everything announced must be on the list.
        self._note((*self._wanted, *self._orphans))
        for topic, payload in messages.items():
            self._publisher.state(topic, payload)
        for topic in self._orphans:
            self._publisher.clear(topic)

    def _note(self, topics: Iterable[str]) -> None:
        topics = set(topics)
        if topics == self._noted:
            return
        self._noted = topics
        try:
            self._announced.save(topics)
        except StoreError as error:  # saved with the next change; the main loop reports the disk
            log.warning("%s", error)
