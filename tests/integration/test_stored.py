"""The node's database as read-only commands open it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from node.adapters.store import DATABASE, Sessions, Store
from node.adapters.store.database import Database
from node.core.clocks import ClockState, SessionClock
from node.core.model import Session
from node.errors import StoreError

if TYPE_CHECKING:
    from pathlib import Path

ID, OTHER = "20261122T100000Z-3f9c", "20261122T100000Z-00aa"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    store = Store(tmp_path, keep_audio=False)
    store.open()
    began = datetime(2026, 11, 22, 10, tzinfo=UTC)
    store.sessions.begin(Session(ID, began, "Budget"), 0.0)
    store.close()
    return tmp_path / DATABASE


def test_a_damaged_letter_keeps_nothing_else_from_being_read(file: Path) -> None:
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("UPDATE session SET title=CAST(x'42ff64676574' AS TEXT)")
    with Database.looked_at(file) as database:
        (session,), _ = Sessions(database).page(1, 0)
    assert session["title"] == "B\N{REPLACEMENT CHARACTER}dget"


def test_group_node_and_clock_are_kept(tmp_path: Path) -> None:
    began = datetime(2026, 11, 22, 10, tzinfo=UTC)
    clock = SessionClock(ClockState(False, 16000.0))
    session = Session(ID, began, node="kitchen", group="réunion", clock=clock)
    store = Store(tmp_path, keep_audio=False)
    store.open()
    store.sessions.begin(session, 0.0)
    store.sessions.begin(Session(OTHER, began), 0.0)
    session.clock = clock.stopped(ClockState(True, 4.5), began, began + timedelta(seconds=2), 1.5)
    store.sessions.stopping(session)
    store.close()
    store.open()
    assert store.sessions.get(ID) == session
    (listed,), total = store.sessions.page(9, 0, "réunion")
    assert (listed["session_id"], listed["group"], total) == (ID, "réunion", 1)
    assert listed["clock"]["shift_ms"] == 500.0
    assert store.sessions.page(9, 0)[1] == 2
    assert store.sessions.page(9, 0, "dinner") == ([], 0)
    store.close()


def test_nothing_can_be_written(file: Path) -> None:
    refused = pytest.raises(StoreError, match="readonly")
    with refused, Database.looked_at(file) as database, database.reading() as db:
        db.execute("DELETE FROM session")
