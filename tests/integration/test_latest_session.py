"""Which session a request means that names none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pytest

from node.adapters.systemd import Notifier
from node.config import load_config
from node.core.model import SAMPLE_RATE, Session
from node.service.parts import Parts
from tests.rig.node import MODEL

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BEGAN = datetime(2026, 12, 1, 9, tzinfo=UTC)


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    """All parts of a node, of which none is started but the store."""
    file = tmp_path / "node.yaml"
    file.write_text(
        f"storage: {{path: {tmp_path / 'storage'}}}\ntranscription: {{model: {MODEL}}}\n"
    )
    made = Parts(load_config(file), file, Notifier(), lambda: None)
    made.store.open()
    yield made
    made.store.close()


def begun(parts: Parts, number: int) -> Session:
    start = BEGAN + timedelta(hours=number)
    session = Session(f"{start:%Y%m%dT%H%M%SZ}-aaaa", start, speakers={"desk": "Alice"})
    parts.store.sessions.begin(session, 0.0, [])
    return session


def written(parts: Parts, session: Session) -> None:
    session.ended_at = session.started_at + timedelta(minutes=9)
    parts.archive.finish(session, session.ended_at)


def test_there_is_none_at_first(parts: Parts) -> None:
    assert parts.conductor.latest is None


def test_a_later_one_that_is_written_comes_before_an_earlier_one_that_is_not(parts: Parts) -> None:
    """After a restart, what a crash has left is transcribed beside newer sessions."""
    earlier = begun(parts, 1)
    _, recording = parts.store.utterances.open(earlier.id, "desk", "Alice", None, 0)
    recording.append(np.zeros(SAMPLE_RATE, np.int16))
    recording.finish(SAMPLE_RATE)
    parts.store.utterances.recover()
    parts.conductor.recover(resume=False)
    parts.conductor.on_model_ready()
    parts.conductor.settle()
    assert parts.conductor.latest is parts.conductor.session
    assert parts.conductor.finishing == [earlier.id]
    later = begun(parts, 2)
    written(parts, later)
    latest = parts.conductor.latest
    assert latest is not None
    assert latest.id == later.id
    assert parts.conductor.finishing == [earlier.id]
