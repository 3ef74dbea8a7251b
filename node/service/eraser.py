"""Removes every trace of a session: rows, files, sound, and what the broker keeps of it."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING

from node.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from node.adapters.store import Erasure, Store
    from node.core.deadlines import Deadlines
    from node.service.archive import Archive
    from node.service.publishing.publisher import Publisher
    from node.service.publishing.retained_states import RetainedStates

log = logging.getLogger(__name__)

TRY_EVERY_S = 5.0
"""How soon to retry what the disk refused, or to trim a database log that was being read."""


class Eraser:
    """Owned by the main thread."""

    def __init__(
        self,
        *,
        deadlines: Deadlines,
        store: Store,
        archive: Archive,
        states: RetainedStates,
        publisher: Publisher,
        forget: Callable[[str], None],
    ) -> None:
        self._deadlines = deadlines
        self._traces = store.traces
        self._audio = store.audio
        self._archive = archive
        self._states = states
        self._publisher = publisher
        self._forget = forget
        self._pending: dict[str, list[str]] = {}
        self._begun: set[str] = set()
        self._tried_at = -math.inf

    def erase(self, session_id: str) -> None:
        """Remove a session that is not being recorded; it is gone for good when this returns.

        If the broker is away, what it keeps is removed when it is back, even after a restart.

        Raises:
            StoreError: the disk refuses; if the rows are already gone, the rest is tried again.
        """
        erasure = self._traces.strike(session_id)
        self._begun.add(session_id)
        self._try_again()
        self._forget(session_id)
        topics = self._states.forget(erasure, self._archive.last())
        self._remove_files(erasure)
        self._pending[session_id] = topics  # only now: what is pending is not tried again
        self._begun.discard(session_id)
        self._trim()

    def complete(self) -> None:
        """Finish what an earlier process began; call this before anything else reads the folder."""
        self._go_on([erasure.session_id for erasure in self._traces.begun()])

    def settle(self) -> None:
        """Close the erasures that the broker has carried out too; called in every round.

        Raises:
            StoreError: the disk refuses; the next call tries again.
        """
        for session_id, topics in list(self._pending.items()):
            if not any(map(self._publisher.is_clearing, topics)):
                self._traces.finished(session_id)
                del self._pending[session_id]
                self._try_again()

    def _try_again(self) -> None:
        """Go on with the rest soon, but at least `TRY_EVERY_S` after the last try."""
        self._deadlines.at(self._tried_at + TRY_EVERY_S, self._go_on_with_all)

    def _go_on_with_all(self, now: float) -> None:
        self._tried_at = now
        self._go_on(sorted(self._begun))
        self._trim()

    def _go_on(self, session_ids: list[str]) -> None:
        for session_id in session_ids:
            try:
                self.erase(session_id)
            except StoreError as error:
                log.error("session %s is not erased yet: %s", session_id, error)  # noqa: TRY400  # no bug, the disk's fault

    def _remove_files(self, erasure: Erasure) -> None:
        self._audio.forget(erasure.session_id)
        self._archive.remove_files(erasure.files)

    def _trim(self) -> None:
        self._try_again()  # even if the disk refuses
        if self._traces.trim() and not self._begun:
            self._deadlines.cancel(self._go_on_with_all)
