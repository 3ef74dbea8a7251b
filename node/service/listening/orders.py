"""What the main thread tells the listener."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from node.service.listening.recorder import Seat


@dataclass(frozen=True, slots=True)
class Begin:
    session_id: str
    zero: float
    seats: dict[str, Seat]
    patient: bool


@dataclass(frozen=True, slots=True)
class Go:
    pass


@dataclass(frozen=True, slots=True)
class Reseat:
    mic: str
    seat: Seat


@dataclass(frozen=True, slots=True)
class End:
    pass


@dataclass(frozen=True, slots=True)
class Quit:
    pass


Command = Begin | Go | Reseat | End | Quit
