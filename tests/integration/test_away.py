"""A real node that shares work out, and a worker of the tests that does with it what it likes."""

from __future__ import annotations

import queue
from typing import TYPE_CHECKING, Any

import pytest

from node.core.work.messages import ModelId, ResultPart
from tests.model.sentences import SENTENCES
from tests.rig.mqtt import Watcher
from tests.rig.node import RunningNode, configuration
from tests.rig.processes import wait_until
from tests.rig.scripted_worker import OWN, RESPONSE, Scripted
from tests.rig.workers import fill, stored

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.rig.broker import Broker

PATIENCE_S = 30


@pytest.fixture
def worker(broker: Broker) -> Iterator[Scripted]:
    with Scripted(broker.port) as scripted:
        yield scripted


@pytest.fixture
def node(tmp_path: Path, broker: Broker, watcher: Watcher) -> RunningNode:
    """A node that is not started yet. The watcher is connected before it."""
    assert watcher.count() == 0
    own = {"where": "broker", "hotwords": ["Kowalski"], "languages": ["en"]}
    return RunningNode(tmp_path, configuration(tmp_path, broker.port, [], transcription=own))


def segments(watcher: Watcher, count: int) -> list[dict[str, Any]]:
    def come() -> list[dict[str, Any]] | None:
        found = [m.json() for m in watcher.messages("scribe/lab/mic/+/segment")]
        return found if len(found) >= count else None

    return wait_until(come, PATIENCE_S, f"{count} segments") or []


def test_one_utterance_of_each_speaker_is_away_and_texts_keep_their_order(
    node: RunningNode, worker: Scripted, watcher: Watcher
) -> None:
    ids = fill(node.storage, dict.fromkeys(("desk", "door", "wall"), SENTENCES[5:8]))
    texts: dict[str, str] = {}
    with node:
        for _ in range(3):
            asked = [worker.next() for _ in range(3)]
            assert {each.mic for each in asked} == {"desk", "door", "wall"}
            with pytest.raises(queue.Empty):
                worker.asked.get(timeout=0.3)
            for each in sorted(asked, key=lambda each: each.mic, reverse=True):
                key = each.request.id.partition("/")[2]
                texts[key] = worker.answer(each)
        found = segments(watcher, 9)
        assert node.end() == 0
    assert [segment["id"] for segment in found] == ids
    assert [segment["text"] for segment in found] == [texts[key] for key in ids]
    # What is sent again and again is what the node knows of its speaker.
    assert [asked.request.hotwords for asked in asked] == ["Kowalski"] * 3
    assert [asked.request.languages for asked in asked] == [["en"]] * 3
    assert {asked.request.prior is not None for asked in asked} == {True}
    assert {len(asked.request.earlier) for asked in asked} == {2}
    assert {asked.request.model for asked in asked} == {OWN}
    for each in asked:
        assert each.qos == 1
        assert each.properties.ResponseTopic == RESPONSE
        assert each.properties.CorrelationData == each.request.id.encode()
        assert abs(each.properties.MessageExpiryInterval - each.request.deadline_s) <= 1


def test_answers_that_are_late_doubled_or_no_answers(
    node: RunningNode, worker: Scripted, watcher: Watcher
) -> None:
    fill(node.storage, {"desk": SENTENCES[5:7]})
    with node:
        first = worker.next()
        for garbage in (b"", b"{}", b"\xff", bytes(300_000), b'{"schema":2}'):
            worker.publish(RESPONSE, garbage)
        worker.publish(RESPONSE, b"x", CorrelationData=first.properties.CorrelationData)
        worker.answer(first, id="someone/else", result=RESULT)
        worker.answer(first, model=ModelId(name="model", sha256="0" * 64), result=RESULT)
        again = worker.next()  # the deadline has passed, or that answer was of another model
        assert again.request.id == first.request.id
        text = worker.answer(again)
        worker.answer(first, "Too late.")
        second = worker.next()
        worker.answer(again, "Much too late.")
        other = worker.answer(second)
        worker.answer(second, "Twice.")
        found = segments(watcher, 2)
        assert node.end() == 0
    assert [segment["text"] for segment in found] == [text, other]
    assert len(stored(node.storage)) == 2


RESULT = ResultPart(text="Wrong.", language="en", language_probability=1.0, confidence=0.9)


def test_what_is_not_answered_is_sent_again(
    node: RunningNode, worker: Scripted, watcher: Watcher
) -> None:
    fill(node.storage, {"desk": SENTENCES[5:6]})
    with node:
        for code in ("busy", "stopping", "wrong_model", "unsupported_schema"):
            worker.refuse(worker.next(), code)
        silent = worker.next()  # not answered: its deadline passes
        deadline_s = silent.request.deadline_s
        again = worker.next()
        assert again.request.id == silent.request.id
        assert again.request.deadline_s > deadline_s
        text = worker.answer(again)
        assert [segment["text"] for segment in segments(watcher, 1)] == [text]
        assert node.end() == 0


def test_an_utterance_on_which_three_workers_fail_is_set_aside(
    node: RunningNode, worker: Scripted, watcher: Watcher
) -> None:
    ids = fill(node.storage, {"desk": SENTENCES[5:7]})
    with node:
        for name, code in (("w1", "failed"), ("w1", "failed"), ("w2", "bad_request")):
            worker.refuse(worker.next(), code, name)
        worker.refuse(worker.next(), "failed", "w3")
        good = worker.answer(worker.next())
        event = watcher.wait_for(is_event("transcription_failed"), PATIENCE_S).json()
        assert "the worker w3: it says so" in event["message"]
        assert [(s["id"], s["text"]) for s in segments(watcher, 1)] == [(ids[1], good)]
        assert node.end() == 0
    assert len(list((node.storage / "failed").glob("*"))) == 1


def test_a_broker_that_has_nobody_to_send_to(tmp_path: Path, broker: Broker) -> None:
    """A status that is older than its worker: the broker says that there are no subscribers."""
    own = {"where": "broker"}
    node = RunningNode(tmp_path, configuration(tmp_path, broker.port, [], transcription=own))
    fill(node.storage, {"desk": SENTENCES[5:6]})
    received = "Received PUBLISH from scribe:lab:work ("
    watcher = Watcher(broker.port, topics=("scribe/lab/#",))  # of work, it hears nothing
    with watcher, Scripted(broker.port, subscribes=False), node:
        wait_until(lambda: broker.log().count(received) >= 3, PATIENCE_S, "it is sent again")
        assert "has answered" not in node.program.output()  # nobody was late: nobody was there
        with Scripted(broker.port) as worker:
            worker.answer(worker.next())
            segments(watcher, 1)
        assert node.end() == 0


def is_event(kind: str) -> Any:
    return lambda m: m.topic == "scribe/lab/event" and m.json()["event_type"] == kind
