"""How commands print a table: fitted to a terminal; elsewhere one line a row, of any length."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table

UNLIMITED_COLUMNS = 100_000


def new_table(console: Console, *columns: str) -> Table:
    """An empty table whose cells are wrapped where the terminal is narrow, never cut."""
    table = Table(box=box.SIMPLE_HEAD if console.is_terminal else None, padding=(0, 1))
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def new_console() -> Console:
    """Standard output. Where it is no terminal nothing is wrapped, so that grep finds it."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = UNLIMITED_COLUMNS
    return console
