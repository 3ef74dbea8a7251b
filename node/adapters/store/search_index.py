"""The full-text index of what was said: an FTS5 table over `spoken`, kept by triggers.

It holds nothing that `spoken` does not, so a damaged one is made again. FTS5 is a part of SQLite
that a build may lack; without it there is no index, and everything else works.

See sqlite.org/fts5.html: external content tables (4.4.3), `merge` (6.7) and `integrity-check`
(6.6).
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

TABLE = "spoken_index"
TRIGGERS = ("spoken_indexed", "spoken_unindexed")
SHADOWS = tuple(f"{TABLE}_{part}" for part in ("data", "idx", "docsize", "config"))
"""The tables in which FTS5 keeps the index."""

CREATE = (
    """
    CREATE VIRTUAL TABLE spoken_index USING fts5(
        text, content='spoken', content_rowid='id', tokenize='unicode61 remove_diacritics 2'
    )
    """,
    """
    CREATE TRIGGER spoken_indexed AFTER INSERT ON spoken BEGIN
        INSERT INTO spoken_index (rowid, text) VALUES (new.id, new.text);
    END
    """,
    """
    CREATE TRIGGER spoken_unindexed AFTER DELETE ON spoken BEGIN
        INSERT INTO spoken_index (spoken_index, rowid, text) VALUES ('delete', old.id, old.text);
    END
    """,
    "INSERT INTO spoken_index (spoken_index) VALUES ('rebuild')",
)

MERGE_PAGES = 200
"""Pages of the index written in one transaction: 30 ms, measured on a PC."""


def supported(db: sqlite3.Connection) -> bool:
    """Return whether this build of SQLite has FTS5."""
    query = "SELECT 1 FROM pragma_module_list WHERE name='fts5'"
    return db.execute(query).fetchone() is not None


def parts(db: sqlite3.Connection) -> tuple[bool, bool]:
    """Return whether the index is there, and whether the triggers that keep it are."""
    names = {row[0] for row in db.execute("SELECT name FROM sqlite_schema")}
    return TABLE in names, names.issuperset(TRIGGERS)


def create(db: sqlite3.Connection) -> None:
    """Make the index anew from `spoken`; part of the caller's transaction."""
    drop(db)
    for statement in CREATE:
        db.execute(statement)


def drop(db: sqlite3.Connection) -> None:
    """Remove index and triggers, whatever state they are in; part of the caller's transaction."""
    for trigger in TRIGGERS:
        db.execute(f"DROP TRIGGER IF EXISTS {trigger}")
    drop_table(db)


def drop_table(db: sqlite3.Connection) -> None:
    """Remove the index, but not its triggers: they show the next `prepare` that it is lost.

    FTS5 must not be asked: it may be missing, and refuses to drop an index it cannot read.
    """
    db.execute("PRAGMA writable_schema=ON")
    db.execute("DELETE FROM sqlite_schema WHERE name=?", (TABLE,))
    db.execute("PRAGMA writable_schema=RESET")
    for table in SHADOWS:
        db.execute(f"DROP TABLE IF EXISTS {table}")


def is_sound(db: sqlite3.Connection) -> bool:
    """Return whether the index can be read and agrees with `spoken`.

    Measured on a PC: a second for the 230,000 segments of 50 meetings of 8 hours.
    """
    try:
        db.execute("INSERT INTO spoken_index (spoken_index, rank) VALUES ('integrity-check', 1)")
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR}:
            return False
        raise
    return True


def holds_the_fault(db: sqlite3.Connection, fault: Callable[[], str | None]) -> bool:
    """Drop the index if that cures the file of what `fault` finds; otherwise change nothing."""
    db.execute("BEGIN IMMEDIATE")
    try:
        drop_table(db)
        cured = fault() is None
    except sqlite3.DatabaseError:
        cured = False
    db.execute("COMMIT" if cured else "ROLLBACK")
    return cured
