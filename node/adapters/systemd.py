"""systemd: the notification protocol of sd_notify(3) and the priorities of its journal.

Without systemd, none of it does anything. The protocol is one datagram of `KEY=value` lines to the
socket in NOTIFY_SOCKET; it needs no library.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import MutableMapping

log = logging.getLogger(__name__)

MAX_STATUS = 500
"""Characters of a status line; `systemctl status` shows one line."""

MICROSECONDS = 1_000_000

PRIORITIES = (
    (logging.CRITICAL, 2),
    (logging.ERROR, 3),
    (logging.WARNING, 4),
    (logging.INFO, 6),
    (logging.NOTSET, 7),
)
"""syslog(3) priority from each logging level up."""


class Notifier:
    """Reports the state of this process to the service manager. Owned by the main thread.

    Args:
        address: path of the socket, or `@name` of an abstract one; None outside systemd.
        watchdog_s: seconds within which systemd expects `alive`; None without a watchdog.
    """

    def __init__(self, address: str | None = None, watchdog_s: float | None = None) -> None:
        self._address = address
        self._status = ""
        self.watchdog_s = watchdog_s if address else None

    @classmethod
    def from_environment(cls, environment: MutableMapping[str, str] = os.environ) -> Notifier:
        """Take systemd's variables out of `environment`: child processes must not have them."""
        address = environment.pop("NOTIFY_SOCKET", None)
        period = environment.pop("WATCHDOG_USEC", "")
        watched = environment.pop("WATCHDOG_PID", str(os.getpid()))
        mine = period.isdecimal() and watched == str(os.getpid())
        return cls(address, int(period) / MICROSECONDS if mine else None)

    def ready(self) -> None:
        """Report that the start or a reload is done."""
        self._send("READY=1")

    def reloading(self) -> None:
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def alive(self) -> None:
        """Ping the watchdog."""
        self._send("WATCHDOG=1")

    def extend_timeout(self, seconds: float) -> None:
        """Report that the current start or stop takes up to `seconds` more from now."""
        self._send(f"EXTEND_TIMEOUT_USEC={round(seconds * MICROSECONDS)}")

    def status(self, text: str) -> None:
        """Report the status in one line, if it has changed."""
        line = " ".join(text.split())
        line = line if len(line) <= MAX_STATUS else f"{line[: MAX_STATUS - 1]}…"
        if line != self._status:
            self._status = line
            self._send(f"STATUS={line}")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        address = self._address
        if address.startswith("@"):
            address = f"\0{address[1:]}"
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
                # A stuck manager must not block this process too; the next message tries again.
                channel.setblocking(False)
                channel.sendto(message.encode(), address)
        except OSError as error:
            log.warning("systemd does not accept %s: %s", message.partition("=")[0], error)


CONTROL = {number: f"\\x{number:02x}" for number in (*range(32), *range(127, 160))}
CONTROL[ord("\n")] = " / "


class LineFormatter(logging.Formatter):
    """Formats an event as one line, whatever a client put into it; only tracebacks have more."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # logging's name
        """Format the line itself, with control characters escaped."""
        return super().formatMessage(record).translate(CONTROL)


class JournalFormatter(LineFormatter):
    """Puts the priority of sd-daemon(3) before every line, including tracebacks."""

    def format(self, record: logging.LogRecord) -> str:
        priority = next(number for level, number in PRIORITIES if record.levelno >= level)
        lines = super().format(record).split("\n")
        return "\n".join(f"<{priority}>{line}" for line in lines)


def logs_to_journal() -> bool:
    """Return whether standard error is the journal, not redirected to a terminal or file."""
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        stream = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):  # closed, or replaced by something without a descriptor
        return False
    return (device, inode) == (str(stream.st_dev), str(stream.st_ino))
