"""Who is logged in: a random token for each browser, of which only the digest is kept."""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from typing import TYPE_CHECKING

from node.web.password import matches

if TYPE_CHECKING:
    from collections.abc import Callable

LASTS_S = 30 * 24 * 3600
MAX_LOGINS = 100
"""Beyond, the oldest has to log in again."""

FREE_TRIES, PAUSE_S = 5, 30.0
"""After so many wrong passwords in a row, from any client, every login is refused for this long."""


class Logins:
    """Checks passwords, one at a time: each try costs 32 MiB and a tenth of a second.

    Args:
        line: the password's hash; None: there is no password.
        clock: monotonic seconds.
    """

    def __init__(self, line: str | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._line = line
        self._clock = clock
        self._one_at_a_time = threading.Lock()
        self._wrong = 0
        self._closed_until = 0.0
        self._until: dict[bytes, float] = {}
        self._good: set[bytes] = set()
        self._key = secrets.token_bytes(32)

    @property
    def needed(self) -> bool:
        return self._line is not None

    def pause_s(self) -> float:
        """Return for how long no password is taken; 0 if one is."""
        return max(0.0, self._closed_until - self._clock())

    def check(self, password: str) -> bool:
        """Return whether this is the password; a good one is recognised at once the next time.

        Blocks: call it in a thread.
        """
        if self._line is None:
            return False
        digest = hashlib.blake2b(password.encode(), key=self._key).digest()
        with self._one_at_a_time:
            if digest in self._good:
                return True
            if self.pause_s() > 0:
                return False
            if matches(password, self._line):
                self._good.add(digest)
                self._wrong = 0
                return True
            self._wrong += 1
            if self._wrong >= FREE_TRIES:
                self._closed_until = self._clock() + PAUSE_S
            return False

    def open(self) -> str:
        """Return the token of a new login."""
        token = secrets.token_urlsafe(32)
        while len(self._until) >= MAX_LOGINS:
            del self._until[min(self._until, key=self._until.__getitem__)]
        self._until[_digest(token)] = self._clock() + LASTS_S
        return token

    def close(self, token: str) -> None:
        self._until.pop(_digest(token), None)

    def knows(self, token: str) -> bool:
        return self._until.get(_digest(token), 0.0) > self._clock()


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
