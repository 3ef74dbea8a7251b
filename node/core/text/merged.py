"""One transcript of a meeting that several nodes have recorded, in the order of speech.

Each node's session has the time of its own clock; where that was set during the session, the later
time counts. The turns of all nodes are then one transcript: a segment with word times is cut where
anybody else begins, one without keeps the turns that its own node has made of it.

People of one name are one person, who may walk from room to room. `Micro 1` is a name of nobody, so
it gets its node's name too. What two nodes have heard of one sentence is written twice: whose
microphone was nearer cannot be told across machines.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from node.core.clocks import Agreement, SessionClock, compare
from node.core.model import SAMPLE_RATE, Segment, Session, iso
from node.core.text.documents import DocumentError, Recorded
from node.core.text.formats import WRITERS, document
from node.core.text.transcript import Transcript, merge, speech_start
from node.core.text.turns import Turn, turns

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime, tzinfo

MAX_GAP = timedelta(hours=1)
"""Longest time between two sessions of one meeting, as where a node was restarted."""

NOBODY = re.compile(r"Micro \d+")
"""The name of a microphone that is assigned to nobody, see `Roster.speaker`."""


@dataclass(frozen=True)
class MergedTranscript(Transcript):
    """The segments of all nodes, as of one session. `recorded` is in order of start.

    Microphones are called `<node>/<mic>`, and `seq` counts over all nodes. `kept_turns` are those
    that their nodes have made of segments without word times.
    """

    recorded: tuple[Recorded, ...]
    crosstalk: tuple[Segment, ...]
    kept_turns: tuple[Turn, ...]

    @cached_property
    def turns(self) -> tuple[Turn, ...]:
        timed = {segment.id: segment for segment in self.segments if segment.words}
        kept = {f"{turn.segment.id} {turn.part}": turn for turn in self.kept_turns}
        last = len(self.segments)
        pieces = [_piece(turn, piece, last) for piece, turn in kept.items()]
        return tuple(
            turn if turn.segment.id in timed else kept[turn.segment.id]
            for turn in turns([*timed.values(), *pieces])
        )

    @cached_property
    def clocks(self) -> Agreement:
        return compare_clocks((each.node, each.session) for each in self.recorded)

    def write(self, suffix: str) -> str:
        """The transcript in the format of a file with this suffix."""
        return self._json() if suffix == "json" else WRITERS[suffix](self, ())

    def _json(self) -> str:
        body = document(self, self.crosstalk)
        nodes = [_origin(each) for each in self.recorded]
        agreed = {"nodes": nodes, "clocks_agree_within_ms": self.clocks.within_ms}
        whole = {"schema": body["schema"], "session": body["session"], **agreed, **body}
        return json.dumps(whole, ensure_ascii=False, indent=1) + "\n"


def merged(
    recorded: Iterable[Recorded], zone: tzinfo, *, by_node: bool = False
) -> MergedTranscript:
    """One transcript of these sessions; their order does not matter.

    Args:
        recorded: at least one.
        zone: of the times of day.
        by_node: put the node's name behind every speaker's.

    Raises:
        DocumentError: they are not sessions of one meeting.
    """
    ordered = tuple(
        sorted(recorded, key=lambda each: (began(each.session), each.node, each.session.id))
    )
    check(ordered)
    session = _session(ordered)
    shifted = _named(_shifted(ordered, session), ordered, by_node=by_node)
    spoken = _numbered(merge(segment for each in shifted for segment in each.segments))
    known = {segment.id: segment for segment in spoken}
    return MergedTranscript(
        session,
        spoken,
        zone,
        recorded=ordered,
        crosstalk=tuple(s for each in shifted for s in each.segments if s.crosstalk_of is not None),
        kept_turns=tuple(
            replace(turn, segment=known[turn.segment.id])
            for each in shifted
            for turn in each.turns
            # A turn of what was withdrawn is left out, as its segment is.
            if turn.segment.id in known and not turn.segment.words
        ),
    )


def began(session: Session) -> datetime:
    """When a session began, by its node's clock once that was right."""
    return session.started_at + timedelta(milliseconds=session.clock.late_ms)


def may_be_of_one_meeting(one: Session, other: Session) -> bool:
    """Whether they are of one group, and less than an hour lies between them."""
    first, second = sorted((one, other), key=began)
    if first.group is None or first.group != second.group:
        return False
    if first.ended_at is None:  # it is still recorded
        return True
    length = first.ended_at - first.started_at
    return began(second) - (began(first) + length) <= MAX_GAP


def _ended(recorded: Recorded) -> datetime:
    session = recorded.session
    length = (session.ended_at or session.started_at) - session.started_at
    spoken_s = max((turn.end for turn in recorded.turns), default=0) / SAMPLE_RATE
    return began(recorded.session) + max(length, timedelta(seconds=spoken_s))


def compare_clocks(sessions: Iterable[tuple[str, Session]]) -> Agreement:
    """How far the clocks of nodes agree, by name; the worst session of each node counts."""
    clocks: dict[str, SessionClock] = {}
    for node, session in sessions:
        if node not in clocks or _is_worse(session.clock, clocks[node]):
            clocks[node] = session.clock
    return compare(clocks)


