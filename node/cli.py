"""The command line: arguments, logging, exit status. Each command is a module of its own."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path

from node import __version__
from node.errors import EXIT_CONFIG, EXIT_FAILED, ConfigError, NodeError

DEFAULT_CONFIG = Path("config/node.yaml")


def main(argv: list[str] | None = None) -> int:
    """Run one command; gives the exit status: 0 done, 1 failed, 78 the configuration is wrong."""
    arguments = _parser().parse_args(argv)
    _log_to_stderr(verbose=arguments.verbose)
    try:
        return int(arguments.run(arguments))
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_CONFIG
    except NodeError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_FAILED
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scribe-node",
        description="Several microphones in, one speaker-tagged transcript out, over MQTT.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument("-v", "--verbose", action="store_true", help="log at level DEBUG")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="serve: take commands over MQTT until stopped")
    _with_config(run).set_defaults(run=_run)
    return parser


def _with_config(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument(
        "--config", type=Path, default=DEFAULT_CONFIG, metavar="FILE", help="default: %(default)s"
    )
    return parser


def _run(arguments: argparse.Namespace) -> int:
    # Imported here, as in every command: the engine's libraries take a second to load.
    from node.app import Node  # noqa: PLC0415
    from node.config import load_config  # noqa: PLC0415

    return Node(load_config(arguments.config), arguments.config).run()


def _log_to_stderr(*, verbose: bool) -> None:
    """One line an event; without a time of day under systemd, whose journal has its own."""
    form = "%(levelname)s %(name)s: %(message)s"
    if "JOURNAL_STREAM" not in os.environ:
        form = f"%(asctime)s {form}"
    logging.basicConfig(level=logging.DEBUG if verbose else logging.INFO, format=form)
    for chatty in ("httpx", "httpcore", "huggingface_hub", "faster_whisper"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
