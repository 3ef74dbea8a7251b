"""The orders that the main thread gives the listener."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from node.core.model import Assignment


@dataclass(frozen=True, slots=True)
class Begin:
    session_id: str
    zero: float
    assignments: dict[str, Assignment]
    patient: bool


@dataclass(frozen=True, slots=True)
class Go:
    pass


@dataclass(frozen=True, slots=True)
class Reassign:
    mic: str
    assignment: Assignment


@dataclass(frozen=True, slots=True)
class End:
    pass


@dataclass(frozen=True, slots=True)
class Quit:
    pass


Order = Begin | Go | Reassign | End | Quit
