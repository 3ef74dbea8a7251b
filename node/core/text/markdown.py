"""A transcript as Markdown (CommonMark), for notes and wikis."""

from __future__ import annotations

import re
from itertools import groupby
from typing import TYPE_CHECKING

from node.core.model import UNDATED, at_sample

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import tzinfo

    from node.core.model import Segment, Session
    from node.core.text.transcript import Transcript
    from node.core.text.turns import Turn

MARKUP = re.compile(
    r"[\\`*_{}\[\]<>|~&$#^=@]"  # CommonMark, tables, and what GitHub and Obsidian add
    r"|:(?=[/A-Za-z+-])"  # links without brackets, and names of emoji
    r"|(?<=\bwww)\.",
    re.IGNORECASE,
)
"""What could be taken for markup within a line; every line begins with a sign of ours."""


OPENING = re.compile(r"\*\*(?P<speaker>(?:\\.|[^\\*])*)\*\* \(\d\d:\d\d:\d\d\): ")
"""How a paragraph begins."""


def to_markdown(transcript: Transcript, _crosstalk: Iterable[Segment] = ()) -> str:
    session, spoken, zone = transcript.session, transcript.turns, transcript.zone
    return head(session, spoken, zone) + paragraphs(session, spoken, zone)


def head(session: Session, spoken: Iterable[Turn], zone: tzinfo) -> str:
    """The title, or else the date, as a heading; below it the date and all who spoke."""
    known = session.started_at != UNDATED
    date = f"{session.started_at.astimezone(zone):%Y-%m-%d %H:%M}" if known else ""
    title = escaped(session.title or "")
    names = dict.fromkeys(escaped(turn.segment.speaker) for turn in spoken)
    speakers = ", ".join(f"**{name}**" for name in names)
    below = " · ".join(part for part in (date if title else "", speakers) if part)
    heading = f"# {title or date}" if title or date else ""
    return "".join(f"{line}\n\n" for line in (heading, below) if line)


def paragraphs(session: Session, spoken: Iterable[Turn], zone: tzinfo) -> str:
    """`**Alice** (12:03:04): …`, a paragraph for each time somebody has the floor."""
    found = []
    for speaker, group in groupby(spoken, lambda turn: turn.segment.speaker):
        turns = list(group)
        moment = at_sample(session.started_at, turns[0].start).astimezone(zone)
        text = escaped(" ".join(turn.text for turn in turns))
        found.append(f"**{escaped(speaker)}** ({moment:%H:%M:%S}): {text}\n")
    return "\n".join(found)


def joined(pages: Iterable[str]) -> str:
    """Pages of one transcript as a whole; a paragraph that goes on becomes one again."""
    whole = ""
    for page in pages:
        last = whole.rstrip("\n").rpartition("\n\n")[2]
        begun, follows = OPENING.match(last), OPENING.match(page)
        if begun and follows and begun["speaker"] == follows["speaker"]:
            whole = f"{whole.rstrip()} {page[follows.end() :]}"
        else:
            whole += f"\n{page}" if whole else page
    return whole


def escaped(text: str) -> str:
    """Text as one line that no reader of Markdown takes for markup."""
    line = " ".join(text.splitlines()).strip()
    return MARKUP.sub(lambda found: f"\\{found[0]}", line)
