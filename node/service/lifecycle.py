"""How the node starts up and ends; the exit status is set only here."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from node.core.session import State
from node.errors import EXIT_CONFIG, EXIT_FAILED, NodeError
from node.service.conductor import nobody

if TYPE_CHECKING:
    from collections.abc import Callable

    from node.adapters.broker import Disconnected, Message
    from node.core.deadlines import Deadlines
    from node.service.conductor import Conductor
    from node.service.items import (
        ModelReady,
        ModelUnavailable,
        StopRequested,
        ThreadDied,
        WorkersChanged,
    )
    from node.service.publishing.publisher import Publisher
    from node.service.publishing.retained_states import RetainedStates
    from node.service.supervision import Supervision
    from node.service.watchdog import Watchdog

log = logging.getLogger(__name__)

DRAIN_S = 20.0
"""How long a stopping node keeps transcribing and sending; the rest stays on the disk."""


class Lifecycle:
    """Owned by the main thread, which runs until there is an exit status."""

    def __init__(
        self,
        *,
        deadlines: Deadlines,
        conductor: Conductor,
        publisher: Publisher,
        states: RetainedStates,
        supervision: Supervision,
        watchdog: Watchdog,
        go_online: Callable[[], None],
        without_workers: str,
    ) -> None:
        """`go_online` is called once, when the model is loaded or known not to load.

        `without_workers` says what becomes of speech while there are no workers.
        """
        self._deadlines = deadlines
        self._conductor = conductor
        self._publisher = publisher
        self._states = states
        self._supervision = supervision
        self._watchdog = watchdog
        self._go_online = go_online
        self._without_workers = without_workers
        self._is_online = self._is_ending = False
        self._notice: str | None = None
        self._workers_problem: str | None = None
        self.exit_status: int | None = None

    @property
    def is_busy(self) -> bool:
        """Whether things change without an item, so that they must be checked often."""
        return self._is_ending or self._conductor.session is not None

    # Starting up.

    def on_model_ready(self, item: ModelReady) -> None:
        if item.notice:
            log.warning("%s", item.notice)
        if self._is_online:
            self._publisher.event("model_ready", "the model is loaded", good=True)
        self._conductor.on_model_ready()
        self._show_model(item.notice)

    def on_workers_changed(self, item: WorkersChanged) -> None:
        """Say whether there are workers to share work with, if the node has to."""
        if item.problem is None:
            self._publisher.event("workers_back", "workers answer again", good=True)
        else:
            self._publisher.event("workers_away", f"{item.problem}; {self._without_workers}")
        self._workers_problem = item.problem
        self._show_info()

    def on_model_unavailable(self, item: ModelUnavailable) -> None:
        if item.reason != self._conductor.model_problem:  # said once, not at every retry
            self._publisher.event("model_unavailable", item.reason)
        self._conductor.on_model_unavailable(item.reason)
        self._show_model(None)

    def _show_info(self) -> None:
        self._states.info(self._workers_problem or self._notice)

    def _show_model(self, notice: str | None) -> None:
        self._notice = notice
        self._show_info()
        if not self._is_online:
            self._is_online = True
            self._go_online()
            self._supervision.up()

    # Ending on request.

    def on_stop(self, _item: StopRequested) -> None:
        """End the session and drain within `DRAIN_S`; exit at once if asked again."""
        if self._is_ending:
            self.exit_status = 0
            return
        self._is_ending = True
        self._deadlines.at(time.monotonic() + DRAIN_S, self._stop_draining)
        self._supervision.ending()

    def _stop_draining(self, _now: float) -> None:
        self.exit_status = 0

    def settle(self) -> None:
        """Go on with ending; called in every round."""
        if not self._is_ending or self.exit_status is not None:
            return
        if self._conductor.state is State.RECORDING:
            self._conductor.stop(None, nobody)
        busy = self._conductor.state in {State.STARTING, State.STOPPING}
        unsent = self._publisher.connected and not self._publisher.drained()
        if not (busy or unsent):
            self.exit_status = 0

    # Ending because it cannot go on.

    def on_thread_died(self, item: ThreadDied) -> None:
        """End the process, which systemd restarts: it cannot go on without this thread."""
        if isinstance(item.error, NodeError):
            log.critical("the %s thread has ended: %s", item.thread, item.error)
        else:
            log.critical("the %s thread has ended: this is a bug", item.thread, exc_info=item.error)
        self.exit_status = EXIT_FAILED

    def look(self, now: float) -> None:
        """End the process if a thread has stalled; called now and then."""
        if (stalled := self._watchdog.stalled(now, online=self._is_online)) is not None:
            log.critical("%s; ending, so that systemd can restart the node", stalled)
            self._supervision.failed(stalled)
            self.exit_status = EXIT_FAILED

    def on_disconnected(self, item: Disconnected) -> None:
        self._publisher.on_disconnected(item)
        if item.taken_over:
            self._give_way()

    def on_info(self, message: Message) -> None:
        """Handle what the broker keeps on `T/info`, normally this node's own message."""
        if self._publisher.shows_younger_duplicate(message):
            self._give_way()

    def _give_way(self) -> None:
        """End, as the older of two nodes with one id: they would disconnect each other forever."""
        reason = (
            "another node has connected with this node's id; give each its own node.id."
            " This one ends; it keeps what it has recorded and transcribes it at its next start"
        )
        log.critical("%s", reason)
        self._supervision.failed(reason)
        self.exit_status = EXIT_CONFIG
