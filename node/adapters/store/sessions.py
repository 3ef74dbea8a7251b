"""Sessions with their segments, and the microphones' assignments."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from node.adapters.store.outbox import queue
from node.adapters.store.reading import mic_of, segment_from_json, session_of
from node.core.mic_ids import MAX_KNOWN
from node.core.model import iso

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Mapping

    from node.adapters.store.database import Database
    from node.core.model import Assignment, MicInfo, Segment, Session


class Sessions:
    """Everything stored about sessions, past and running.

    `damaged` is called with the row numbers of segments that cannot be read.
    """

    def __init__(self, database: Database, damaged: Callable[[int], None] | None = None) -> None:
        self._database = database
        self._damaged = damaged

    def begin(
        self, session: Session, zero: float, mics: Iterable[tuple[MicInfo, Assignment]] = ()
    ) -> None:
        """Record that a session is running; `zero` is sample 0 on the monotonic clock.

        `mics` are those its request assigned, stored in the same transaction, so that it can resume
        with the same names after a crash.
        """
        with self._database.transaction(durable=True) as db:
            db.execute(
                "INSERT INTO session (id, started_at, zero, title, language, speakers, files,"
                " state, max_duration_s, node, in_group, clock)"
                " VALUES (?, ?, ?, ?, ?, ?, '{}', 'recording', ?, ?, ?, ?)",
                (
                    session.id,
                    iso(session.started_at),
                    zero,
                    session.title,
                    session.language,
                    json.dumps(session.speakers, ensure_ascii=False),
                    session.max_duration_s,
                    session.node,
                    session.group,
                    json.dumps(session.clock.payload()),
                ),
            )
            _remember(db, mics)

    def set_speakers(self, session: Session) -> None:
        with self._database.transaction() as db:
            db.execute(
                "UPDATE session SET speakers=? WHERE id=?",
                (json.dumps(session.speakers, ensure_ascii=False), session.id),
            )

    def stopping(self, session: Session) -> None:
        """Note that recording is over, perhaps at a time not yet known; transcription continues."""
        with self._database.transaction() as db:
            db.execute(
                "UPDATE session SET state='stopping', ended_at=?, clock=? WHERE id=?",
                (
                    iso(session.ended_at) if session.ended_at else None,
                    json.dumps(session.clock.payload()),
                    session.id,
                ),
            )

    def plan_files(self, session_id: str, files: Mapping[str, str]) -> None:
        """Note where the session's files are about to be written.

        In two places: if one is damaged, the files are still deleted with their session.
        """
        with self._database.transaction(durable=True) as db:
            db.executemany(
                "INSERT OR IGNORE INTO file (session_id, name) VALUES (?, ?)",
                [(session_id, path.rpartition("/")[2]) for path in files.values()],
            )
            db.execute(
                "UPDATE session SET files=? WHERE id=?",
                (json.dumps(files, ensure_ascii=False), session_id),
            )

    def finish(self, session: Session, messages: Iterable[tuple[str, str]]) -> None:
        """Mark a session as done once its files are written, and queue its last messages."""
        with self._database.transaction(durable=True) as db:
            db.execute("UPDATE session SET state='done' WHERE id=?", (session.id,))
            for topic, payload in messages:
                queue(db, session.id, topic, payload)

    def prove(self) -> None:
        """Read what a start reads; raises DamageError if the file is damaged."""
        self.remembered_mics()
        last = self.last_done()
        for session in [*self.unfinished(), *([last] if last else [])]:
            self.segments(session.id)
        with self._database.reading() as db:
            db.execute("SELECT * FROM utterance JOIN outbox").fetchone()

    def get(self, session_id: str) -> Session | None:
        with self._database.reading() as db:
            row = db.execute("SELECT * FROM session WHERE id=?", (session_id,)).fetchone()
        return session_of(row) if row else None

    def zero(self, session_id: str) -> float | None:
        """Return the monotonic time of the session's sample 0; None if another process began it."""
        with self._database.reading() as db:
            row = db.execute("SELECT zero FROM session WHERE id=?", (session_id,)).fetchone()
        return row["zero"] if row else None

    def set_zero(self, session_id: str, zero: float) -> None:
        """Note that this process records the session; `zero` is sample 0 in monotonic time."""
        with self._database.transaction() as db:
            db.execute("UPDATE session SET zero=? WHERE id=?", (zero, session_id))

    def unfinished(self) -> list[Session]:
        """Return sessions that a crash interrupted, oldest first."""
        with self._database.reading() as db:
            rows = db.execute(
                "SELECT * FROM session WHERE state != 'done' ORDER BY started_at"
            ).fetchall()
        return [session_of(row) for row in rows]

    def is_recorded(self, session_id: str) -> bool:
        """Return whether nobody has stopped a session."""
        with self._database.reading() as db:
            query = "SELECT state FROM session WHERE id=?"
            row = db.execute(query, (session_id,)).fetchone()
        return row is not None and row["state"] == "recording"

    def last_done(self) -> Session | None:
        with self._database.reading() as db:
            row = db.execute(
                "SELECT * FROM session WHERE state='done' ORDER BY started_at DESC LIMIT 1"
            ).fetchone()
        return session_of(row) if row else None

    def page(
        self, limit: int, offset: int, group: str | None = None
    ) -> tuple[list[dict[str, Any]], int]:
        """Return sessions, newest first, in the form of `session/list`, and how many there are.

        With `group`, only those of that group.
        """
        values = {"limit": limit, "offset": offset, "group": group}
        with self._database.reading() as db:
            (total,) = db.execute(
                "SELECT count(*) FROM session WHERE :group IS NULL OR in_group=:group", values
            ).fetchone()
            rows = db.execute(
                "SELECT * FROM session WHERE :group IS NULL OR in_group=:group"
                " ORDER BY started_at DESC LIMIT :limit OFFSET :offset",
                values,
            ).fetchall()
        return [_listed(row) for row in rows], total

    def segments(self, session_id: str) -> list[Segment]:
        """Return the readable segments, in the order published."""
        with self._database.reading() as db:
            rows = db.execute(
                "SELECT rowid, body FROM segment WHERE session_id=? ORDER BY seq", (session_id,)
            ).fetchall()
        found = []
        for row in rows:
            try:
                found.append(segment_from_json(row["body"]))
            except ValueError:
                if self._damaged is not None:
                    self._damaged(row["rowid"])
        return found

    def segments_total(self, session_id: str) -> int:
        """Return the number of segments published or to be published, without withdrawn ones."""
        with self._database.reading() as db:
            query = "SELECT segments - withdrawn FROM session WHERE id=?"
            row = db.execute(query, (session_id,)).fetchone()
        return int(row[0]) if row else 0

    def remember_mics(self, mics: Iterable[tuple[MicInfo, Assignment]]) -> None:
        """Store these mics and their speakers for the next start."""
        with self._database.transaction(durable=True) as db:
            _remember(db, mics)

    def know_mics(self, mics: Iterable[MicInfo]) -> None:
        """Store the ids given to these mics, without changing whom they are assigned to.

        Beyond MAX_KNOWN, the oldest unassigned mics are forgotten.
        """
        with self._database.transaction() as db:
            db.executemany(
                "INSERT INTO mic (mic, info, enabled) VALUES (?, ?, 1)"
                " ON CONFLICT (mic) DO UPDATE SET info=excluded.info",
                [(info.mic, json.dumps(asdict(info))) for info in mics],
            )
            db.execute(
                "DELETE FROM mic WHERE rowid IN (SELECT rowid FROM mic WHERE speaker IS NULL"
                " AND language IS NULL AND enabled ORDER BY rowid DESC LIMIT -1 OFFSET ?)",
                (MAX_KNOWN,),
            )

    def remembered_mics(self) -> list[tuple[MicInfo, Assignment]]:
        with self._database.reading() as db:
            rows = db.execute("SELECT * FROM mic ORDER BY rowid").fetchall()
        return [mic_of(row) for row in rows]


def _remember(db: sqlite3.Connection, mics: Iterable[tuple[MicInfo, Assignment]]) -> None:
    db.executemany(
        "INSERT OR REPLACE INTO mic (mic, info, speaker, language, enabled) VALUES (?, ?, ?, ?, ?)",
        [(i.mic, json.dumps(asdict(i)), a.speaker, a.language, a.enabled) for i, a in mics],
    )


def _listed(row: sqlite3.Row) -> dict[str, Any]:
    session = session_of(row)
    return {
        "session_id": session.id,
        "title": session.title,
        "group": session.group,
        "state": row["state"],
        "started_at": iso(session.started_at),
        "ended_at": iso(session.ended_at) if session.ended_at else None,
        "clock": session.clock.payload(),
        "speakers": session.speakers,
        "segments_total": row["segments"] - row["withdrawn"],
        "file_path": session.files.get("txt"),
    }
