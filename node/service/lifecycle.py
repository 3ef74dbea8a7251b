"""How the node comes up and how it ends: the exit status is set here and nowhere else."""

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
    from node.service.items import ModelReady, ModelUnavailable, StopRequested, WorkerDied
    from node.service.publishing.publisher import Publisher
    from node.service.publishing.retained_states import RetainedStates
    from node.service.supervision import Supervision
    from node.service.watchdog import Watchdog

log = logging.getLogger(__name__)

DRAIN_S = 20.0
"""How long a stopped node goes on to transcribe and to send; what is left is on the disk."""


class Lifecycle:
    """Owned by the main thread, which serves until there is an exit status."""

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
    ) -> None:
        """`go_online` is called once, when it is known whether there is a model."""
        self._deadlines = deadlines
        self._conductor = conductor
        self._publisher = publisher
        self._states = states
        self._supervision = supervision
        self._watchdog = watchdog
        self._go_online = go_online
        self._is_online = self._is_ending = False
        self.exit_status: int | None = None

    @property
    def is_busy(self) -> bool:
        """Whether something changes by itself, so that it must be looked at often."""
        return self._is_ending or self._conductor.session is not None

    # It comes up.

    def on_model_ready(self, item: ModelReady) -> None:
        if item.notice:
            log.warning("%s", item.notice)
        if self._is_online:
            self._publisher.event("model_ready", "the model is loaded", good=True)
        self._conductor.on_model_ready()
        self._show_model(item.notice)

    def on_model_unavailable(self, item: ModelUnavailable) -> None:
        if item.reason != self._conductor.model_problem:  # it tries again and again
            self._publisher.event("model_unavailable", item.reason)
        self._conductor.on_model_unavailable(item.reason)
        self._show_model(None)

    def _show_model(self, notice: str | None) -> None:
        self._states.info(notice)
        if not self._is_online:
            self._is_online = True
            self._go_online()
            self._supervision.up()

    # It ends because it is asked to.

    def on_stop(self, _item: StopRequested) -> None:
        """End a running session, let it drain within its bound. Asked twice: at once."""
        if self._is_ending:
            self.exit_status = 0
            return
        self._is_ending = True
        self._deadlines.at(time.monotonic() + DRAIN_S, self._stop_draining)
        self._supervision.ending()

    def _stop_draining(self, _now: float) -> None:
        self.exit_status = 0

    def settle(self) -> None:
        """Go on with the end; called after everything that happens."""
        if not self._is_ending or self.exit_status is not None:
            return
        if self._conductor.state is State.RECORDING:
            self._conductor.stop(None, nobody)
        busy = self._conductor.state in {State.STARTING, State.STOPPING}
        unsent = self._publisher.connected and not self._publisher.drained()
        if not (busy or unsent):
            self.exit_status = 0

    # It ends because it cannot go on.

    def on_worker_died(self, item: WorkerDied) -> None:
        """A thread has ended: so does the process, to be restarted and to go on."""
        if isinstance(item.error, NodeError):
            log.critical("the %s thread has ended: %s", item.worker, item.error)
        else:
            log.critical("the %s thread has ended: this is a bug", item.worker, exc_info=item.error)
        self.exit_status = EXIT_FAILED

    def look(self, now: float) -> None:
        """See whether a worker has stalled for good; called now and then."""
        if (stalled := self._watchdog.stalled(now, online=self._is_online)) is not None:
            log.critical("%s; ending, to be restarted and resumed", stalled)
            self._supervision.failed(stalled)
            self.exit_status = EXIT_FAILED

    def on_disconnected(self, item: Disconnected) -> None:
        self._publisher.on_disconnected(item)
        if item.taken_over:
            self._give_way()

    def on_info(self, message: Message) -> None:
        """What the broker keeps on `T/info` has come: this node's own, as a rule."""
        if self._publisher.shows_younger_duplicate(message):
            self._give_way()

    def _give_way(self) -> None:
        """Two nodes under one id would throw each other out for ever: the older one ends."""
        reason = (
            "another node has connected under this node's id; give each its own node.id."
            " This one ends: what it has heard is kept, and is transcribed at its next start"
        )
        log.critical("%s", reason)
        self._supervision.failed(reason)
        self.exit_status = EXIT_CONFIG
