"""What the systems made of a meeting, in numbers that can be added up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.bench.accuracy.rows import Recipe


@dataclass(frozen=True, slots=True)
class Score:
    """Errors and the totals they are counted against; times in seconds.

    `cp`, `tcp5`, `tcp1` and `orc` are word errors: with speakers, with speakers and times (collars
    of 5 s and 1 s), and with the best possible speakers for the lines (greedy ORC).
    `doubled`, `lost` and `misnamed` are out of `sentences`, `strays` out of `lines` with words.
    """

    words: int
    cp: int
    tcp5: int
    tcp1: int
    orc: int
    sentences: int
    doubled: int
    lost: int
    misnamed: int
    strays: int
    lines: int
    pairs: int
    disordered: int
    own_s: float
    own_missed_s: float
    foreign_s: float
    foreign_kept_s: float

    def __add__(self, other: Score) -> Score:
        return Score(*(a + b for a, b in zip(self.values(), other.values(), strict=True)))

    def values(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in self.__slots__)

    @property
    def cpwer(self) -> float:
        return self.cp / self.words

    @property
    def doubled_share(self) -> float:
        return self.doubled / self.sentences

    @property
    def misnamed_share(self) -> float:
        return self.misnamed / self.sentences

    @property
    def stray_share(self) -> float:
        return self.strays / max(1, self.lines)

    def lost_beyond(self, other: Score) -> float:
        """Return by how much the share of lost sentences exceeds that of another score."""
        return self.lost / self.sentences - other.lost / other.sentences

    def above(self, other: Score) -> float:
        """By how much cpWER is higher than in another score."""
        return self.cpwer - other.cpwer


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the systems made of a meeting; `took_s` is processor time by system."""

    recipe: Recipe
    scores: dict[str, Score]
    took_s: dict[str, float]
    explanation: list[str]


@dataclass(frozen=True, slots=True)
class Invented:
    """Words that each system wrote of a sound without speech."""

    noise: str
    seconds: float
    words: dict[str, int]
