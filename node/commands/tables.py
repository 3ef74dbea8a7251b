"""How commands print a table: fitted to a terminal; elsewhere one line a row, of any length."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table

UNLIMITED_COLUMNS = 100_000


def new_table(console: Console, *columns: str) -> Table:
    """An empty table whose cells are wrapped where the terminal is narrow, never cut."""
    table = Table(
        box=box.SIMPLE_HEAD if console.is_terminal else None, padding=(0, 2, 0, 0), pad_edge=False
    )
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def new_console() -> Console:
    """Standard output. Where it is no terminal nothing is wrapped, so that grep finds it."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = UNLIMITED_COLUMNS
    return console


def print_table(console: Console, table: Table) -> None:
    """Print it; where there is no terminal, without the blanks that fill its last column."""
    if console.is_terminal:
        console.print(table)
        return
    with console.capture() as capture:
        console.print(table)
    for line in capture.get().splitlines():
        print(line.rstrip())
