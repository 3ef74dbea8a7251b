"""`web`: the page and HTTP API for the nodes on the broker, in a process of its own."""

from __future__ import annotations

import contextlib
import getpass
import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from node.config import load_config
from node.errors import ConfigError, NodeError
from node.service.publishing.broker_advice import connection_advice
from node.service.settings import broker_settings, zone

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Sequence

    from node.config import Config

EXTRA = {"fastapi", "starlette", "uvicorn"}
MISSING = (
    "{} is not installed for {}: the page is an extra of its own. Run"
    " `{} -m pip install 'scribe-node[web]'`"
)


def _say(address: str) -> None:
    print(f"The page is at {address}", flush=True)


def run(arguments: argparse.Namespace) -> int:
    """Serve the page until told to stop; or set its password.

    Raises:
        ConfigError: the configuration or an argument is wrong.
        NodeError: the extra is not installed, or the address is in use.
    """
    with _extra():  # before anything is asked for
        from node.web import password, server  # noqa: F401, PLC0415  # parts of the extra
    file = arguments.password_file or default_password_file()
    if arguments.set_password:
        password.write(file, _ask_password())
        print(f"The password is set ({file}). Restart the page if it is running.")
        return 0
    serve_nodes(
        load_config(arguments.config),
        listen=arguments.listen,
        password_file=file,
        names=arguments.host,
        ingress=arguments.ingress,
    )
    return 0


def serve_nodes(
    config: Config,
    *,
    listen: str,
    password_file: Path | None = None,
    names: Sequence[str] = (),
    ingress: Sequence[str] = (),
    say: Callable[[str], None] = _say,
) -> None:
    """Serve the page for the nodes on a broker until told to stop; `say` is given its address.

    Raises:
        ConfigError: an argument is wrong.
        NodeError: the extra is not installed, or the address is in use.
    """
    with _extra():
        from node.web.server import Settings, serve  # noqa: PLC0415  # part of the extra
    address, port = parse_listen(listen)
    known = frozenset(name.lower() for name in names)
    settings = Settings(password_file, address, port, known, frozenset(ingress), zone(config))
    broker = broker_settings(config)
    serve(settings, broker, config.mqtt.base_topic, partial(connection_advice, broker), say)


@contextlib.contextmanager
def _extra() -> Iterator[None]:
    """Say what to install if the extra is missing.

    Raises:
        NodeError: it is.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in EXTRA:
            raise
        raise NodeError(MISSING.format(error.name, sys.executable, sys.executable)) from error


def default_password_file() -> Path:
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return home / "scribe-node" / "web-password"


def parse_listen(text: str) -> tuple[str, int]:
    """Return address and port of `127.0.0.1:8099`, `[::1]:8099` or `localhost:8099`.

    Raises:
        ConfigError: it is none of these.
    """
    address, _, port = text.rpartition(":")
    address = address.removeprefix("[").removesuffix("]")
    if not address or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise ConfigError([f"--listen {text}: give ADDRESS:PORT, as 127.0.0.1:8099"])
    return address, int(port)


def _ask_password() -> str:
    """Return the new password: asked for twice in a terminal, else the first line of input.

    Raises:
        ConfigError: the two differ.
    """
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    first = getpass.getpass("New password for the page: ")
    if first != getpass.getpass("Again: "):
        raise ConfigError(["the two passwords differ; nothing was changed"])
    return first
