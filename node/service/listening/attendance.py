"""Reports once when a microphone of the session joins, is lost or comes back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from node.service.items import MicBack, MicJoined, MicLost

if TYPE_CHECKING:
    from collections.abc import Callable

    from node.service.items import ThreadItem
    from node.service.listening.microphone import Microphone


class Attendance:
    """Owned by the listener thread; one for each session."""

    def __init__(self, post: Callable[[ThreadItem], None]) -> None:
        self._post = post
        self._lost: set[str] = set()
        self._joining: set[str] = set()

    def expect(self, mic: str) -> None:
        """Report a mic that joins in mid-session once it delivers."""
        self._joining.add(mic)

    def look(self, microphone: Microphone) -> None:
        """Report what has changed for a mic since the last look."""
        mic, rate = microphone.mic, microphone.sample_rate or 0
        if microphone.failure and mic not in self._lost:
            self._lost.add(mic)
            self._joining.discard(mic)
            self._post(MicLost(mic, microphone.failure))
        elif microphone.delivers and mic in self._lost:
            self._lost.discard(mic)
            self._post(MicBack(mic, rate))
        elif microphone.delivers and mic in self._joining:
            self._joining.discard(mic)
            self._post(MicJoined(mic, rate))
