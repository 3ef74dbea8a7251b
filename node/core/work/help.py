"""When a node with a model of its own lets workers help: `transcription.where: auto`."""

from __future__ import annotations

from node.core.overload import Load

CALM_S = 30.0
"""Help ends once the load has been normal for this long: the node then tries to keep up alone. At a
steady load above what it can do, it falls behind for two seconds in every half a minute."""

PAUSE_S = 30.0
"""How long not to ask again after nobody answered."""


class Help:
    """Whether to ask workers; time, in seconds that only go up, comes in with each call."""

    def __init__(self) -> None:
        self._wanted_until = 0.0
        self._paused_until = 0.0

    def look(self, now: float, load: Load) -> bool:
        """Return whether to ask for help now."""
        if load is not Load.NORMAL:
            self._wanted_until = now + CALM_S
        return self._paused_until <= now < self._wanted_until

    def unanswered(self, now: float) -> None:
        """Note that nobody has answered a request in time."""
        self._paused_until = now + PAUSE_S
