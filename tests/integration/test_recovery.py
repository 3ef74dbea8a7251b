"""What a session's clock is after an interruption, and what the spool's list of files costs."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pytest

from node.adapters.store import Store
from node.adapters.store.ledger import FEW, Ledger
from node.core.model import SAMPLE_RATE, Session
from node.service.recovery import Recovery

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path, keep_audio=False)
    opened.open()
    yield opened
    opened.close()


@pytest.mark.parametrize(
    ("ago", "goes_on_s"),
    [
        (timedelta(minutes=5), 300),
        (timedelta(days=3), 3 * 86_400),
        (timedelta(days=900), 11),  # the clock was years late when it began
        (timedelta(days=-900), 11),
    ],
)
def test_a_resumed_session_goes_on_behind_what_it_has(
    store: Store, ago: timedelta, goes_on_s: float
) -> None:
    began = datetime.now(UTC) - ago
    session = Session(f"{began:%Y%m%dT%H%M%SZ}-aaaa", began, speakers={"desk": "Alice"})
    store.sessions.begin(session, 0.0)
    utterance, recording = store.utterances.open(session.id, "desk", "Alice", None, 0)
    recording.append(np.zeros(10 * SAMPLE_RATE, np.int16))
    recording.finish(10 * SAMPLE_RATE)
    assert utterance.start == 0
    store.utterances.recover()
    zero = Recovery(store.sessions, store.utterances).reopen(session)
    assert time.monotonic() - zero == pytest.approx(goes_on_s, abs=5)


def test_a_list_of_files_forgets_those_that_are_gone(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.put("00000", 1)
    for number in range(1, 10_000):
        ledger.put(f"{number:05}", 1)
        ledger.drop(f"{number:05}")
    ledger.put("90000", 5)
    assert len(ledger._order) <= FEW + 5
    assert (ledger.first(), ledger.total) == ("00000", 6)
    ledger.drop("00000")
    assert ledger.first() == "90000"
