"""What a row of the table stands for, and the meetings it is made of."""

from __future__ import annotations

import random
import re
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.bench.accuracy.acoustics import Acoustics
from tests.bench.accuracy.meeting import Plan
from tests.bench.speech import recordings, seats

if TYPE_CHECKING:
    from pathlib import Path

    from tests.bench.speech import Recording

_NAME = re.compile(r"(?P<n>[2-8])@(?P<bleed>-\d+|none),(?P<overlap>\d+)%(?P<uneven>,uneven)?")

NOISE = "noise"
"""The row in which nobody speaks."""

ROWS = (
    *("2@-10,10%", "3@none,10%", "4@-20,10%,uneven", "4@-10,0%", "4@-10,10%", "4@-6,25%"),
    *("4@-6,25%,uneven", "3@-3,10%", "8@-10,10%,uneven", NOISE),
)
QUICK_ROWS = ("2@-10,10%", "4@-10,10%", "4@-6,25%,uneven", NOISE)


@dataclass(frozen=True, slots=True)
class Row:
    """Speakers, bleed (None: no microphone hears another's speaker) and overlap in percent.

    `uneven`: microphones of different kinds, whose sound arrives as far apart as USB lets it.
    """

    speakers: int
    bleed_db: int | None
    overlap: int
    uneven: bool = False

    @property
    def name(self) -> str:
        bleed = "none" if self.bleed_db is None else self.bleed_db
        return f"{self.speakers}@{bleed},{self.overlap}%{',uneven' if self.uneven else ''}"

    @property
    def acoustics(self) -> Acoustics:
        bleed = None if self.bleed_db is None else float(self.bleed_db)
        if self.uneven:
            return Acoustics(bleed_db=bleed, gain_db=12.0, delay_s=0.2)
        return Acoustics(bleed_db=bleed)


def parse_row(name: str) -> Row:
    """A row by its name, as `4@-10,10%` or `8@-6,25%,uneven` or `3@none,0%`.

    Raises:
        ValueError: the name has another form.
    """
    found = _NAME.fullmatch(name)
    if found is None:
        raise ValueError(f"'{name}' is no row: want speakers@bleed,overlap% as in 4@-10,10%")
    bleed = None if found["bleed"] == "none" else int(found["bleed"])
    return Row(int(found["n"]), bleed, int(found["overlap"]), found["uneven"] is not None)


@dataclass(frozen=True, slots=True)
class Speech:
    """A folder of recordings, known by what is in it and not by its place."""

    folder: Path = field(repr=False)
    digest: str


@dataclass(frozen=True, slots=True)
class Recipe:
    """One meeting: all that its sound depends on, but for the code that makes it.

    Without `speech` it is spoken by espeak-ng.
    """

    row: Row
    number: int
    length_s: float
    voices: str
    speech: Speech | None = None

    @property
    def name(self) -> str:
        return f"{self.row.name} meeting {self.number}"

    @property
    def seed(self) -> int:
        """Differs between rows, numbers and sets of voices: what is tuned on is never reported."""
        return zlib.crc32(f"{self.voices} {self.row.name} {self.number}".encode())

    @property
    def plan(self) -> Plan:
        return Plan(
            self.seed, self.row.speakers, self.row.overlap / 100, self.length_s, self.voices
        )

    def seats(self) -> list[list[Recording]] | None:
        """Who of the recorded speakers sits where; None without recordings.

        Raises:
            SpeechError: there are fewer speakers, or none.
        """
        if self.speech is None:
            return None
        rng = random.Random(self.seed)
        return seats(recordings(self.speech.folder), self.row.speakers, rng)
