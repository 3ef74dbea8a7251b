"""systemd: the notification protocol of sd_notify(3), its credentials, its journal's levels.

Without systemd all of it does nothing. The protocol is one datagram of `KEY=value` lines to the
socket named by NOTIFY_SOCKET; no library is needed for it.
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
"""syslog(3) priority from each level of logging on."""


class Notifier:
    """Tells the service manager how this process is. Owned by the main thread.

    Args:
        address: path of the socket, or `@name` of an abstract one; None outside systemd.
        watchdog_s: seconds within which systemd wants `alive`; None where it does not watch.
    """

    def __init__(self, address: str | None = None, watchdog_s: float | None = None) -> None:
        self._address = address
        self._status = ""
        self.watchdog_s = watchdog_s if address else None

    @classmethod
    def from_environment(cls, environment: MutableMapping[str, str] = os.environ) -> Notifier:
        """Take the variables of systemd out of `environment`: they are not for child processes."""
        address = environment.pop("NOTIFY_SOCKET", None)
        period = environment.pop("WATCHDOG_USEC", "")
        watched = environment.pop("WATCHDOG_PID", str(os.getpid()))
        mine = period.isdecimal() and watched == str(os.getpid())
        return cls(address, int(period) / MICROSECONDS if mine else None)

    def ready(self) -> None:
        """The start, or a reload, is done."""
        self._send("READY=1")

    def reloading(self) -> None:
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def alive(self) -> None:
        """Ping the watchdog."""
        self._send("WATCHDOG=1")

    def extend_timeout(self, seconds: float) -> None:
        """The start or stop under way takes up to `seconds` more from now."""
        self._send(f"EXTEND_TIMEOUT_USEC={round(seconds * MICROSECONDS)}")

    def status(self, text: str) -> None:
        """Say in one line how things stand; sent where it has changed."""
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
                # A manager that is stuck must not stop this process too; it asks again anyway.
                channel.setblocking(False)
                channel.sendto(message.encode(), address)
        except OSError as error:
            log.warning("systemd does not take %s: %s", message.partition("=")[0], error)


CONTROL = {number: f"\\x{number:02x}" for number in (*range(32), *range(127, 160))}
CONTROL[ord("\n")] = " / "


class LineFormatter(logging.Formatter):
    """One line an event, whatever a client has put into it; only a traceback has more."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # logging's name
        """Format the line itself, with control characters as their codes."""
        return super().formatMessage(record).translate(CONTROL)


class JournalFormatter(LineFormatter):
    """Puts the priority of sd-daemon(3) before every line, of a traceback too."""

    def format(self, record: logging.LogRecord) -> str:
        priority = next(number for level, number in PRIORITIES if record.levelno >= level)
        lines = super().format(record).split("\n")
        return "\n".join(f"<{priority}>{line}" for line in lines)


def logs_to_journal() -> bool:
    """Whether standard error is the journal, and not a terminal or file that came after it."""
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        stream = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):  # closed, or replaced by something without a descriptor
        return False
    return (device, inode) == (str(stream.st_dev), str(stream.st_ino))
