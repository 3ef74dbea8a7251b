"""Writes and reads the rows of utterances and segments, for the transactions of `Utterances`."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from node.adapters.store.audio import Utterance
from node.adapters.store.outbox import queue
from node.adapters.store.reading import BODY, MAX_SAMPLE, segment_from_json, segment_to_json
from node.core.model import MIC_ID, Segment, iso, started_at_of

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

Made = tuple[Segment, str, str]
"""A segment with the topic and the payload of its message."""

OutboxRow = tuple[str, str]
"""A topic with a payload."""

NEAR = 64
"""Utterances that may begin or end during another one: two for each second of the 28 s that it may
last, and a few more."""


def next_number(db: sqlite3.Connection, session_id: str) -> int:
    row = db.execute(
        "UPDATE session SET utterances = utterances + 1 WHERE id=? RETURNING utterances",
        (session_id,),
    ).fetchone()
    return int(row[0])


def insert_utterance(db: sqlite3.Connection, utterance: Utterance, state: str) -> None:
    db.execute(
        "INSERT INTO utterance (session_id, number, mic, speaker, language, start, end, state)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            utterance.session_id,
            utterance.number,
            utterance.mic,
            utterance.speaker,
            utterance.language,
            utterance.start,
            utterance.end,
            state,
        ),
    )


def adopt(db: sqlite3.Connection, stray: Utterance) -> None:
    """Add a row for sound that lost its own, with the speaker its session has for the mic."""
    db.execute(
        "INSERT OR IGNORE INTO session (id, started_at, speakers, files, state)"
        " VALUES (?, ?, '{}', '{}', 'recording')",
        (stray.session_id, iso(started_at_of(stray.session_id))),
    )
    (speakers,) = db.execute(
        "UPDATE session SET utterances = max(utterances, ?), state ="
        " iif(state='done', 'stopping', state) WHERE id=? RETURNING speakers",
        (stray.number, stray.session_id),
    ).fetchone()
    speaker = json.loads(speakers).get(stray.mic) or stray.speaker
    insert_utterance(db, replace(stray, speaker=speaker), "captured")


def judged(db: sqlite3.Connection, utterance: Utterance) -> Utterance | None:
    """Return an utterance with its current owner; None if no text is wanted."""
    row = db.execute(
        "SELECT crosstalk_of, unwanted FROM utterance WHERE session_id=? AND number=?",
        (utterance.session_id, utterance.number),
    ).fetchone()
    if row is None:
        return utterance
    return None if row["unwanted"] else replace(utterance, crosstalk_of=row["crosstalk_of"])


def insert_segment(
    db: sqlite3.Connection, utterance: Utterance, make: Callable[[int], Made]
) -> Segment | None:
    # Another mic's speech is kept for the JSON file, but neither counted nor published.
    counts = utterance.crosstalk_of is None
    row = db.execute(
        "UPDATE session SET segments = segments + ? WHERE id=? RETURNING segments",
        (int(counts), utterance.session_id),
    ).fetchone()
    if row is None:  # deleted while the engine was at work
        return None
    segment, topic, payload = make(row[0] if counts else 0)
    segment = replace(segment, crosstalk_of=utterance.crosstalk_of)
    db.execute(
        "INSERT INTO segment (session_id, seq, id, body) VALUES (?, ?, ?, ?)",
        (segment.session_id, segment.seq, segment.id, segment_to_json(segment)),
    )
    if not counts:
        return segment
    queue(db, segment.session_id, topic, payload)
    return segment


def withdraw_segment(
    db: sqlite3.Connection, utterance: Utterance, other: str, tell: Callable[[Segment], OutboxRow]
) -> Segment | None:
    """Mark the segment of an utterance as another mic's speech, and queue a message about it.

    Its `seq` stays used: published numbers must not repeat or have gaps.

    Returns:
        The segment as it is now; None if there is none or it was already marked.
    """
    row = db.execute("SELECT body FROM segment WHERE id=?", (utterance.id,)).fetchone()
    segment = _readable(row["body"]) if row else None
    if segment is None or segment.crosstalk_of is not None:
        return None
    segment = replace(segment, crosstalk_of=other)
    db.execute("UPDATE segment SET body=? WHERE id=?", (segment_to_json(segment), segment.id))
    db.execute("UPDATE session SET withdrawn = withdrawn + 1 WHERE id=?", (segment.session_id,))
    if not _is_refused(db, segment):
        queue(db, segment.session_id, *tell(segment))
    return segment


def _readable(body: str) -> Segment | None:
    try:
        return segment_from_json(body)
    except ValueError:  # it is in no transcript, and set aside when a transcript is read
        return None


def _is_refused(db: sqlite3.Connection, segment: Segment) -> bool:
    """Return whether the broker will never accept a segment: then there is nothing to withdraw."""
    found = db.execute(
        "SELECT EXISTS (SELECT 1 FROM outbox WHERE session_id=? AND refused IS NOT NULL"
        " AND json_extract(iif(json_valid(payload), payload, '{}'), '$.id') = ?)",
        (segment.session_id, segment.id),
    ).fetchone()
    return bool(found[0])


def overlaps(db: sqlite3.Connection, utterance: Utterance, start: int, end: int) -> bool:
    """Return whether another mic of its session has speech between two samples.

    Speech at the same time has a number close to its own or is among the newest segments, so the
    search takes no longer in a long session or with a long backlog.
    """
    found = db.execute(
        "SELECT EXISTS (SELECT 1 FROM utterance WHERE session_id=:session"  # noqa: S608  # BODY is ours
        " AND number BETWEEN :number - :near AND :number + :near AND mic != :mic"
        " AND crosstalk_of IS NULL AND ifnull(speech_start, start) < :end"
        " AND (state='open' OR ifnull(speech_end, end) > :start)"
        f") OR EXISTS (SELECT 1 FROM (SELECT {BODY} AS body FROM segment WHERE session_id=:session"
        " ORDER BY seq DESC LIMIT :near) WHERE json_extract(body, '$.mic') != :mic"
        " AND json_extract(body, '$.crosstalk_of') IS NULL"
        " AND json_extract(body, '$.start') < :end AND json_extract(body, '$.end') > :start)",
        {
            "session": utterance.session_id,
            "number": utterance.number,
            "mic": utterance.mic,
            "near": NEAR,
            "start": start,
            "end": end,
        },
    ).fetchone()
    return bool(found[0])


def utterance_of(row: sqlite3.Row) -> Utterance:
    """Return the utterance; raises ValueError or TypeError if the row is not valid."""
    start, end = row["start"], row["end"] if row["end"] is not None else row["start"]
    spoken = (row["speech_start"] or 0, row["speech_end"] or 0)
    if not 0 <= start <= end <= MAX_SAMPLE or not 0 <= spoken[0] <= spoken[1] <= MAX_SAMPLE:
        raise ValueError("its times are not valid for an utterance")
    if MIC_ID.fullmatch(row["mic"]) is None:
        raise ValueError("its mic is not valid")
    return Utterance(
        session_id=row["session_id"],
        number=row["number"],
        mic=row["mic"],
        speaker=row["speaker"],
        language=row["language"],
        start=start,
        end=end,
        attempts=row["attempts"],
        recovered=bool(row["recovered"]),
        crosstalk_of=row["crosstalk_of"],
        speech=(row["speech_start"], row["speech_end"]) if row["speech_end"] else None,
    )
