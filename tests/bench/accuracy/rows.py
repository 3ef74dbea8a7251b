"""What a row of the table means, and the meetings it is made from."""

from __future__ import annotations

import functools
import random
import re
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.bench.accuracy.meeting import Plan, converse, synthetic
from tests.bench.accuracy.setting import Acoustics
from tests.bench.speech import LANGUAGES, ONE, TWO, recordings, seats

if TYPE_CHECKING:
    from pathlib import Path

    from tests.bench.accuracy.meeting import Spoken
    from tests.bench.speech import Recording, Speakers

_NAME = re.compile(
    r"(?P<n>[2-8])@(?P<bleed>-\d+(?:\.\d)?|none),(?P<overlap>\d+)%"
    rf"(?:,(?P<languages>{'|'.join((ONE, TWO, *LANGUAGES))}))?(?P<uneven>,uneven)?"
)

SYNTAX = (
    "A row is SPEAKERS@BLEED,OVERLAP%[,LANGUAGES][,uneven]. SPEAKERS: 2 to 8. BLEED: the level in"
    " dB at which a microphone hears the other speakers, such as -10 or -2.5, or none. OVERLAP:"
    f" percent of the speech. LANGUAGES: {ONE} (all speakers share one), {TWO} (they alternate) or"
    f" one of {', '.join(LANGUAGES)}; by default they alternate as far as there are speakers."
    " uneven: gains of ±12 dB and delays up to 0.2 s. Rows that differ only in bleed or uneven are"
    " the same conversation in the same room. A special row is noise (nobody speaks)."
)

NOISE = "noise"
"""The row in which nobody speaks."""

BLEEDS_DB = (-20, -10, -6, -3, -2)

ROWS = (
    *(f"2@{bleed},10%,{languages}" for languages in (ONE, TWO) for bleed in BLEEDS_DB),
    *(f"3@{bleed},10%,{languages}" for languages in (ONE, TWO) for bleed in BLEEDS_DB),
    *(f"4@{bleed},10%,{languages}" for languages in (ONE, TWO) for bleed in BLEEDS_DB),
    *("3@none,10%,two", "2@-3,0%,one", "4@-10,0%,two"),
    *("2@-6,25%,one", "3@-3,25%,two", "4@-6,25%,two", "4@-6,25%,two,uneven"),
    *("4@-20,10%,two,uneven", "8@-10,10%,two", "8@-10,10%,two,uneven", NOISE),
)
"""With six meetings each, half an hour to an hour on two cores for the oracle and `drop`."""

QUICK_ROWS = ("2@-10,10%", "4@-10,10%", "4@-6,25%,uneven", NOISE)


@dataclass(frozen=True, slots=True)
class Row:
    """Speakers, bleed (None: no microphone hears another's speaker) and overlap in percent.

    `uneven`: microphones of different kinds, with delays as different as USB allows.
    `languages` is `one`, `two`, a language, or None for as many as there are.
    """

    speakers: int
    bleed_db: float | None
    overlap: int
    languages: str | None = None
    uneven: bool = False

    @property
    def name(self) -> str:
        bleed = "none" if self.bleed_db is None else f"{self.bleed_db:g}"
        options = [self.languages, "uneven" if self.uneven else None]
        return ",".join([f"{self.speakers}@{bleed}", f"{self.overlap}%", *filter(None, options)])

    @property
    def acoustics(self) -> Acoustics:
        if self.uneven:
            return Acoustics(bleed_db=self.bleed_db, gain_db=12.0, delay_s=0.2)
        return Acoustics(bleed_db=self.bleed_db)


def parse_row(name: str) -> Row:
    """Return a row by name, such as `4@-10,10%`, `8@-6,25%,two,uneven` or `3@none,0%,one`.

    Raises:
        ValueError: the name has another form.
    """
    found = _NAME.fullmatch(name)
    if found is None:
        raise ValueError(
            f"'{name}' is not a row: use speakers@bleed,overlap%[,languages][,uneven]"
            " as in 4@-10,10% or 4@-2.5,25%,two,uneven"
        )
    bleed = None if found["bleed"] == "none" else float(found["bleed"])
    uneven = found["uneven"] is not None
    return Row(int(found["n"]), bleed, int(found["overlap"]), found["languages"], uneven)


@dataclass(frozen=True, slots=True)
class Speech:
    """A folder of recordings, identified by its content, not its path."""

    folder: Path = field(repr=False)
    digest: str


@dataclass(frozen=True, slots=True)
class Recipe:
    """A meeting: everything its sound depends on, except the code that makes it.

    Without `speech`, espeak-ng speaks.
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
        """A seed that differs between conversations, numbers and voice sets, not acoustics.

        So meetings used for tuning are never reported, and bleeds are compared on the same
        meetings.
        """
        row = self.row
        talk = f"{row.speakers} {row.overlap}% {row.languages}"
        return zlib.crc32(f"{self.voices} {talk} {self.number}".encode())

    @property
    def plan(self) -> Plan:
        row = self.row
        overlap = row.overlap / 100
        return Plan(self.seed, row.speakers, overlap, self.length_s, self.voices, row.languages)

    def converse(self) -> list[Spoken]:
        """Return the sentences; raises the same errors as `check`."""
        return converse(self.plan, self._seats())

    def check(self) -> None:
        """Check that there are enough speakers.

        Raises:
            SpeechError: there are fewer, or none.
        """
        if self._seats() is None:
            synthetic(self.plan)

    def _seats(self) -> list[list[Recording]] | None:
        """Return which recorded speaker sits where; None without recordings."""
        if self.speech is None:
            return None
        rng = random.Random(self.seed)
        return seats(_read(self.speech.folder), self.row.speakers, rng, self.row.languages)


@functools.cache
def _read(folder: Path) -> Speakers:
    return recordings(folder)
