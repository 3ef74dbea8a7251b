"""Markdown tables, and their places in a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    return "\n".join([*head, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"


def percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share < 1 else f"{100 * share:.0f} %"


def put(text: str, name: str, content: str) -> str:
    """Return `text` with `content` put between `<!-- name -->` and `<!-- end of name -->`.

    Raises:
        ValueError: it has no such lines.
    """
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->\n"
    before, opened, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not (opened and closed):
        raise ValueError(f"no place for the table: add the lines {begin.strip()}, {end}")
    return before + begin + content + end + after
