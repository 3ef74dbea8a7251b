"""The outbox of a node under test: filled before it starts, inspected while it runs."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from node.adapters.store import Store
from node.core.model import Segment, Session, started_at_of
from tests.rig.node import TOPIC
from tests.rig.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.rig.mqtt import Watcher
    from tests.rig.node import RunningNode

SEGMENTS = f"{TOPIC}/mic/+/segment"
OLD_SESSION = "20260101T100000Z-00ff"


def fill_outbox(
    storage: Path, numbers: Sequence[int], *, mic: str = "desk", filler: int = 0
) -> None:
    """Put messages from an earlier run into the outbox of a node that is not running."""
    store = Store(storage, keep_audio=False)
    assert store.open() is None
    store.close()
    rows = [
        (
            OLD_SESSION,
            f"{TOPIC}/mic/{mic}/segment",
            json.dumps({"seq": n, "session_id": OLD_SESSION, "replayed": False, "x": "y" * filler}),
        )
        for n in numbers
    ]
    with closing(sqlite3.connect(storage / "scribe.db")) as db, db:
        db.executemany("INSERT INTO outbox (session_id, topic, payload) VALUES (?, ?, ?)", rows)


def past_session(storage: Path, segments: int) -> None:
    """Store a finished session of `segments` segments for a node that is not running."""
    session = Session(OLD_SESSION, started_at_of(OLD_SESSION))
    session.ended_at = session.started_at
    store = Store(storage, keep_audio=False)
    store.open()
    store.sessions.begin(session, 0.0)
    store.sessions.stopping(session)
    store.sessions.finish(session, [])
    store.close()
    rows = []
    for n in range(1, segments + 1):
        text = "Nous avons un cours lundi à sept heures."
        id_ = f"{session.id}/desk/{n}"
        one = Segment(id_, session.id, n, "desk", "Alice", n * 16000, n * 16000, text, "fr", 1, 1)
        rows.append((session.id, n, id_, json.dumps(asdict(one))))
    with closing(sqlite3.connect(storage / "scribe.db")) as db, db:
        db.executemany("INSERT INTO segment (session_id, seq, id, body) VALUES (?, ?, ?, ?)", rows)


def waiting(storage: Path) -> int:
    """Return the number of messages in the outbox that have not been set aside."""
    with closing(sqlite3.connect(f"file:{storage}/scribe.db?mode=ro", uri=True)) as db:
        return int(db.execute("SELECT count(*) FROM outbox WHERE refused IS NULL").fetchone()[0])


def wait_waiting(node: RunningNode, count: int) -> None:
    wait_until(lambda: waiting(node.storage) == count, 20, f"{count} messages wait on the disk")


def set_aside(storage: Path) -> list[str]:
    with closing(sqlite3.connect(f"file:{storage}/scribe.db?mode=ro", uri=True)) as db:
        query = "SELECT refused FROM outbox WHERE refused IS NOT NULL ORDER BY id"
        return [row[0] for row in db.execute(query)]


def come(watcher: Watcher) -> list[dict[str, Any]]:
    """Return segments as a subscriber has them: in order of arrival, without repeats."""
    bodies = [message.json() for message in watcher.messages(SEGMENTS)]
    return list({(body["session_id"], body["seq"]): body for body in bodies}.values())


def wait_all(watcher: Watcher, numbers: Sequence[int], timeout: float) -> None:
    """Wait for exactly these `seq`, and check that they came in order."""
    wait_until(lambda: len(come(watcher)) >= len(numbers), timeout, f"{len(numbers)} segments")
    assert [body["seq"] for body in come(watcher)] == list(numbers)
