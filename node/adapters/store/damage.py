"""Sets aside damaged rows, so that the rest can continue.

The whole row goes to the table `damaged`, where it can be inspected until its session is erased.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from node.adapters.store.reading import (
    BODY,
    file_name,
    is_session_id,
    mic_of,
    mics_of,
    substitutes,
)
from node.adapters.store.rows import utterance_of
from node.core.model import at_sample, iso, parse_iso
from node.errors import StoreError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from node.adapters.store.database import Database

LONGEST_NUMBER = 9
"""Most digits of a counter; one with more is damaged."""


class Damage:
    """The damaged rows. Can be used from any thread."""

    def __init__(self, database: Database, report: Callable[[str], None]) -> None:
        self._database = database
        self.report = report
        """Called for everything that is found, with a sentence without anything that was said."""

    def __len__(self) -> int:
        """Return the number of rows set aside, including unsent messages."""
        with self._database.reading() as db:
            query = (
                "SELECT (SELECT count(*) FROM damaged)"
                " + (SELECT count(*) FROM outbox WHERE refused IS NOT NULL)"
            )
            return int(db.execute(query).fetchone()[0])

    def set_segment_aside(self, rowid: int) -> None:
        """Move an unreadable segment out of the way; if the disk fails, it is done later."""
        with suppress(StoreError), self._database.transaction() as db:
            row = db.execute("SELECT rowid, * FROM segment WHERE rowid=?", (rowid,)).fetchone()
            if row is not None:
                self._move(db, "segment", row)

    def sift(self) -> None:
        """Check the rows that a start needs, and set aside the damaged ones.

        Raises:
            StoreError: the disk fails.
        """
        with self._database.transaction() as db:
            self._sift_sessions(db)
            self._sift_rows(db, "mic", mic_of)
            self._sift_rows(db, "utterance", utterance_of)
            self._sift_rows(db, "erasure", lambda row: mics_of(row["mics"]))
            self._sift_rows(db, "file", lambda row: file_name(row["name"]))
            self._sift_rows(db, "age", _check_age)

    def _sift_rows(
        self, db: sqlite3.Connection, table: str, check: Callable[[sqlite3.Row], object]
    ) -> None:
        for row in db.execute(f"SELECT rowid, * FROM {table}").fetchall():  # noqa: S608  # ours
            try:
                check(row)
            except (ValueError, TypeError, OverflowError):
                self._move(db, table, row)

    def _sift_sessions(self, db: sqlite3.Connection) -> None:
        for row in db.execute("SELECT rowid, * FROM session").fetchall():
            if not is_session_id(row["id"]):
                self._move(db, "session", row)
                continue
            good = substitutes(row)
            if "ended_at" in good and row["state"] == "done":
                began = parse_iso(good.get("started_at", row["started_at"]))
                good["ended_at"] = iso(at_sample(began, _last_sample(db, row["id"])))
            good |= _counts(db, row)
            if good:
                self._keep(db, "session", row)
                _replace(db, row, good)

    def _move(self, db: sqlite3.Connection, table: str, row: sqlite3.Row) -> None:
        self._keep(db, table, row)
        db.execute(f"DELETE FROM {table} WHERE rowid=?", (row["rowid"],))  # noqa: S608  # ours

    def _keep(self, db: sqlite3.Connection, table: str, row: sqlite3.Row) -> None:
        values = dict(row)
        session = values.get("id") if table == "session" else values.get("session_id")
        known = session if is_session_id(session) else None
        db.execute(
            "INSERT INTO damaged (session_id, origin, content) VALUES (?, ?, ?)",
            (known, table, json.dumps(values, ensure_ascii=False, default=repr)),
        )
        of_session = f" of session {known}" if known else ""
        self.report(
            f"a row of the table {table}{of_session} is damaged; it is kept in the table damaged"
            " of the database, and everything else continues"
        )


def _counts(db: sqlite3.Connection, row: sqlite3.Row) -> dict[str, int]:
    """Return an unfinished session's counters that are too low: numbers would be used twice."""
    if row["state"] == "done":
        return {}
    of_session = (row["id"],)
    (utterances,) = db.execute(
        "SELECT max(number) FROM utterance WHERE session_id=?", of_session
    ).fetchone()
    ids = db.execute("SELECT id FROM segment WHERE session_id=?", of_session).fetchall()
    tails = [str(each["id"]).rpartition("/")[2] for each in ids]
    (segments,) = db.execute(
        "SELECT max(seq) FROM segment WHERE session_id=?", of_session
    ).fetchone()
    least = {
        "utterances": max([_whole(utterances), *map(_whole, tails)]),
        "segments": _whole(segments),
    }
    return {
        column: number
        for column, number in least.items()
        if not isinstance(row[column], int) or row[column] < number
    }


def _whole(value: object) -> int:
    text = str(value)
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= LONGEST_NUMBER else 0


def _last_sample(db: sqlite3.Connection, session_id: str) -> int:
    (last,) = db.execute(
        f"SELECT max(json_extract({BODY}, '$.end')) FROM segment WHERE session_id=?",  # noqa: S608  # ours
        (session_id,),
    ).fetchone()
    return last if isinstance(last, int) else 0


def _replace(db: sqlite3.Connection, row: sqlite3.Row, values: dict[str, Any]) -> None:
    columns = ", ".join(f"{column}=?" for column in values)
    db.execute(
        f"UPDATE session SET {columns} WHERE rowid=?",  # noqa: S608  # columns of ours
        (*values.values(), row["rowid"]),
    )


def _check_age(row: sqlite3.Row) -> None:
    parse_iso(row["wall"])
    float(row["counted_s"])
