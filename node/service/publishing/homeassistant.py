"""Announces the node to Home Assistant, again when it starts, and removes what is gone."""

from __future__ import annotations

import logging
import random
from typing import TYPE_CHECKING, Any

from node.errors import DamageError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from node.adapters.announced import AnnouncedTopics
    from node.adapters.broker import Message
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
        discovery: Discovery | None,
        announced: AnnouncedTopics,
        publisher: Publisher,
        roster: Roster,
    ) -> None:
        self._discovery = discovery
        self._announced = announced
        self._publisher = publisher
        self._roster = roster
        self._shown: list[tuple[Any, ...]] | None = None
        self._wanted: list[str] = []
        self._orphans: set[str] = set()
        self._noted: set[str] = set()
        self._due: float | None = None

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

    def takes(self, message: Message, now: float) -> bool:
        """Return whether a message is from Home Assistant; its birth schedules a full resend."""
        if self._discovery is None or message.topic != self._discovery.birth:
            return False
        if message.payload == b"online" and not message.retained and self._due is None:
            self._due = now + random.uniform(*BIRTH_DELAY_S)
        return True

    def patience_s(self, now: float, longest: float) -> float:
        """Return the seconds until something is due, at most `longest`."""
        return longest if self._due is None else min(longest, max(0.0, self._due - now))

    def tick(self, now: float) -> None:
        """Announce what has changed and remove what is gone."""
        self._announce()
        self._orphans = {topic for topic in self._orphans if self._publisher.is_clearing(topic)}
        self._note((*self._wanted, *self._orphans))
        if self._due is not None and now >= self._due:
            self._due = None
            self._publisher.resend(first=self._wanted)

    def _announce(self) -> None:
        mics = self._roster.payloads() if self._discovery else []
        shown = [tuple(mic[field] for field in SHOWN) for mic in mics]  # type: ignore[literal-required]  # SHOWN
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
        except StoreError as error:  # saved with the next change; the dispatcher reports the disk
            log.warning("%s", error)
