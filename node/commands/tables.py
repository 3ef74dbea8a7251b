"""How commands print tables: fitted to a terminal, elsewhere with one line per row."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table

UNLIMITED_COLUMNS = 100_000


def new_table(console: Console, *columns: str) -> Table:
    """Return an empty table whose cells wrap on a narrow terminal and are never cut."""
    table = Table(
        box=box.SIMPLE_HEAD if console.is_terminal else None, padding=(0, 2, 0, 0), pad_edge=False
    )
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def new_console() -> Console:
    """Return standard output. Unless it is a terminal nothing wraps, so that grep works."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = UNLIMITED_COLUMNS
    return console


def print_table(console: Console, table: Table) -> None:
    """Print a table; without a terminal, without the blanks that pad its last column."""
    if console.is_terminal:
        console.print(table)
        return
    with console.capture() as capture:
        console.print(table)
    for line in capture.get().splitlines():
        print(line.rstrip())