def _is_worse(one: SessionClock, other: SessionClock) -> bool:
    mine, its = one.error_ms, other.error_ms
    return its is not None and (mine is None or mine > its)


def check(ordered: Sequence[Recorded]) -> None:
    """Whether sessions, in order of start, can be of one meeting.

    Raises:
        DocumentError: they cannot, with the names of their files.
    """
    for number, each in enumerate(ordered):
        for other in ordered[:number]:
            _check_two(other, each)
    for number, each in enumerate(ordered[1:], 1):
        last = max(ordered[:number], key=_ended)
        gap = began(each.session) - _ended(last)
        if gap > MAX_GAP:
            raise DocumentError(
                f"{each.source}: it begins {_hours(gap)} after {last.source} ends, so they are not"
                f" of one meeting{_excuse((last, each))}"
            )


def _check_two(one: Recorded, other: Recorded) -> None:
    if (one.node, one.session.id) == (other.node, other.session.id):
        raise DocumentError(
            f"{other.source}: it is the session {one.session.id} of {one.node}, as"
            f" {one.source} is; give each session once"
        )
    groups = one.session.group, other.session.group
    if None not in groups and len(set(groups)) > 1:
        raise DocumentError(
            f"{other.source}: it is of the group {groups[1]!r}, and {one.source} of {groups[0]!r}"
        )


def _hours(gap: timedelta) -> str:
    hours, seconds = divmod(round(gap.total_seconds()), 3600)
    return f"{hours} h {seconds // 60} min"


def _excuse(recorded: Iterable[Recorded]) -> str:
    wrong = [each.node for each in recorded if each.session.clock.error_ms is None]
    return f", unless the clock of {' or '.join(wrong)} was wrong" if wrong else ""


def _session(ordered: Sequence[Recorded]) -> Session:
    """The meeting as a session, with the id of the node that began first."""
    sessions = [each.session for each in ordered]
    return Session(
        id=sessions[0].id,
        started_at=began(ordered[0].session),
        title=next((session.title for session in sessions if session.title), None),
        ended_at=max(map(_ended, ordered)),
        group=next((session.group for session in sessions if session.group), None),
    )


def _shifted(ordered: Iterable[Recorded], session: Session) -> list[Recorded]:
    """The same with times of the merged session."""
    found = []
    for each in ordered:
        late_s = (began(each.session) - session.started_at).total_seconds()
        by = round(late_s * SAMPLE_RATE)
        segments = {
            segment.id: replace(
                segment, session_id=session.id, start=segment.start + by, end=segment.end + by
            )
            for segment in each.segments
        }
        spoken = tuple(
            replace(
                turn, segment=segments[turn.segment.id], start=turn.start + by, end=turn.end + by
            )
            for turn in each.turns
        )
        found.append(replace(each, segments=tuple(segments.values()), turns=spoken))
    return found


def _named(
    shifted: Iterable[Recorded], ordered: Sequence[Recorded], *, by_node: bool
) -> list[Recorded]:
    """The same with names that tell the nodes apart."""
    ids = Counter(segment.id for each in ordered for segment in each.segments)
    clash = max(ids.values(), default=0) > 1  # two sessions with the same second and 16 random bits
    several = len({each.node for each in ordered}) > 1
    found = []
    for each in shifted:
        segments = {
            segment.id: _renamed(segment, each.node, clash=clash, several=several, by_node=by_node)
            for segment in each.segments
        }
        spoken = tuple(replace(turn, segment=segments[turn.segment.id]) for turn in each.turns)
        found.append(replace(each, segments=tuple(segments.values()), turns=spoken))
    return found


def _renamed(segment: Segment, node: str, *, clash: bool, several: bool, by_node: bool) -> Segment:
    nobody = several and NOBODY.fullmatch(segment.speaker)
    other = segment.crosstalk_of
    return replace(
        segment,
        id=f"{node}/{segment.id}" if clash else segment.id,
        mic=f"{node}/{segment.mic}",
        speaker=f"{segment.speaker} ({node})" if by_node or nobody else segment.speaker,
        crosstalk_of=None if other is None else f"{node}/{other}",
    )


def _numbered(spoken: Iterable[Segment]) -> tuple[Segment, ...]:
    """Segments numbered in the order of speech; ties by node, then by number."""
    ordered = sorted(spoken, key=lambda s: (speech_start(s), _node(s), s.seq, s.id))
    return tuple(replace(segment, seq=seq) for seq, segment in enumerate(ordered, 1))


def _node(segment: Segment) -> str:
    return segment.mic.rpartition("/")[0]


def _piece(turn: Turn, piece: str, last: int) -> Segment:
    """A turn that stays whole, as a segment of its own; no segment has a greater `seq` than `last`.

    If two begin at once, the one that only goes on gives way.
    """
    return replace(
        turn.segment,
        id=piece,
        seq=turn.segment.seq + (last if turn.part > 1 else 0),
        text=turn.text,
        start=turn.start,
        end=turn.end,
        words=None,
    )


def _origin(recorded: Recorded) -> dict[str, Any]:
    session = recorded.session
    return {
        "node": recorded.node,
        "session_id": session.id,
        "started_at": iso(session.started_at),
        "ended_at": iso(session.ended_at or session.started_at),
        "late_ms": session.clock.late_ms,
        "clock": session.clock.payload(),
    }
