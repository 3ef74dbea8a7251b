"""A named thread that cannot die unnoticed."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from node.service.items import ThreadDied

if TYPE_CHECKING:
    from collections.abc import Callable

    from node.service.items import ThreadItem


class ServiceThread:
    """Runs `work` in a thread; whatever it raises is posted, logged, and ends the process.

    The thread is a daemon: a native call that hangs must not keep a stopped process alive.
    """

    def __init__(
        self, name: str, work: Callable[[], None], post: Callable[[ThreadItem], None]
    ) -> None:
        self._work = work
        self._post = post
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread to end; return whether it has."""
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:  # noqa: BLE001  # reported whole, then the process ends
            self._post(ThreadDied(self._thread.name, error))
