"""The node without one piece of its evidence, or of what it does with that: what each one adds."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import numpy as np

from node.core.room.arrival import Arrivals
from node.core.room.ownership import BEYOND_DOUBT, Ownership
from node.core.text.context import Contexts
from node.service.transcribing import segments

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from node.core.room.hearing import Doubles, Floats


@dataclass(frozen=True, slots=True)
class Change:
    """A function of the node, by its owner and name, and what it does instead."""

    owner: Any
    name: str
    instead: Callable[..., Any]


_own = Ownership._own


def _equal_levels(room: Ownership, first: int, count: int) -> tuple[Floats, Floats]:
    """Everything is everybody's own, unless arrival says that it is not."""
    own, weight = _own(room, first, count)
    return np.full_like(own, BEYOND_DOUBT - 0.01), weight


def _never_clear(_arrivals: Arrivals, ticks: Any, gain_db: Doubles) -> Any:
    return np.zeros((len(gain_db), len(ticks)), np.int8)


PIECES = {
    "level": Change(Ownership, "_own", _equal_levels),
    "arrival": Change(Arrivals, "whose", _never_clear),
    "subtraction": Change(Ownership, "cleaned", lambda *_given: None),
    "second-hearing": Change(segments, "is_unsure", lambda _heard: False),
    "withdrawal": Change(Ownership, "knows_more", lambda _room: False),
    "context": Change(Contexts, "of", lambda *_given: ()),
}
"""Each piece, and what stands in for it where it is left out."""


@contextlib.contextmanager
def without(piece: str) -> Iterator[None]:
    """Leave one piece out."""
    change = PIECES[piece]
    with patch.object(change.owner, change.name, change.instead):
        yield
