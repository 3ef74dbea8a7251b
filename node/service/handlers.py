"""The table of the main thread: what is done with each kind of item that comes into its inbox."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, get_args

from node.adapters.broker import BrokerItem
from node.service.items import WorkerItem

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")

KINDS: frozenset[type] = frozenset(get_args(WorkerItem | BrokerItem))
"""Everything that may come in."""


class Handlers:
    """One handler for each kind of item, known to be complete before the first item comes."""

    def __init__(self, *rows: tuple[type, Callable[[Any], None]]) -> None:
        """Take the rows of the table, each made by `on`.

        Raises:
            TypeError: a kind of item has no handler or several, or there is no such kind.
        """
        kinds = [kind for kind, _ in rows]
        wrong = {
            "no handler": KINDS.difference(kinds),
            "several handlers": {kind for kind in kinds if kinds.count(kind) > 1},
            "a handler, but never come in": set(kinds) - KINDS,
        }
        found = [
            f"{', '.join(sorted(kind.__name__ for kind in those))} have {what}"
            for what, those in wrong.items()
            if those
        ]
        if found:
            raise TypeError("; ".join(found))
        self._table: Mapping[type, Callable[[Any], None]] = dict(rows)

    def handle(self, item: WorkerItem | BrokerItem) -> None:
        """Take an item to where it belongs."""
        self._table[type(item)](item)


def on(kind: type[T], do: Callable[[T], None]) -> tuple[type, Callable[[Any], None]]:
    """A row of the table; its handler must take this kind of item, which mypy checks."""
    return kind, do
