"""The way of each utterance: open while it is spoken, captured, then a segment, or given up.

Commits that a power cut may undo are those that the audio files can make good (see `audio`); the
one that stands between a segment and the end of its audio is synced.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from node.adapters.store.audio import MAX_CRASHES, AudioFolder, Recording, Utterance
from node.adapters.store.sessions import segment_to_json
from node.core.model import SAMPLE_RATE, Segment, iso, started_at_of
from node.errors import StoreError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from node.adapters.store.database import Database

    Made = tuple[Segment, str, str]


class Utterances:
    """Rows and audio files together; any thread may use it."""

    def __init__(self, database: Database, audio: AudioFolder) -> None:
        self._database = database
        self._audio = audio

    def open(
        self, session_id: str, mic: str, speaker: str, language: str | None, start: int
    ) -> tuple[Utterance, Recording]:
        """Somebody has begun to speak: a number, a row and a file for it.

        Raises:
            StoreError: the disk refuses.
        """
        try:
            with self._database.transaction() as db:
                number = _next_number(db, session_id)
                utterance = Utterance(session_id, number, mic, speaker, language, start, start)
                _insert(db, utterance, "open")
                return utterance, self._audio.record(utterance)
        except OSError as error:
            raise StoreError(f"{self._audio.spool}: {error}") from error

    def captured(self, utterance: Utterance, end: int, speech: tuple[int, int]) -> None:
        """It has been spoken and its audio is on the disk: it waits for the engine."""
        with self._database.transaction() as db:
            db.execute(
                "UPDATE utterance SET state='captured', end=?, speech_start=?, speech_end=?"
                " WHERE session_id=? AND number=?",
                (end, *speech, utterance.session_id, utterance.number),
            )

    def recover(self) -> int:
        """After a crash: what was being spoken ends where its audio ends. Says how many wait."""
        with self._database.transaction() as db:
            for row in db.execute("SELECT * FROM utterance WHERE state='open'").fetchall():
                utterance = _utterance(row)
                db.execute(
                    "UPDATE utterance SET state='captured', end=? WHERE session_id=? AND number=?",
                    (
                        utterance.start + self._audio.samples(utterance),
                        utterance.session_id,
                        utterance.number,
                    ),
                )
            self._adopt_strays(db)
            db.execute("UPDATE utterance SET recovered=1")
            db.execute("UPDATE session SET zero=NULL")
            count = "SELECT count(*) FROM utterance WHERE state='captured'"
            return int(db.execute(count).fetchone()[0])

    def _adopt_strays(self, db: sqlite3.Connection) -> None:
        """Give rows to sounds that have none, and an end to sounds that are segments already."""
        for stray in self._audio.waiting():
            key = (stray.session_id, stray.number)
            if db.execute(
                "SELECT 1 FROM utterance WHERE session_id=? AND number=? AND state='captured'", key
            ).fetchone():
                continue
            if db.execute("SELECT 1 FROM segment WHERE id=?", (stray.id,)).fetchone():
                self._audio.release(stray)
                continue
            db.execute(
                "INSERT OR IGNORE INTO session (id, started_at, speakers, files, state)"
                " VALUES (?, ?, '{}', '{}', 'recording')",
                (stray.session_id, iso(started_at_of(stray.session_id))),
            )
            db.execute(
                "UPDATE session SET utterances = max(utterances, ?), state ="
                " iif(state='done', 'stopping', state) WHERE id=?",
                (stray.number, stray.session_id),
            )
            _insert(db, stray, "captured")

    def next(self) -> Utterance | None:
        """The utterance that has waited longest, by the time it was spoken."""
        with self._database.reading() as db:
            row = db.execute(
                "SELECT utterance.* FROM utterance JOIN session ON session.id = session_id"
                " WHERE utterance.state='captured' ORDER BY started_at, end LIMIT 1"
            ).fetchone()
        return _utterance(row) if row else None

    def audio(self, utterance: Utterance) -> npt.NDArray[np.int16]:
        """Its samples, int16 at 16 kHz.

        Raises:
            StoreError: the file is gone.
        """
        try:
            return self._audio.read(utterance)
        except OSError as error:
            raise StoreError(f"the audio of {utterance.id} cannot be read: {error}") from error

    def backlog_s(self, session_id: str | None = None) -> float:
        """Seconds of speech that wait for the engine."""
        with self._database.reading() as db:
            samples = db.execute(
                "SELECT sum(end - start) FROM utterance WHERE state='captured'"
                " AND (?1 IS NULL OR session_id=?1)",
                (session_id,),
            ).fetchone()[0]
        return (samples or 0) / SAMPLE_RATE

    def waiting(self, session_id: str) -> int:
        """Utterances of a session that are not yet segments."""
        with self._database.reading() as db:
            return int(
                db.execute(
                    "SELECT count(*) FROM utterance WHERE session_id=?"
                    " AND state IN ('open', 'captured')",
                    (session_id,),
                ).fetchone()[0]
            )

    def last_sample(self, session_id: str) -> int:
        """Where the last sound of a session ends."""
        with self._database.reading() as db:
            row = db.execute(
                "SELECT max(end) FROM (SELECT end FROM utterance WHERE session_id=?1 UNION ALL"
                " SELECT json_extract(body, '$.end') FROM segment WHERE session_id=?1)",
                (session_id,),
            ).fetchone()
        return int(row[0] or 0)

    def attempt(self, utterance: Utterance) -> bool:
        """The engine begins on it; False where too many processes have died doing so."""
        if self._audio.crashes(utterance) >= MAX_CRASHES:
            return False
        try:
            self._audio.mark(utterance)
        except OSError as error:  # a full disk must not keep the engine from emptying it
            raise StoreError(f"{self._audio.spool}: {error}") from error
        return True

    def transcribed(
        self, utterance: Utterance, make: Callable[[int], Made] | None
    ) -> Segment | None:
        """Commit what the engine made of an utterance, with the message that publishes it.

        Args:
            utterance: the one that was transcribed.
            make: from its `seq` to its segment, topic and payload; None where nothing was said.

        The audio goes only after the commit is on the disk.
        """
        segment = None
        with self._database.transaction(durable=True) as db:
            if make is not None:
                segment = _insert_segment(db, utterance, make)
            db.execute(
                "DELETE FROM utterance WHERE session_id=? AND number=?",
                (utterance.session_id, utterance.number),
            )
        self._audio.release(utterance)
        return segment

    def retry(self, utterance: Utterance) -> None:
        """Count an attempt that failed; the utterance waits for another."""
        with self._database.transaction() as db:
            db.execute(
                "UPDATE utterance SET attempts = attempts + 1 WHERE session_id=? AND number=?",
                (utterance.session_id, utterance.number),
            )
        self._audio.unmark(utterance)

    def fail(self, utterance: Utterance, reason: str) -> Path:
        """Give an utterance up: its audio is kept under `failed/`, its row says why."""
        kept = self._audio.give_up(utterance)
        with self._database.transaction(durable=True) as db:
            db.execute(
                "UPDATE utterance SET state='failed', reason=? WHERE session_id=? AND number=?",
                (reason, utterance.session_id, utterance.number),
            )
        return kept


def _next_number(db: sqlite3.Connection, session_id: str) -> int:
    row = db.execute(
        "UPDATE session SET utterances = utterances + 1 WHERE id=? RETURNING utterances",
        (session_id,),
    ).fetchone()
    return int(row[0])


def _insert(db: sqlite3.Connection, utterance: Utterance, state: str) -> None:
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


def _insert_segment(
    db: sqlite3.Connection, utterance: Utterance, make: Callable[[int], Made]
) -> Segment | None:
    row = db.execute(
        "UPDATE session SET segments = segments + 1 WHERE id=? RETURNING segments",
        (utterance.session_id,),
    ).fetchone()
    if row is None:  # deleted while the engine was at work
        return None
    segment, topic, payload = make(row[0])
    db.execute(
        "INSERT INTO segment (session_id, seq, id, body) VALUES (?, ?, ?, ?)",
        (segment.session_id, segment.seq, segment.id, segment_to_json(segment)),
    )
    db.execute(
        "INSERT INTO outbox (session_id, topic, payload) VALUES (?, ?, ?)",
        (segment.session_id, topic, payload),
    )
    return segment


def _utterance(row: sqlite3.Row) -> Utterance:
    return Utterance(
        session_id=row["session_id"],
        number=row["number"],
        mic=row["mic"],
        speaker=row["speaker"],
        language=row["language"],
        start=row["start"],
        end=row["end"] if row["end"] is not None else row["start"],
        attempts=row["attempts"],
        recovered=bool(row["recovered"]),
        speech=(row["speech_start"], row["speech_end"]) if row["speech_end"] else None,
    )
