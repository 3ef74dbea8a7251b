"""The SQLite file: its schema, its durability and its transactions."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

from node.adapters.store.search_index import holds_the_fault
from node.errors import DamageError, NodeError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SCHEMA_VERSION = 7

BUSY_S = 10

WAL_MAGIC = b"\x37\x7f\x06"
"""The first bytes of SQLite's write-ahead logs (sqlite.org/fileformat2.html, 4.1)."""

SCHEMA = """
CREATE TABLE mic (
    mic TEXT PRIMARY KEY, info TEXT NOT NULL,
    speaker TEXT, language TEXT, enabled INTEGER NOT NULL
);
CREATE TABLE session (
    id TEXT PRIMARY KEY,
    started_at TEXT NOT NULL,   -- wall time of sample 0
    zero REAL,                  -- the same on the monotonic clock of the running process
    ended_at TEXT,
    title TEXT, language TEXT,
    speakers TEXT NOT NULL,     -- JSON, name by mic
    files TEXT NOT NULL,        -- JSON, path by format
    state TEXT NOT NULL CHECK (state IN ('recording', 'stopping', 'done')),
    utterances INTEGER NOT NULL DEFAULT 0,
    segments INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE utterance (
    session_id TEXT NOT NULL, number INTEGER NOT NULL,
    mic TEXT NOT NULL, speaker TEXT NOT NULL, language TEXT,
    start INTEGER NOT NULL,     -- samples of the session at 16 kHz, as is `end`
    end INTEGER,
    speech_start INTEGER, speech_end INTEGER,
    crosstalk_of TEXT,          -- mic whose speech it was, where that was another's
    state TEXT NOT NULL CHECK (state IN ('open', 'captured', 'failed')),
    attempts INTEGER NOT NULL DEFAULT 0,
    recovered INTEGER NOT NULL DEFAULT 0,
    reason TEXT,
    PRIMARY KEY (session_id, number)
);
CREATE TABLE segment (
    id TEXT PRIMARY KEY,
    session_id TEXT NOT NULL, seq INTEGER NOT NULL, body TEXT NOT NULL
);
CREATE INDEX segments_of_session ON segment (session_id, seq);
CREATE TABLE outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    session_id TEXT NOT NULL, topic TEXT NOT NULL, payload TEXT NOT NULL,
    refused TEXT                -- why the broker will never take it
);
"""

RETENTION = """
ALTER TABLE session ADD COLUMN done_at_s REAL;  -- when it was done, on the age clock
CREATE TABLE file (             -- transcript files, those of `session.files` once it is erased
    session_id TEXT NOT NULL, name TEXT NOT NULL, PRIMARY KEY (session_id, name)
);
CREATE TABLE erasure (session_id TEXT PRIMARY KEY, mics TEXT NOT NULL);
CREATE TABLE age (counted_s REAL NOT NULL, wall TEXT NOT NULL);
"""

TIME_LIMIT = "ALTER TABLE session ADD COLUMN max_duration_s REAL;"

DAMAGED_ROWS = """
CREATE TABLE damaged (          -- rows that made no sense when they were read back
    id INTEGER PRIMARY KEY, session_id TEXT,
    origin TEXT NOT NULL,       -- their table
    content TEXT NOT NULL       -- JSON, value by column
);
"""

WITHDRAWN = """
ALTER TABLE session ADD COLUMN withdrawn INTEGER NOT NULL DEFAULT 0;  -- of `segments`: not counted
ALTER TABLE utterance ADD COLUMN unwanted INTEGER NOT NULL DEFAULT 0; -- no text is made of it
"""

_SPOKEN = """
INSERT INTO spoken (segment_id, session_id, start, text)
SELECT {row}.id, {row}.session_id, json_extract(body, '$.start'), json_extract(body, '$.text')
FROM (SELECT iif(json_valid({row}.body), {row}.body, '{{}}') AS body)
WHERE json_extract(body, '$.crosstalk_of') IS NULL
AND typeof(json_extract(body, '$.start')) = 'integer'
AND typeof(json_extract(body, '$.text')) = 'text';
"""

SPOKEN = f"""
CREATE TABLE spoken (           -- the text of the segments that are in transcripts, for the search
    id INTEGER PRIMARY KEY, segment_id TEXT NOT NULL UNIQUE,
    session_id TEXT NOT NULL, start INTEGER NOT NULL, text TEXT NOT NULL
);
CREATE TRIGGER segment_spoken AFTER INSERT ON segment BEGIN {_SPOKEN.format(row="new")} END;
CREATE TRIGGER segment_changed AFTER UPDATE OF body ON segment BEGIN
    DELETE FROM spoken WHERE segment_id=old.id; {_SPOKEN.format(row="new")}
END;
CREATE TRIGGER segment_deleted AFTER DELETE ON segment BEGIN
    DELETE FROM spoken WHERE segment_id=old.id;
END;
UPDATE segment SET body=body;   -- for those that are there already
"""  # noqa: S608  # both are ours

