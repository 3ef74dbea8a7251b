"""The table of the main loop: one handler for each kind of item."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, get_args

from node.adapters.broker import BrokerItem
from node.service.items import ThreadItem

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Handler = Callable[[Any], None]

T = TypeVar("T")

KINDS: frozenset[type] = frozenset(get_args(ThreadItem | BrokerItem))
"""Every kind of item that the inbox takes."""


def on(kind: type[T], do: Callable[[T], None]) -> tuple[type, Handler]:
    """Return a row of the table; mypy checks that the handler takes this kind of item."""
    return kind, do


def table(*rows: tuple[type, Handler]) -> Mapping[type, Handler]:
    """Return the table, with exactly one handler for each kind of item.

    Raises:
        TypeError: a kind of item has no handler or several, or does not exist.
    """
    kinds = [kind for kind, _ in rows]
    wrong = {
        "no handler": KINDS.difference(kinds),
        "several handlers": {kind for kind in kinds if kinds.count(kind) > 1},
        "a handler, but are not items": set(kinds) - KINDS,
    }
    found = [
        f"{', '.join(sorted(kind.__name__ for kind in those))} have {what}"
        for what, those in wrong.items()
        if those
    ]
    if found:
        raise TypeError("; ".join(found))
    return dict(rows)
