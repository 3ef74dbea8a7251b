"""Erases a session without a trace: rows, files, and what the broker keeps.

An erasure is noted before anything is removed and deleted when nothing is left, so that a crash or
an unreachable broker only delays it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from node.adapters.store.reading import BODY, mics_of, session_of
from node.core.model import iso, parse_iso
from node.core.retention import Finished

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable
    from datetime import datetime

    from node.adapters.store.database import Database
    from node.adapters.store.search import Search


@dataclass(frozen=True, slots=True)
class Erasure:
    """A session being erased: the names of its transcript files, and the mics it had."""

    session_id: str
    files: tuple[str, ...]
    mics: tuple[str, ...]


class Traces:
    """Owned by the main thread."""

    def __init__(self, database: Database, search: Search) -> None:
        self._database = database
        self._search = search

    def note_files(self, session_id: str, names: Iterable[str]) -> None:
        """Note files about to be written for a session, in addition to those at its end."""
        with self._database.transaction(durable=True) as db:
            _note_files(db, session_id, names)

    def strike(self, session_id: str) -> Erasure:
        """Remove a session's rows and unsent messages; note and return what else must go.

        Can be repeated.
        """
        with self._database.transaction(durable=True) as db:
            db.execute(
                "INSERT OR IGNORE INTO erasure (session_id, mics) VALUES (?, ?)",
                (session_id, json.dumps(_mics(db, session_id))),
            )
            planned = db.execute("SELECT * FROM session WHERE id=?", (session_id,)).fetchone()
            paths = session_of(planned).files.values() if planned else ()
            _note_files(db, session_id, (path.rpartition("/")[2] for path in paths))
            for table in ("segment", "spoken", "utterance", "outbox", "damaged"):
                db.execute(f"DELETE FROM {table} WHERE session_id=?", (session_id,))  # noqa: S608  # ours
            db.execute("DELETE FROM session WHERE id=?", (session_id,))
            return _erasure(db, session_id)

    def begun(self) -> list[Erasure]:
        """Return the unfinished erasures."""
        with self._database.reading() as db:
            rows = db.execute("SELECT session_id FROM erasure").fetchall()
            return [_erasure(db, row["session_id"]) for row in rows]

    def finished(self, session_id: str) -> None:
        """Note that nothing is left of a session: forget the names of its files too."""
        with self._database.transaction() as db:
            for table in ("file", "erasure"):
                db.execute(f"DELETE FROM {table} WHERE session_id=?", (session_id,))  # noqa: S608  # ours

    def trim(self) -> bool:
        """Empty the search index and the write-ahead log of deleted data.

        Returns:
            False if the log is in use.

        Raises:
            StoreError: the disk fails.
        """
        self._search.purge()
        return self._database.trim()

    def prove(self) -> None:
        """Read what a start reads; raises DamageError if the file is damaged."""
        self.age()
        self.begun()
        self.finished_sessions()

    def age(self) -> tuple[float, datetime] | None:
        """Return the age clock and the wall clock when they were last noted."""
        with self._database.reading() as db:
            row = db.execute("SELECT counted_s, wall FROM age").fetchone()
        return (float(row["counted_s"]), parse_iso(row["wall"])) if row else None

    def note_age(self, counted_s: float, wall: datetime) -> None:
        """Store the age clock for the next start, and in sessions that were done since."""
        with self._database.transaction() as db:
            db.execute("DELETE FROM age")
            db.execute("INSERT INTO age (counted_s, wall) VALUES (?, ?)", (counted_s, iso(wall)))
            db.execute(
                "UPDATE session SET done_at_s=? WHERE state='done' AND done_at_s IS NULL",
                (counted_s,),
            )

    def finished_sessions(self) -> list[Finished]:
        """Return done sessions of which nothing waits for the engine, in the order they began."""
        with self._database.reading() as db:
            rows = db.execute(
                "SELECT id, done_at_s FROM session WHERE state='done' AND done_at_s IS NOT NULL"
                " AND NOT EXISTS (SELECT 1 FROM utterance WHERE session_id = session.id"
                " AND utterance.state != 'failed') ORDER BY rowid"
            ).fetchall()
        return [Finished(row["id"], row["done_at_s"]) for row in rows]


def _note_files(db: sqlite3.Connection, session_id: str, names: Iterable[str]) -> None:
    db.executemany(
        "INSERT OR IGNORE INTO file (session_id, name) VALUES (?, ?)",
        [(session_id, name) for name in names],
    )


def _mics(db: sqlite3.Connection, session_id: str) -> list[str]:
    """Return the mics that were assigned, and others that were heard."""
    row = db.execute("SELECT * FROM session WHERE id=?", (session_id,)).fetchone()
    heard = db.execute(
        f"SELECT DISTINCT json_extract({BODY}, '$.mic') FROM segment WHERE session_id=?",  # noqa: S608  # ours
        (session_id,),
    )
    assigned = session_of(row).speakers if row else {}
    return sorted({*assigned, *(mic for (mic,) in heard if isinstance(mic, str))})


def _erasure(db: sqlite3.Connection, session_id: str) -> Erasure:
    (mics,) = db.execute("SELECT mics FROM erasure WHERE session_id=?", (session_id,)).fetchone()
    rows = db.execute("SELECT name FROM file WHERE session_id=?", (session_id,)).fetchall()
    return Erasure(session_id, tuple(row["name"] for row in rows), mics_of(mics))
