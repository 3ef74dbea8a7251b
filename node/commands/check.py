"""`check`: try everything the node needs, and say in one table what is wrong and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from node.commands.check_broker import check_broker
from node.commands.check_machine import (
    check_microphones,
    check_processor,
    check_storage,
    check_time_zone,
)
from node.commands.check_model import check_model
from node.commands.check_workers import check_workers
from node.commands.findings import Finding, Outcome, ok, wrong
from node.commands.tables import new_console, new_table, print_table
from node.config import load_config
from node.errors import EXIT_CONFIG, EXIT_FAILED, ConfigError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Sequence

    from rich.console import Console

    from node.config import Config

CHECKS: tuple[tuple[str, Callable[[Config], Iterator[Finding]]], ...] = (
    ("the time zone", check_time_zone),
    ("the storage folder", check_storage),
    ("the broker", check_broker),
    ("the microphones", check_microphones),
    ("the model", check_model),
    ("the workers", check_workers),
    ("the processor", check_processor),
)

OUTCOME_COLOURS = {Outcome.OK: "green", Outcome.WARNING: "yellow", Outcome.WRONG: "red"}


def run(arguments: argparse.Namespace) -> int:
    """Print the table; return the exit status.

    Returns:
        0 if nothing is wrong (there may be warnings), 1 if something is, 78 if the configuration
        is: then nothing else is tried.
    """
    console = new_console()
    try:
        config = load_config(arguments.config)
    except ConfigError as error:
        _print(console, [wrong("configuration", problem) for problem in error.problems])
        return EXIT_CONFIG
    findings = [ok("configuration", str(arguments.config))]
    with console.status("") as status:
        for what, check in CHECKS:
            status.update(f"Trying {what}…")
            findings += check(config)
    _print(console, findings)
    return EXIT_FAILED if any(f.state is Outcome.WRONG for f in findings) else 0


def _print(console: Console, findings: Sequence[Finding]) -> None:
    table = new_table(console, "what", "state", "detail")
    for finding in findings:
        state = Text(finding.state.value, OUTCOME_COLOURS[finding.state])
        table.add_row(Text(finding.what), state, Text(finding.detail))
    print_table(console, table)
