"""A garbled utterance at the workers, which hear it once more in its raw sound."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from node.core.overload import Load
from node.core.work.messages import ResultPart
from node.service.transcribing import sharing
from node.service.transcribing.backlog import Backlog
from tests.model.sentences import SENTENCES
from tests.rig.workers import RunningWorker

if TYPE_CHECKING:
    from pathlib import Path

    from tests.rig.broker import Broker
    from tests.rig.scripted_worker import Asked, Scripted
    from tests.rig.sharer import Sharer

PATIENCE_S = 30


@pytest.mark.parametrize(("load", "right"), [(Load.NORMAL, True), (Load.NO_PARTIALS, False)])
def test_a_worker_hears_what_is_garbled_in_its_raw_sound_if_there_is_time(
    sharer: Sharer,
    broker: Broker,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    load: Load,
    *,
    right: bool,
) -> None:
    monkeypatch.setattr(Backlog, "load", load)
    sharer.say_garbled()
    with RunningWorker(tmp_path, "w1", broker.port), sharer:
        (text,) = sharer.texts(1)
    assert text is not None
    assert (text == SENTENCES[6].text) is right


class Doubtful:
    """A garbled utterance of which a worker has told the first text: the second one is asked."""

    def __init__(self, sharer: Sharer, worker: Scripted) -> None:
        sharer.say_garbled()
        self.sharer, self.worker = sharer, worker
        self.first = worker.next()
        self.tell(self.first, "First.", 0.4)
        self.second = worker.next()
        assert self.second.request.id == f"{self.first.request.id}/again"
        assert self.second.request.samples == self.first.request.samples
        assert self.second.sound != self.first.sound

    def tell(self, asked: Asked, text: str, confidence: float) -> None:
        result = ResultPart(
            text=text, language="en", language_probability=1.0, confidence=confidence
        )
        self.worker.answer(asked, result=result)


@pytest.mark.parametrize(("confidence", "text"), [(0.5, "Second."), (0.45, "First.")])
def test_the_surer_of_two_texts_is_taken(
    sharer: Sharer, worker: Scripted, confidence: float, text: str
) -> None:
    with sharer:
        doubtful = Doubtful(sharer, worker)
        sharer.say(1)  # waits for what its speaker said before
        doubtful.tell(doubtful.second, "Second.", confidence)
        assert sharer.texts(1) == [text]
        worker.answer(worker.next())


@pytest.mark.parametrize("fault", ["silence", "failed", "offline"])
def test_the_first_text_is_taken_where_the_second_does_not_come(
    sharer: Sharer, worker: Scripted, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr(sharing, "OUTAGE_S", 0.5)
    with sharer:
        doubtful = Doubtful(sharer, worker)
        if fault == "failed":
            worker.refuse(doubtful.second, "failed")
        elif fault == "offline":
            worker.says("offline")
        assert sharer.texts(1) == ["First."]
        worker.says("online")
        doubtful.tell(doubtful.second, "Too late.", 0.9)
        sharer.say(1)
        asked = worker.next()  # not that one again
        assert "/again" not in asked.request.id
        last = worker.answer(asked)
        assert sharer.texts(2) == ["First.", last]


def test_a_worker_that_is_busy_is_no_reason_to_hear_it_only_once(
    sharer: Sharer, worker: Scripted
) -> None:
    with sharer:
        doubtful = Doubtful(sharer, worker)
        worker.refuse(doubtful.second, "busy")
        doubtful.tell(worker.next(), "Second.", 0.9)
        assert sharer.texts(1) == ["Second."]
