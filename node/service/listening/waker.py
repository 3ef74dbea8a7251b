"""Lets a thread wait for file descriptors, and other threads wake it."""

from __future__ import annotations

import logging
import os
import select
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

log = logging.getLogger(__name__)

DRAIN_BYTES = 4096


class Waker:
    """Any thread may call `wake`; one thread waits. Uses a pipe, made by `start`."""

    def __init__(self) -> None:
        self._out, self._in = -1, -1
        self._polled: set[int] = set()
        self._poll = select.poll()

    def start(self) -> None:
        self._out, self._in = os.pipe()
        os.set_blocking(self._out, False)
        os.set_blocking(self._in, False)

    def wake(self) -> None:
        """End the current wait, or the next one at once; does nothing before `start`."""
        if self._in < 0:
            return
        try:
            os.write(self._in, b"\0")
        except BlockingIOError:
            log.debug("the pipe is full: the waiting thread is about to wake up anyway")

    def wait(self, descriptors: Iterable[int], timeout_s: float) -> list[int]:
        """Wait for `wake` or a descriptor; return those that are readable or at their end."""
        wanted = {self._out, *descriptors}
        if wanted != self._polled:
            self._polled, self._poll = wanted, select.poll()
            for descriptor in wanted:
                self._poll.register(descriptor, select.POLLIN)
        ready = [descriptor for descriptor, _ in self._poll.poll(1000 * timeout_s)]
        if self._out in ready:
            os.read(self._out, DRAIN_BYTES)
            ready.remove(self._out)
        return ready
