"""A private broker and node, which end with the command: what the demos run on."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from node.adapters.systemd import Notifier
from node.errors import NodeError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from node.config import Config

LOG = "demo.log"
"""The node's log, in its storage folder."""


@contextlib.contextmanager
def private_storage(name: str) -> Iterator[Path]:
    """Provide a folder where transcripts stay after a demo, so that you can look at them.

    It is locked while a demo runs: two nodes would finish each other's sessions.

    Raises:
        NodeError: another demo uses it.
        StoreError: the folder cannot be made or written.
    """
    home = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share")
    folder = home / name
    make_private(folder)
    try:
        lock = (folder / "demo.lock").open("w")
    except OSError as error:
        raise StoreError(f"{folder} cannot be written: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise NodeError(f"another demo runs in {folder}: end it with Ctrl-C first") from None
        yield folder


def make_private(folder: Path) -> None:
    """Create a folder for this user alone, if it does not exist.

    Raises:
        StoreError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise StoreError(f"{folder} cannot be made: {error.strerror}") from error


def end_with_the_terminal() -> None:
    """Clean up on SIGTERM and when the terminal closes too: nothing may keep listening."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _exit)


def _exit(number: int, _frame: object) -> NoReturn:
    sys.exit(128 + number)


@contextlib.contextmanager
def private_broker() -> Iterator[int]:
    """Run a private mosquitto on a free loopback port, and yield the port.

    Raises:
        NodeError: it is not installed, or does not start.
    """
    program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        raise NodeError("mosquitto is not installed: run `sudo apt install mosquitto`")
    with tempfile.TemporaryDirectory(prefix="scribe-demo-") as folder:
        port = _free_port()
        file = Path(folder) / "mosquitto.conf"
        file.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n")
        # In its own process group: Ctrl-C is for the demo, which ends the node before the broker.
        process = subprocess.Popen(
            [program, "-c", str(file)], stderr=subprocess.DEVNULL, process_group=0
        )
        try:
            _wait_for_port(port, process)
            yield port
        finally:
            process.terminate()
            process.wait()


@contextlib.contextmanager
def private_node(config: Config, config_file: Path) -> Iterator[Callable[[], bool]]:
    """Run the node in a process of its own, ended by SIGTERM as a service is.

    Yields a function that tells whether it runs. `config_file` is what it reads on a reload.
    """
    process = multiprocessing.get_context("spawn").Process(
        target=_serve, args=(config, config_file)
    )
    process.start()
    try:
        yield process.is_alive
    finally:
        process.terminate()
        process.join()


def _serve(config: Config, config_file: Path) -> None:
    os.setsid()  # Ctrl-C is for the demo, which ends the node in its own time
    from node.app import Node  # noqa: PLC0415  # loads the engine's libraries: not in the parent

    log = config.storage.path / LOG
    logging.basicConfig(filename=log, level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        status = Node(config, config_file, Notifier()).run()
    except NodeError as error:
        sys.exit(str(error))  # printed on the terminal; the status is 1
    sys.exit(status)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
            return
        time.sleep(0.02)
    raise NodeError("mosquitto does not start; run it by hand to see why")
