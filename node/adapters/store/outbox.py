"""Messages that must reach the broker, kept on the disk until it acknowledges them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from node.adapters.store.database import Database


@dataclass(frozen=True, slots=True)
class OutboxMessage:
    id: int
    topic: str
    payload: str


def queue(db: sqlite3.Connection, session_id: str, topic: str, payload: str) -> None:
    """Add a message of a session, in the transaction that stores what it tells of."""
    db.execute(
        "INSERT INTO outbox (session_id, topic, payload) VALUES (?, ?, ?)",
        (session_id, topic, payload),
    )


class Outbox:
    """The unsent messages, in order: `queue` adds them. Read and emptied by the main thread."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def after(self, last: int, limit: int) -> list[OutboxMessage]:
        """Return the next messages after message `last`, without those set aside."""
        with self._database.reading() as db:
            rows = db.execute(
                "SELECT id, topic, payload FROM outbox WHERE id > ? AND refused IS NULL"
                " ORDER BY id LIMIT ?",
                (last, limit),
            ).fetchall()
        return [OutboxMessage(*row) for row in rows]

    def done(self, messages: Iterable[int]) -> None:
        """Delete messages that the broker has."""
        with self._database.transaction() as db:
            db.executemany("DELETE FROM outbox WHERE id=?", [(number,) for number in messages])

    def set_aside(self, message: int, reason: str) -> None:
        """Keep a message that the broker will never accept, with the reason, and skip it."""
        with self._database.transaction() as db:
            db.execute("UPDATE outbox SET refused=? WHERE id=?", (reason, message))

    def newest(self) -> int:
        """Return the id of the newest message ever added; 0 if there was none."""
        with self._database.reading() as db:
            row = db.execute("SELECT seq FROM sqlite_sequence WHERE name='outbox'").fetchone()
        return int(row[0]) if row else 0

    def __len__(self) -> int:
        with self._database.reading() as db:
            return int(
                db.execute("SELECT count(*) FROM outbox WHERE refused IS NULL").fetchone()[0]
            )