GROUPED = """
ALTER TABLE session ADD COLUMN node TEXT;
ALTER TABLE session ADD COLUMN in_group TEXT;   -- what it shares with other nodes' sessions
ALTER TABLE session ADD COLUMN clock TEXT;      -- JSON, how accurate the clock was
"""

STEPS = (SCHEMA, RETENTION, TIME_LIMIT, DAMAGED_ROWS, WITHDRAWN, SPOKEN, GROUPED)
"""The statements that upgrade the schema to each version from the one before."""

OF_THE_DISK = frozenset(
    {
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
    }
)
"""Result codes caused by the disk or another program: they pass, so the operation is retried."""

OF_THE_CONTENT = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})

TRIM_PATIENCE_MS = 200
"""How long another program that reads the transcripts may delay emptying the log."""


class Database:
    """One connection shared by the node's threads; a lock keeps their transactions apart.

    In WAL mode, every commit survives a crash of the process. A durable commit is synced and also
    survives a power cut, with all commits before it; a power cut can undo the others.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._suspect = path.with_name(f"{path.name}-suspect")
        self._lock = threading.RLock()
        self._only_looks = False
        self._connection: sqlite3.Connection | None = None

    def open(self, prove: Callable[[], object]) -> str | None:
        """Open the file, or create it.

        Args:
            prove: reads what the start needs; an error it raises about the content is damage.

        Returns:
            What was damaged and set aside, in a sentence, or None.

        Raises:
            StoreError: it cannot be opened, or was written by a newer version.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            log = _set_damaged_log_aside(self._path)
            if (damage := self._open(prove)) is None:
                return log
            aside = _set_aside(self._path)
            self._suspect.unlink(missing_ok=True)
            self._connection = _connect(self._path)
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"storage.path: {self._path} cannot be opened: {error}") from error
        return f"the database was damaged ({damage}); it is kept as {aside}, and a new one is used"

    def _open(self, prove: Callable[[], object]) -> str | None:
        """Open the file as it is; if it is damaged, close it and return the damage."""
        if self._path.is_dir():
            return "it is a folder"
        if self._path.exists() and self._path.stat().st_size == 0:
            return "it is empty"
        try:
            self._connection = _connect(self._path, thoroughly=self._suspect.exists())
            prove()
            self._suspect.unlink(missing_ok=True)
        except (sqlite3.Error, NodeError, ValueError, TypeError, KeyError) as error:
            self.close()
            if not _is_damage(error):
                raise
            return str(error)
        return None

    @classmethod
    @contextmanager
    def looked_at(cls, path: Path) -> Iterator[Self]:
        """Open the file of a node that may be running, read-only.

        Raises:
            StoreError: it cannot be opened, or is damaged.
        """
        database = cls(path)
        database._only_looks = True
        try:
            database._connection = _open_to_read(path)
            yield database
        finally:
            database.close()

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def trim(self) -> bool:
        """Move the whole log into the file and empty it; return False if another program reads.

        Raises:
            StoreError: the disk or the file fails.
        """
        with self.reading() as db:
            db.execute(f"PRAGMA busy_timeout={TRIM_PATIENCE_MS}")
            try:
                (busy, _, _) = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            finally:
                db.execute(f"PRAGMA busy_timeout={BUSY_S * 1000}")
        return not busy

    @contextmanager
    def transaction(self, *, durable: bool = False) -> Iterator[sqlite3.Connection]:
        """Run the block as a transaction: all of it is kept when the block is left, or nothing.

        Raises:
            StoreError: the disk fails.
            DamageError: the file is damaged.
        """
        with self._lock, self._judging():
            assert self._connection is not None, "the database is not open"
            self._connection.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Yield the connection, for reading.

        Raises:
            StoreError: the disk fails.
            DamageError: the file is damaged.
        """
        with self._lock, self._judging():
            assert self._connection is not None, "the database is not open"
            yield self._connection

    @contextmanager
    def _judging(self) -> Iterator[None]:
        """Turn errors of SQLite into those of the disk and of the file; any other is a bug."""
        try:
            yield
        except sqlite3.Error as error:
            code = _code(error)
            if code in OF_THE_DISK:
                raise StoreError(f"{self._path}: {error}") from error
            if code in OF_THE_CONTENT:
                self._note_suspicion()
                raise DamageError(
                    f"{self._path} is damaged ({error}); the next start sets it aside"
                ) from error
            raise

    def _note_suspicion(self) -> None:
        """Make the next start check the file thoroughly."""
        if not self._only_looks:
            with suppress(OSError):
                self._suspect.touch()


def _code(error: sqlite3.Error) -> int | None:
    """Return SQLite's primary result code; None for an error of the Python module itself."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def _connect(path: Path, *, thoroughly: bool = False) -> sqlite3.Connection:
    """Open a sound database of this version, or raise sqlite3.DatabaseError.

    `thoroughly`: also compare the indexes with what they index, which takes seconds in a large
    database.
    """
    connection = sqlite3.connect(
        path, check_same_thread=False, isolation_level=None, timeout=BUSY_S
    )
    try:
        _read_as_rows(connection)
        connection.execute("PRAGMA journal_mode=WAL")
        # Overwrite what is deleted, and never sort in files outside the folder.
        connection.execute("PRAGMA secure_delete=ON")
        connection.execute("PRAGMA temp_store=MEMORY")
        check = "integrity_check" if thoroughly else "quick_check"
        fault = _fault(connection, check)
        if fault is not None and not holds_the_fault(connection, lambda: _fault(connection, check)):
            raise sqlite3.DatabaseError(fault)
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > SCHEMA_VERSION:
            raise StoreError(
                f"storage.path: {path} was written by a newer version of Scribe Node; install that"
                " version, or use another folder"
            )
        for number, step in enumerate(STEPS[version:], version + 1):
            connection.executescript(f"BEGIN; {step} PRAGMA user_version={number}; COMMIT;")
    except BaseException:
        connection.close()
        raise
    return connection


