"""The states of an utterance: open while it is spoken, captured, then a segment, or given up.

Most commits are not synced: what a power cut undoes is found again by the names of the audio files
(see `audio`), though not its language, nor whose speech it was. A segment is synced before its
audio is removed.
"""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from typing import TYPE_CHECKING

from node.adapters.store.audio import MAX_CRASHES, AudioFolder, Recording, Utterance
from node.adapters.store.raw_sounds import RawSounds
from node.adapters.store.reading import BODY
from node.adapters.store.rows import (
    Made,
    OutboxRow,
    adopt,
    insert_segment,
    insert_utterance,
    judged,
    next_number,
    overlaps,
    utterance_of,
    withdraw_segment,
)
from node.core.model import SAMPLE_RATE
from node.errors import StoreError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Collection, Iterable
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from node.adapters.store.damage import Damage
    from node.adapters.store.database import Database
    from node.core.model import Segment
    from node.core.room.endpointing import Ended


log = logging.getLogger(__name__)

WAITS = "state='captured' AND NOT unwanted"
"""Condition for the rows of utterances that wait for the engine."""


class Utterances:
    """Rows and audio files together. Can be used from any thread."""

    def __init__(self, database: Database, audio: AudioFolder, damage: Damage) -> None:
        self._database = database
        self._damage = damage
        self._audio = audio
        self._in_memory: Counter[str] = Counter()
        self._captured_at: dict[str, float] = {}
        self._raw = RawSounds()

    def open(
        self, session_id: str, mic: str, speaker: str, language: str | None, start: int
    ) -> tuple[Utterance, Recording]:
        """Start an utterance: give it a number, a row and a file.

        Raises:
            StoreError: the disk fails.
        """
        recording = None
        try:
            with self._database.transaction() as db:
                number = next_number(db, session_id)
                utterance = Utterance(session_id, number, mic, speaker, language, start, start)
                insert_utterance(db, utterance, "open")
                recording = self._audio.record(utterance)
        except (StoreError, OSError) as error:
            if recording is not None:  # the commit failed
                recording.discard()
            raise StoreError(f"{self._audio.spool}: {error}") from error
        return utterance, recording

    def hold(self, session_id: str, utterances: int) -> None:
        """Count utterances of a session that have ended and wait in memory for the disk.

        Only the listener calls this: with 1 before one leaves its hands, and with -1 once the disk
        has it, or it is given up.
        """
        self._in_memory[session_id] += utterances

    def captured(self, utterance: Utterance, ended: Ended) -> None:
        """Mark an utterance as spoken, with its audio on the disk: it waits for the engine."""
        with self._database.transaction() as db:
            db.execute(
                "UPDATE utterance SET state='captured', end=?, speech_start=?, speech_end=?,"
                " crosstalk_of=? WHERE session_id=? AND number=?",
                (
                    ended.end,
                    *ended.speech,
                    ended.crosstalk_of,
                    utterance.session_id,
                    utterance.number,
                ),
            )
        self._captured_at[utterance.id] = time.monotonic()
        if ended.raw is not None:
            self._raw.put(utterance.id, ended.raw)

    def captured_at(self, utterance: Utterance) -> float | None:
        """Return the monotonic time it was captured; None if an earlier process captured it."""
        return self._captured_at.get(utterance.id)

    def discard(self, utterance: Utterance, recording: Recording) -> None:
        """Remove an utterance that was not the mic's own, without a trace. Can be repeated.

        The sound goes first: if a crash leaves only the row, `recover` removes it.

        Raises:
            StoreError, OSError: the disk fails.
        """
        recording.discard()
        with self._database.transaction() as db:
            _strike_off(db, utterance)

    def withdraw(
        self, utterance: Utterance, other: str, *, keep: bool, tell: Callable[[Segment], OutboxRow]
    ) -> Segment | None:
        """Mark a captured utterance as the speech of the mic `other`. Can be repeated.

        Whether it waits, is with the engine or is already a segment, it ends as a segment with
        `crosstalk_of`; or as none, if it is not a segment yet and `keep` is false.

        Args:
            utterance: one that has been captured.
            other: the mic whose own utterance has what was said.
            keep: whether to transcribe it anyway.
            tell: makes the message that withdraws a segment, sent after the segment's own.

        Returns:
            Its segment, if this call withdrew one.

        Raises:
            StoreError: the disk fails.
        """
        with self._database.transaction(durable=True) as db:
            marked = db.execute(
                "UPDATE utterance SET crosstalk_of=?, unwanted=? WHERE session_id=? AND number=?",
                (other, not keep, utterance.session_id, utterance.number),
            )
            return None if marked.rowcount else withdraw_segment(db, utterance, other, tell)

    def drop_unwanted(self) -> list[Utterance]:
        """Remove withdrawn utterances of which no text is wanted, without a trace; return them.

        For the transcribing thread, between two utterances: it may be reading their sound. If the
        disk fails in the middle, those that are gone are returned: no later call would find them.

        Raises:
            StoreError: the disk fails, and none was removed.
        """
        with self._database.reading() as db:
            rows = db.execute("SELECT * FROM utterance WHERE state='captured' AND unwanted")
            unwanted = self._read(rows.fetchall())
        gone: list[Utterance] = []
        for utterance in unwanted:
            try:
                self._drop(utterance)
            except StoreError:
                if not gone:
                    raise
                break  # the next call meets the fault again
            gone.append(utterance)
        return gone

    def _drop(self, utterance: Utterance) -> None:
        try:
            self._audio.discard(utterance)
        except OSError as error:
            raise StoreError(f"{self._audio.spool}: {error}") from error
        with self._database.transaction() as db:
            _strike_off(db, utterance)
        self._forget(utterance)

    def recover(self) -> int:
        """After a crash, end open utterances where their audio ends; return how many wait.

        Raises:
            StoreError: the disk fails.
        """
        try:
            return self._recover()
        except OSError as error:
            raise StoreError(f"{self._audio.spool}: {error}") from error

    def _recover(self) -> int:
        for name in self._audio.set_strangers_aside():
            self._damage.report(
                f"{name} in the spool is not the sound of an utterance; it is now in failed/"
            )
        with self._database.transaction() as db:
            for row in db.execute("SELECT * FROM utterance WHERE state='open'").fetchall():
                utterance = utterance_of(row)
                samples = self._audio.samples(utterance)
                if samples is None:  # it was being discarded
                    _strike_off(db, utterance)
                    continue
                db.execute(
                    "UPDATE utterance SET state='captured', end=? WHERE session_id=? AND number=?",
                    (utterance.start + samples, utterance.session_id, utterance.number),
                )
            self._adopt_strays(db)
            db.execute("UPDATE utterance SET recovered=1")
            db.execute("UPDATE session SET zero=NULL")
            count = f"SELECT count(*) FROM utterance WHERE {WAITS}"  # noqa: S608  # WAITS is ours
            return int(db.execute(count).fetchone()[0])

    def _adopt_strays(self, db: sqlite3.Connection) -> None:
        """Add rows for sound that has none, and remove sound that is already a segment."""
        for stray in self._audio.waiting():
            row = db.execute(
                "SELECT state FROM utterance WHERE session_id=? AND number=?",
                (stray.session_id, stray.number),
            ).fetchone()
            if row is not None:
                if row["state"] == "failed":
                    self._audio.give_up(stray)
            elif db.execute("SELECT 1 FROM segment WHERE id=?", (stray.id,)).fetchone():
                self._audio.release(stray)
            else:
                adopt(db, stray)

    def next(
        self,
        most: int = 1,
        *,
        replayed_first: bool = False,
        without: Collection[str] = (),
    ) -> list[Utterance]:
        """Return what has waited longest since its speech ended, at most `most` utterances.

        Late speech comes after what people say now, or before it: the two are never mixed.
        `without` are the ids of utterances to skip.
        """
        with self._database.reading() as db:
            rows = db.execute(
                "SELECT utterance.* FROM utterance JOIN session ON session.id = session_id"
                " WHERE utterance.state='captured' AND NOT unwanted"
                " ORDER BY recovered = ?, started_at, coalesce(speech_end, end), end LIMIT ?",
                (not replayed_first, most + len(without)),
            ).fetchall()
        found = [each for each in self._read(rows) if each.id not in without][:most]
        return [each for each in found if each.recovered == found[0].recovered]

    def put_off(self, utterance: Utterance) -> None:
        """Mark an utterance as late for a reason other than load, as if from an earlier run."""
        with self._database.transaction() as db:
            db.execute(
                "UPDATE utterance SET recovered=1 WHERE session_id=? AND number=?",
                (utterance.session_id, utterance.number),
            )
        self._captured_at.pop(utterance.id, None)

    def overlapped(self, utterance: Utterance) -> bool:
        """Return whether somebody speaks or spoke at another mic during its speech."""
        start, end = utterance.spoken
        with self._database.reading() as db:
            return overlaps(db, utterance, start, end)

    def audio(self, utterance: Utterance) -> npt.NDArray[np.int16]:
        """Return its samples, int16 at 16 kHz.

        Raises:
            OSError: the file is gone or cannot be read.
        """
        return self._audio.read(utterance)

    def raw_audio(self, utterance: Utterance) -> npt.NDArray[np.int16] | None:
        """Return its sound before others' speech was taken out, if that is still in memory."""
        return self._raw.get(utterance.id)

    def forget_raw_audio(self, session_id: str) -> None:
        """Forget all raw sound of a session: it is being erased."""
        self._raw.forget(session_id)

    def _forget(self, utterance: Utterance) -> None:
        """Forget what only this process knows of one that no longer waits."""
        self._captured_at.pop(utterance.id, None)
        self._raw.drop(utterance.id)

    def backlog_s(self, session_id: str | None = None) -> float:
        """Return the seconds of speech that wait for the engine."""
        with self._database.reading() as db:
            samples = db.execute(
                f"SELECT sum(end - start) FROM utterance WHERE {WAITS}"  # noqa: S608  # ours
                " AND (?1 IS NULL OR session_id=?1)",
                (session_id,),
            ).fetchone()[0]
        return (samples or 0) / SAMPLE_RATE

    def queue(self, without: Collection[str] = ()) -> tuple[Utterance | None, float]:
        """Return this process's longest waiting utterance, and the seconds that wait.

        `without` are the ids of utterances that do not count.
        """
        with self._database.reading() as db:
            rows = db.execute(
                "SELECT *, sum(end - start) OVER () AS samples FROM utterance"  # noqa: S608  # ours
                f" WHERE {WAITS} AND NOT recovered"
                " AND session_id || '/' || mic || '/' || number"
                " NOT IN (SELECT value FROM json_each(?))"
                " ORDER BY coalesce(speech_end, end) LIMIT 1",
                (json.dumps(list(without)),),
            ).fetchall()
        for utterance in self._read(rows):
            return utterance, rows[0]["samples"] / SAMPLE_RATE
        return None, 0.0

    def _read(self, rows: Iterable[sqlite3.Row]) -> list[Utterance]:
        """Return the utterances of rows; if any is damaged, none until it is set aside."""
        try:
            return [utterance_of(row) for row in rows]
        except (ValueError, TypeError):
            self._damage.sift()
            return []

    def tried(self, utterance: Utterance) -> bool:
        """Return whether the engine failed on it, or a process died during it."""
        return utterance.attempts > 0 or self._audio.crashes(utterance) > 0

    def waiting(self, session_id: str) -> int:
        """Return the number of utterances of a session that are not segments yet."""
        # Read first: what leaves it meanwhile is on the disk, and counted there.
        in_memory = self._in_memory[session_id]
        with self._database.reading() as db:
            query = "SELECT count(*) FROM utterance WHERE session_id=? AND state != 'failed'"
            return in_memory + int(db.execute(query, (session_id,)).fetchone()[0])

    def last_sample(self, session_id: str) -> int:
        """Return the sample at which the last sound of a session ends."""
        with self._database.reading() as db:
            row = db.execute(
                "SELECT max(end) FROM (SELECT end FROM utterance WHERE session_id=?1 UNION ALL"  # noqa: S608  # BODY is ours
                f" SELECT json_extract({BODY}, '$.end') FROM segment WHERE session_id=?1)"
                " WHERE typeof(end) = 'integer'",
                (session_id,),
            ).fetchone()
        return int(row[0] or 0)

    def attempt(self, utterance: Utterance) -> bool:
        """Note that the engine starts on it; return False if too many processes died at it."""
        if self._audio.crashes(utterance) >= MAX_CRASHES:
            return False
        try:
            self._audio.mark(utterance)
        except OSError as error:  # a full disk must not stop the engine from emptying it
            raise StoreError(f"{self._audio.spool}: {error}") from error
        return True

    def survived(self, utterance: Utterance) -> None:
        """Note that the engine has finished, successful or not: no process died.

        Raises:
            StoreError: the disk fails.
        """
        try:
            self._audio.unmark(utterance)
        except OSError as error:
            raise StoreError(f"{self._audio.spool}: {error}") from error

    def transcribed(
        self, utterance: Utterance, make: Callable[[int], Made] | None
    ) -> Segment | None:
        """Commit what the engine made of an utterance, with the message that publishes it.

        Args:
            utterance: the one that was transcribed.
            make: makes its segment, topic and payload from its `seq`; None if nothing was said.

        The audio is removed only after the commit is on the disk. What was withdrawn meanwhile
        becomes a segment with `crosstalk_of`, or none.
        """
        segment = None
        with self._database.transaction(durable=True) as db:
            known = judged(db, utterance)
            if known is not None:
                segment = insert_segment(db, known, make) if make is not None else None
                _strike_off(db, utterance)
        if known is None:  # its sound goes first: after a crash it would be taken for its mic's own
            self._drop(utterance)
            return None
        self._forget(utterance)
        try:
            self._audio.release(utterance)
        except OSError as error:
            log.warning("the audio of %s stays until the next start: %s", utterance.id, error)
        return segment

    def retry(self, utterance: Utterance) -> None:
        """Count a failed attempt; the utterance waits for another."""
        with self._database.transaction() as db:
            db.execute(
                "UPDATE utterance SET attempts = attempts + 1 WHERE session_id=? AND number=?",
                (utterance.session_id, utterance.number),
            )

    def fail(self, utterance: Utterance, reason: str) -> Path:
        """Give up on an utterance: its row says why, and its audio is kept in `failed/`.

        Returns:
            Where its audio is: in the spool until the next start, if it cannot be moved now.

        Raises:
            StoreError: the disk fails.
        """
        with self._database.transaction(durable=True) as db:
            db.execute(
                "UPDATE utterance SET state='failed', reason=? WHERE session_id=? AND number=?",
                (reason, utterance.session_id, utterance.number),
            )
        self._forget(utterance)
        try:
            return self._audio.give_up(utterance)
        except OSError as error:
            log.warning("the audio of %s stays until the next start: %s", utterance.id, error)
            return self._audio.spool / utterance.file_name


def _strike_off(db: sqlite3.Connection, utterance: Utterance) -> None:
    db.execute(
        "DELETE FROM utterance WHERE session_id=? AND number=?",
        (utterance.session_id, utterance.number),
    )
