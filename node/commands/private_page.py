"""The page of a demo: for its private broker, in a process of its own, on this machine only."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import multiprocessing
import os
import socket
from typing import TYPE_CHECKING

from node.commands import web

if TYPE_CHECKING:
    from collections.abc import Iterator

    from node.config import Config

PORT = 8099


@contextlib.contextmanager
def private_page(config: Config) -> Iterator[str | None]:
    """Serve the page for the demo's broker.

    Yields its address, which answers a second or two later; None if its extra is not installed.
    """
    if any(importlib.util.find_spec(package) is None for package in sorted(web.EXTRA)):
        yield None
        return
    port = _free_port()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(config, port))
    process.start()
    try:
        yield f"http://127.0.0.1:{port}/"
    finally:
        process.terminate()
        process.join()


def _serve(config: Config, port: int) -> None:
    os.setsid()  # Ctrl-C is for the demo, which ends the page in its own time
    logging.basicConfig(level=logging.CRITICAL)  # its terminal shows the meeting
    web.serve_nodes(config, listen=f"127.0.0.1:{port}", say=lambda _address: None)


def _free_port() -> int:
    """Return the page's usual port if nothing uses it, else any."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", PORT))
        except OSError:
            probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
