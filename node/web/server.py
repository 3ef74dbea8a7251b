"""Serves the application until Ctrl-C or SIGTERM, with uvicorn."""

from __future__ import annotations

import logging
import socket
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from typing import TYPE_CHECKING

import uvicorn

from node.core.addresses import is_loopback
from node.errors import ConfigError, NodeError
from node.web import password
from node.web.app import application
from node.web.guard import Rules
from node.web.hub import Hub
from node.web.link import BrokerLink
from node.web.logins import Logins

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from node.adapters.broker import BrokerSettings, Trouble

log = logging.getLogger(__name__)

OPEN_TO_ALL = (
    "others could read everything and start recordings: first run `scribe-node web --set-password`,"
    " for the service with `--password-file /etc/scribe-node/web-password`"
)

GOODBYE_S = 2
"""Open pages never end by themselves; they connect again by themselves."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Where to listen, and for whom.

    Args:
        password_file: holds the password's hash, if there is one.
        address: an IP address or `localhost`.
        port: 0 for any free one.
        names: further host names of this server, as people write them in a browser.
        zone: of the times of day in transcripts that are merged here.
        ingress: addresses of proxies that log people in, as Home Assistant's does.
    """

    password_file: Path | None = None
    address: str = "127.0.0.1"
    port: int = 8099
    names: frozenset[str] = field(default_factory=frozenset)
    ingress: frozenset[str] = field(default_factory=frozenset)
    zone: tzinfo = UTC


def serve(
    settings: Settings,
    broker: BrokerSettings,
    base: str,
    explain: Callable[[Trouble], str],
    ready: Callable[[str], None],
) -> None:
    """Serve until told to stop.

    Args:
        settings: where to listen, and for whom.
        broker: how to connect to the nodes' broker.
        base: the nodes' base topic.
        explain: says what to do about a broker that cannot be reached.
        ready: is given the page's address once it can be opened.

    Raises:
        ConfigError: others could reach it without a password.
        NodeError: the address cannot be listened on.
    """
    file = settings.password_file
    logins = Logins(password.read(file) if file else None)
    loopback = is_loopback(settings.address)
    if not (loopback or logins.needed or settings.ingress):
        raise ConfigError([f"--listen {settings.address}: {OPEN_TO_ALL}"])
    hub = Hub(BrokerLink(broker, base, explain), base)
    app = application(
        hub, Rules(_names(settings), settings.ingress, loopback), logins, settings.zone
    )
    with _listening(settings.address, settings.port) as listener:
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,  # paths name sessions
            server_header=False,
            proxy_headers=False,  # anybody could send them
            ws="none",
            timeout_graceful_shutdown=GOODBYE_S,
        )
        port = listener.getsockname()[1]
        host = f"[{settings.address}]" if ":" in settings.address else settings.address
        ready(f"http://{host}:{port}/")
        uvicorn.Server(config).run(sockets=[listener])


def _names(settings: Settings) -> frozenset[str]:
    own = socket.gethostname().lower()
    return frozenset({"localhost", own, f"{own.partition('.')[0]}.local", *settings.names})


def _listening(address: str, port: int) -> socket.socket:
    """Return a socket that listens there."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        return socket.create_server((address, port), family=family)
    except OSError as error:
        what = f"--listen {address}:{port}: {error.strerror}"
        raise NodeError(f"{what}; is it running already? Give another address") from error