def _open_to_read(path: Path) -> sqlite3.Connection:
    """Open a sound database without changing it, or raise StoreError."""
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    except sqlite3.Error as error:
        raise StoreError(f"{path} cannot be read: {error}") from error
    try:
        _read_as_rows(connection)
        if (fault := _fault(connection, "quick_check")) is not None:
            raise StoreError(f"{path} is damaged ({fault}); the next start sets it aside")
    except BaseException as error:
        connection.close()
        if isinstance(error, sqlite3.Error):
            raise StoreError(f"{path} cannot be read: {error}") from error
        raise
    return connection


def _read_as_rows(connection: sqlite3.Connection) -> None:
    connection.row_factory = sqlite3.Row
    # One damaged character must not make the rest of a text unreadable.
    connection.text_factory = lambda text: text.decode(errors="replace")


def _fault(connection: sqlite3.Connection, check: str) -> str | None:
    """The first thing that one of SQLite's checks finds wrong; None for nothing."""
    (found,) = connection.execute(f"PRAGMA {check}(1)").fetchone()
    return None if found == "ok" else str(found)


def _is_damage(error: BaseException | None) -> bool:
    """Return whether the content is at fault, not the disk, a lock or a newer version."""
    if isinstance(error, StoreError):
        return error.__cause__ is not None and _is_damage(error.__cause__)
    if isinstance(error, sqlite3.Error):  # without a code: a check of the file failed
        return _code(error) in {*OF_THE_CONTENT, sqlite3.SQLITE_ERROR, None}
    return True


def _set_damaged_log_aside(path: Path) -> str | None:
    """Set aside a write-ahead log that SQLite would ignore and overwrite; return a sentence."""
    wal = path.with_name(f"{path.name}-wal")
    if not wal.is_file() or wal.stat().st_size == 0:
        return None
    with wal.open("rb") as file:
        if file.read(len(WAL_MAGIC)) == WAL_MAGIC:
            return None
    aside = wal.with_name(f"{wal.name}{_damaged_now()}")
    wal.replace(aside)
    return f"the database's log was damaged; it is kept as {aside}, and its content is missing"


def _damaged_now() -> str:
    return f".damaged-{datetime.now(UTC):%Y%m%dT%H%M%S}"


def _set_aside(path: Path) -> Path:
    """Rename a damaged database and its log files; return its new name."""
    aside = path.with_name(f"{path.name}{_damaged_now()}")
    path.replace(aside)
    for suffix in ("-wal", "-shm"):
        companion = path.with_name(path.name + suffix)
        if companion.exists():
            companion.replace(aside.with_name(aside.name + suffix))
    return aside
