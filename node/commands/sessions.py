"""`sessions`: what the node has recorded, newest first, read from its storage folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from node.commands.stored import stored_sessions
from node.commands.tables import new_console, new_table, print_table
from node.config import load_config
from node.core.model import parse_iso
from node.service.settings import zone

if TYPE_CHECKING:
    import argparse
    from datetime import datetime, tzinfo
    from typing import Any

ALL = -1
"""SQLite's LIMIT for all rows."""


def run(arguments: argparse.Namespace) -> int:
    """Print the table.

    Raises:
        ConfigError: the configuration is wrong.
        StoreError: there is nothing stored, or it cannot be read.
    """
    config = load_config(arguments.config)
    with stored_sessions(config) as sessions:
        listed, _ = sessions.page(ALL, 0)
    console = new_console()
    table = new_table(
        console, "session", "started", "length", "state", "segments", "speakers", "title"
    )
    for session in listed:
        table.add_row(*(Text(cell) for cell in _row(session, zone(config))))
    print_table(console, table)
    return 0


def _row(session: dict[str, Any], zone: tzinfo) -> tuple[str, ...]:
    started = parse_iso(session["started_at"])
    return (
        session["session_id"],
        f"{started.astimezone(zone):%Y-%m-%d %H:%M:%S}",
        _length(started, session["ended_at"]),
        session["state"],
        str(session["segments_total"]),
        ", ".join(dict.fromkeys(filter(None, session["speakers"].values()))) or "-",
        session["title"] or "-",
    )


def _length(started: datetime, ended_at: str | None) -> str:
    """Return hours, minutes and seconds of a session that has ended."""
    if ended_at is None:
        return "-"
    minutes, seconds = divmod(round((parse_iso(ended_at) - started).total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"
