"""The SQLite file: its schema, its durability and its transactions."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from node.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SCHEMA_VERSION = 1

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
    state TEXT NOT NULL CHECK (state IN ('open', 'captured', 'failed')),
    attempts INTEGER NOT NULL DEFAULT 0,
    recovered INTEGER NOT NULL DEFAULT 0,
    reason TEXT,
    PRIMARY KEY (session_id, number)
);
CREATE TABLE segment (
    session_id TEXT NOT NULL, seq INTEGER NOT NULL,
    id TEXT NOT NULL UNIQUE, body TEXT NOT NULL,
    PRIMARY KEY (session_id, seq)
);
CREATE TABLE outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    session_id TEXT NOT NULL, topic TEXT NOT NULL, payload TEXT NOT NULL
);
"""


class Database:
    """One connection shared by the node's threads; a lock makes every transaction one of its own.

    WAL with `synchronous=FULL`: what a commit has returned from survives a power cut.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None

    def open(self) -> None:
        """Open the file, making it where there is none.

        Raises:
            StoreError: it cannot be opened, or was written by a newer version.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            connection = sqlite3.connect(
                self._path, check_same_thread=False, isolation_level=None, timeout=10
            )
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                connection.executescript(
                    f"BEGIN; {SCHEMA} PRAGMA user_version={SCHEMA_VERSION}; COMMIT;"
                )
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"storage.path: {self._path} cannot be opened: {error}") from error
        if version > SCHEMA_VERSION:
            connection.close()
            raise StoreError(
                f"storage.path: {self._path} was written by a newer version of Scribe Node;"
                " install that version, or give another folder"
            )
        self._connection = connection

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A transaction: all of it is on the disk when the block is left, or none of it.

        Raises:
            StoreError: the disk or the file refuses.
        """
        with self._lock:
            assert self._connection is not None, "the database is not open"
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                try:
                    yield self._connection
                except BaseException:
                    self._connection.execute("ROLLBACK")
                    raise
                self._connection.execute("COMMIT")
            except sqlite3.Error as error:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise StoreError(f"{self._path}: {error}") from error

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The connection, to read from."""
        with self._lock:
            assert self._connection is not None, "the database is not open"
            try:
                yield self._connection
            except sqlite3.Error as error:
                raise StoreError(f"{self._path}: {error}") from error
