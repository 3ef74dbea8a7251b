"""Search in what was said, in all sessions."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Any

from node.adapters.store import search_index
from node.adapters.store.reading import segment_from_json, session_of
from node.core.model import at_sample, iso
from node.errors import DamageError, StoreError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from node.adapters.store.database import Database

MATCHES = """
FROM spoken_index
JOIN spoken ON spoken.id = spoken_index.rowid
JOIN segment ON segment.id = spoken.segment_id
JOIN session ON session.id = spoken.session_id
WHERE spoken_index MATCH ?
"""


class Search:
    """Can be used from any thread.

    `report` is called with a sentence if the index was damaged.
    """

    def __init__(self, database: Database, report: Callable[[str], None]) -> None:
        self._database = database
        self._report = report
        self._supported = True

    def prepare(self) -> None:
        """Make the index if it is missing, damaged, or could not be kept without FTS5.

        Raises:
            StoreError: the disk fails.
        """
        with self._database.transaction() as db:
            self._supported = search_index.supported(db)
            if not self._supported:
                search_index.drop(db)
                return
            table, triggers = search_index.parts(db)
            if table and triggers and search_index.is_sound(db):
                return
            search_index.create(db)
        if triggers:
            self._say_that_it_was_damaged()

    def find(self, query: str, limit: int, offset: int) -> tuple[list[dict[str, Any]], int]:
        """Return the segments with all words of a query, and how many there are.

        Those of the newest session come first, in the order they were spoken. Case and accents do
        not matter; the last word may be the beginning of one.

        Raises:
            StoreError: the disk fails, or SQLite has no FTS5.
        """
        if not self._supported:
            raise StoreError(
                "there is no search: the SQLite library of this Python was built without FTS5"
            )
        try:
            return self._find(query, limit, offset)
        except DamageError:
            with self._database.transaction() as db:
                search_index.create(db)
            self._say_that_it_was_damaged()
            return self._find(query, limit, offset)

    def _find(self, query: str, limit: int, offset: int) -> tuple[list[dict[str, Any]], int]:
        wanted = expression(query)
        with self._database.reading() as db:
            (total,) = db.execute(f"SELECT count(*) {MATCHES}", (wanted,)).fetchone()
            rows = db.execute(
                f"SELECT session.*, segment.body {MATCHES}"
                " ORDER BY session.started_at DESC, session.id, spoken.start, spoken.id"
                " LIMIT ? OFFSET ?",
                (wanted, limit, offset),
            ).fetchall()
        return [match for row in rows if (match := _match_of(row)) is not None], total

    def purge(self) -> None:
        """Remove from the index what it still has of deleted words: FTS5 only marks them.

        Merges the whole index, in steps between which other threads can work.

        Raises:
            StoreError: the disk fails.
        """
        pages = -search_index.MERGE_PAGES  # negative: begin to merge everything into one
        while self._supported and self._merge(pages):
            pages = search_index.MERGE_PAGES

    def _merge(self, pages: int) -> bool:
        """Merge some pages; return whether there was anything to do."""
        with self._database.transaction() as db:
            before = db.total_changes
            db.execute(
                "INSERT INTO spoken_index (spoken_index, rank) VALUES ('merge', ?)", (pages,)
            )
            # The statement counts as one change itself (sqlite.org/fts5.html, 6.7).
            return db.total_changes - before >= 2

    def _say_that_it_was_damaged(self) -> None:
        self._report(
            "the index for session/search was damaged; it was made again, and nothing is lost"
        )


def expression(query: str) -> str:
    """Return the FTS5 expression for a query: its words in quotes, the last as a prefix.

    FTS5 ignores a word in which it finds neither letter nor digit.

    Args:
        query: one line of text.
    """
    # FTS5 knows most, but not all letters by their parts.
    words = unicodedata.normalize("NFC", query).split()
    quoted = ['"' + word.replace('"', '""') + '"' for word in words]
    return " ".join(quoted) + "*"


def _match_of(row: sqlite3.Row) -> dict[str, Any] | None:
    """Return a segment in the form of `session/search`; None if its row is damaged."""
    try:
        segment = segment_from_json(row["body"])
    except ValueError:  # set aside when a transcript is read
        return None
    session = session_of(row)
    return {
        "session_id": session.id,
        "segment_id": segment.id,
        "title": session.title,
        "started_at": iso(session.started_at),
        "mic": segment.mic,
        "speaker": segment.speaker,
        "start": iso(at_sample(session.started_at, segment.start)),
        "text": segment.text,
    }
