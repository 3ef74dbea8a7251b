"""Gives Prometheus the state of the node, if the configuration asks for it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from node import __version__
from node.core.metrics import metrics

if TYPE_CHECKING:
    from node.adapters.metrics import MetricsPage
    from node.core.deadlines import Deadlines
    from node.core.roster import Roster
    from node.service.health import Health
    from node.service.publishing.publisher import Publisher
    from node.service.publishing.retained_states import RetainedStates

log = logging.getLogger(__name__)

EVERY_S = 5.0
"""How old a figure may be: Prometheus asks every 15 s or more rarely."""


class Metrics:
    """Owned by the main thread."""

    def __init__(
        self,
        *,
        page: MetricsPage,
        deadlines: Deadlines,
        health: Health,
        states: RetainedStates,
        roster: Roster,
        publisher: Publisher,
    ) -> None:
        self._page = page
        self._deadlines = deadlines
        self._health = health
        self._states = states
        self._roster = roster
        self._publisher = publisher
        self._problem: str | None = None

    def start(self) -> None:
        """Show the metrics now, and keep them fresh.

        Raises:
            ConfigError: the package for it is not installed.
        """
        self._page.load()
        self._deadlines.every(EVERY_S, self._renew)

    def stop(self) -> None:
        self._page.close()

    def _renew(self, _now: float) -> None:
        self._page.show(
            metrics(
                self._health.record(),
                self._states.session(),
                self._roster.payloads(),
                connected=self._publisher.connected,
                version=__version__,
            )
        )
        if not self._page.is_open:
            self._open()

    def _open(self) -> None:
        """Open the page, or say once why not: recording must not wait for it."""
        try:
            self._page.open()
        except OSError as error:
            problem = f"metrics.host, metrics.port: {error.strerror or error}"
            if problem != self._problem:
                log.warning("%s; no metrics until it is available", problem)
            self._problem = problem
