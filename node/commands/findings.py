"""What `check` found out about one thing."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Outcome(Enum):
    """Whether the node works, works but not as it should, or does not work."""

    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Finding:
    """One row of the table; `detail` says what was found and, unless it is ok, what to do."""

    what: str
    state: Outcome
    detail: str


def ok(what: str, detail: str) -> Finding:
    return Finding(what, Outcome.OK, detail)


def warning(what: str, detail: str) -> Finding:
    return Finding(what, Outcome.WARNING, detail)


def wrong(what: str, detail: str) -> Finding:
    return Finding(what, Outcome.WRONG, detail)
