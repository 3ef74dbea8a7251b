"""Utterances on their way: audio files that grow while somebody speaks, and their rows.

Audio is raw int16 at 16 kHz. It is written to the file several times a second and synced every
two seconds, so that a killed process loses at most half a second of it and a power cut two.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from node.adapters.store.sessions import segment_to_json
from node.core.model import SAMPLE_RATE, Segment
from node.errors import StoreError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable
    from pathlib import Path

    import numpy.typing as npt

    from node.adapters.store.database import Database

WRITE_BYTES = SAMPLE_RATE // 4 * 2
"""Sound is handed to the kernel every quarter of a second: it then outlives the process."""

SYNC_S = 1.5
"""Sound is synced to the disk this often: with the write before it, 2 s are at risk at most."""


@dataclass(frozen=True, slots=True)
class Utterance:
    """A stretch of speech of one mic; `start` and `end` are samples of its session."""

    session_id: str
    number: int
    mic: str
    speaker: str
    language: str | None
    start: int
    end: int
    attempts: int = 0
    recovered: bool = False

    @property
    def id(self) -> str:
        return f"{self.session_id}/{self.mic}/{self.number}"

    @property
    def duration_s(self) -> float:
        return (self.end - self.start) / SAMPLE_RATE


class Recording:
    """The audio file of an utterance being spoken. Owned by the listener thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pending = bytearray()
        self._synced_at = time.monotonic()
        self._file = path.open("xb", buffering=0)

    def append(self, samples: npt.NDArray[np.int16]) -> None:
        self._pending += samples.astype("<i2", copy=False).tobytes()
        if len(self._pending) >= WRITE_BYTES:
            self._flush()
            if time.monotonic() - self._synced_at >= SYNC_S:
                os.fdatasync(self._file.fileno())
                self._synced_at = time.monotonic()

    def finish(self, samples: int) -> None:
        """Keep the first `samples` samples; they are on the disk when this returns."""
        self._flush()
        self._file.truncate(samples * 2)
        os.fsync(self._file.fileno())
        self._file.close()

    def _flush(self) -> None:
        while self._pending:
            written = self._file.write(self._pending)
            del self._pending[:written]


class Utterances:
    """The way of each utterance: open, captured, then a segment (or failed)."""

    def __init__(self, database: Database, folder: Path, *, keep_audio: bool) -> None:
        self._database = database
        self._spool = folder / "spool"
        self._kept = folder / "audio"
        self._failed = folder / "failed"
        self._keep_audio = keep_audio

    def prepare(self) -> None:
        """Make the folders.

        Raises:
            StoreError: the storage folder cannot be written.
        """
        try:
            for folder in (self._spool, self._kept, self._failed):
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise StoreError(f"storage.path: {self._spool} cannot be made: {error}") from error

    def open(
        self, session_id: str, mic: str, speaker: str, language: str | None, start: int
    ) -> tuple[Utterance, Recording]:
        """Somebody has begun to speak: a number, a row and a file for it."""
        with self._database.transaction() as db:
            number = db.execute(
                "UPDATE session SET utterances = utterances + 1 WHERE id=? RETURNING utterances",
                (session_id,),
            ).fetchone()[0]
            db.execute(
                "INSERT INTO utterance (session_id, number, mic, speaker, language, start, state)"
                " VALUES (?, ?, ?, ?, ?, ?, 'open')",
                (session_id, number, mic, speaker, language, start),
            )
            utterance = Utterance(session_id, number, mic, speaker, language, start, start)
            return utterance, Recording(self._audio(utterance))

    def captured(self, utterance: Utterance, end: int) -> None:
        """It has been spoken and its audio is on the disk: it waits for the engine."""
        with self._database.transaction() as db:
            db.execute(
                "UPDATE utterance SET state='captured', end=? WHERE session_id=? AND number=?",
                (end, utterance.session_id, utterance.number),
            )

    def recover(self) -> int:
        """After a crash: what was being spoken ends where its audio ends. Says how many wait."""
        with self._database.transaction() as db:
            for row in db.execute("SELECT * FROM utterance WHERE state='open'").fetchall():
                utterance = _utterance(row)
                audio = self._audio(utterance)
                samples = audio.stat().st_size // 2 if audio.exists() else 0
                db.execute(
                    "UPDATE utterance SET state='captured', end=? WHERE session_id=? AND number=?",
                    (utterance.start + samples, utterance.session_id, utterance.number),
                )
            db.execute("UPDATE utterance SET recovered=1")
            db.execute("UPDATE session SET zero=NULL")
            return int(
                db.execute("SELECT count(*) FROM utterance WHERE state='captured'").fetchone()[0]
            )

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
            raw = self._audio(utterance).read_bytes()
        except OSError as error:
            raise StoreError(f"the audio of {utterance.id} cannot be read: {error}") from error
        return np.frombuffer(raw[: len(raw) // 2 * 2], dtype="<i2").astype(np.int16)

    def backlog_s(self, session_id: str | None = None) -> float:
        """Seconds of speech that wait for the engine."""
        with self._database.reading() as db:
            samples = db.execute(
                "SELECT sum(end - start) FROM utterance WHERE state='captured'"
                " AND (? IS NULL OR session_id=?)",
                (session_id, session_id),
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

    def transcribed(
        self, utterance: Utterance, make: Callable[[int], tuple[Segment, str, str]] | None
    ) -> Segment | None:
        """Commit what the engine made of an utterance, with the message that publishes it.

        Args:
            utterance: the one that was transcribed.
            make: from its `seq` to its segment, topic and payload; None where nothing was said.

        The audio goes only after the commit.
        """
        segment = None
        with self._database.transaction() as db:
            if make is not None:
                segment = self._insert(db, utterance, make)
            db.execute(
                "DELETE FROM utterance WHERE session_id=? AND number=?",
                (utterance.session_id, utterance.number),
            )
        self._release(utterance)
        return segment

    def _insert(
        self,
        db: sqlite3.Connection,
        utterance: Utterance,
        make: Callable[[int], tuple[Segment, str, str]],
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

    def retry(self, utterance: Utterance) -> None:
        """Count an attempt that failed; the utterance waits for another."""
        with self._database.transaction() as db:
            db.execute(
                "UPDATE utterance SET attempts = attempts + 1 WHERE session_id=? AND number=?",
                (utterance.session_id, utterance.number),
            )

    def fail(self, utterance: Utterance, reason: str) -> Path:
        """Give an utterance up: its audio is kept under `failed/`, its row says why."""
        kept = self._failed / self._audio(utterance).name
        with self._database.transaction() as db:
            db.execute(
                "UPDATE utterance SET state='failed', reason=? WHERE session_id=? AND number=?",
                (reason, utterance.session_id, utterance.number),
            )
        if self._audio(utterance).exists():
            self._audio(utterance).replace(kept)
        return kept

    def forget_audio(self, session_id: str) -> None:
        """Remove every audio file of a session."""
        for folder in (self._spool, self._kept, self._failed):
            for file in folder.glob(f"{session_id}.*.s16le"):
                file.unlink(missing_ok=True)

    def _release(self, utterance: Utterance) -> None:
        audio = self._audio(utterance)
        if self._keep_audio:
            audio.replace(self._kept / audio.name)
        else:
            audio.unlink(missing_ok=True)

    def _audio(self, utterance: Utterance) -> Path:
        """Names come from our own ids and mic slugs, never from a payload."""
        name = f"{utterance.session_id}.{utterance.number:05}.{utterance.mic}.s16le"
        return self._spool / name


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
    )
