"""One real worker, and a client that asks it for anything."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from node.adapters import flac
from node.adapters.broker import MAX_PACKET_BYTES
from node.core.work.messages import (
    MAX_WORK_BYTES,
    ModelId,
    Work,
    WorkerStatus,
    WorkRequest,
    encode_request,
    encode_status,
)
from node.errors import EXIT_CONFIG, EXIT_FAILED
from node.service.working.program import MAX_FAILING, MAX_JOBS
from tests.model.sentences import SENTENCES
from tests.rig.access import ruled_broker, rules, set_default
from tests.rig.altered_worker import altered
from tests.rig.asker import GOOD, SOUND, Asker
from tests.rig.broker import Broker
from tests.rig.mqtt import Watcher
from tests.rig.processes import open_files, wait_until
from tests.rig.proxy import Proxy
from tests.rig.workers import RunningWorker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PATIENCE_S = 30


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningWorker, Asker]]:
    folder = tmp_path_factory.mktemp("worker")
    with (
        Broker() as broker,
        Watcher(broker.port) as watcher,
        RunningWorker(folder, "attic", broker.port) as worker,
    ):
        worker.wait_online(watcher)
        with Asker(broker.port) as asker:
            yield worker, asker


@pytest.fixture
def asker(house: tuple[RunningWorker, Asker]) -> Iterator[Asker]:
    """Whatever a test sends, the worker then does good work as before."""
    worker, made = house
    yield made
    made.ask(key="the last one")
    answer = made.answer()
    assert answer.id == "the last one"
    assert answer.result is not None
    assert answer.result.text == SENTENCES[6].text
    assert worker.program.process.poll() is None


def test_a_sound_becomes_a_text(asker: Asker) -> None:
    asker.ask(words=True, languages=["en"])
    answer = asker.answer()
    assert (answer.worker, answer.model.name) == ("attic", "model")
    assert answer.engine_s > 0
    assert answer.result is not None
    assert answer.result.language == "en"
    assert " ".join(word.word for word in answer.result.words or ()) == SENTENCES[6].text
    asker.ask(language="fr")
    other = asker.answer()
    assert other.result is not None
    assert other.result.language == "fr"
    assert other.result.words is None


@pytest.mark.parametrize(
    ("sound", "fields", "problem"),
    [
        (b"no FLAC", {}, "has 0 samples"),
        (GOOD[: len(GOOD) // 2], {}, "cannot be decoded"),
        (GOOD, {"samples": 16000}, "longer than the 16000 samples announced"),
        (GOOD, {"samples": 28 * 16000}, "not the 448000 announced"),
        (flac.encode(np.zeros(40 * 60 * 16000, np.int16)), {}, "longer than"),
    ],
    ids=["garbage", "half", "more", "less", "bomb"],
)
def test_sound_that_is_not_what_is_announced_is_refused(
    asker: Asker, sound: bytes, fields: dict[str, Any], problem: str
) -> None:
    assert len(sound) < MAX_WORK_BYTES
    asker.ask(sound, **fields)
    code, message = asker.refusal()
    assert code == "bad_request"
    assert problem in message


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"schema": 2}, "unsupported_schema"),
        ({"schema": "\ud800"}, "unsupported_schema"),
        ({"language": "\ud800"}, "bad_request"),
        ({"samples": -1}, "bad_request"),
        ({"language": "klingon"}, "bad_request"),
        ({"model": {"name": "model", "sha256": "0" * 64}}, "wrong_model"),
        ({"model": {"name": "large-v3"}}, "wrong_model"),
    ],
)
def test_a_request_that_it_cannot_do_is_refused(
    asker: Asker, change: dict[str, Any], code: str
) -> None:
    request = WorkRequest(id="k", model=ModelId(name="model"), samples=len(SOUND))
    line, _, sound = encode_request(Work(request, GOOD)).partition(b"\n")
    asker.send(json.dumps({**json.loads(line), **change}).encode() + b"\n" + sound)
    assert asker.refusal()[0] == code


def test_messages_that_need_no_acknowledgement_get_none(
    house: tuple[RunningWorker, Asker], asker: Asker
) -> None:
    """One would be an error of the protocol, and end the connection."""
    for number in range(3):
        asker.ask(key=str(number), qos=0)
        assert asker.answer().id == str(number)
    assert house[0].program.output().count("connected to the broker") == 1


def test_what_has_no_id_or_no_nodes_topic_gets_no_answer(asker: Asker) -> None:
    request = encode_request(
        Work(WorkRequest(id="k", model=ModelId(name="model"), samples=len(SOUND)), GOOD)
    )
    for payload in (b"", b"\n", b"{}", bytes(1000), b"x" * 1000, bytes(MAX_WORK_BYTES + 10)):
        asker.send(payload)
    asker.send(request, None)
    asker.send(request, "scribe/kitchen/request/session/start")
    asker.send(request, "scribe/kitchen/work/response/more")
    asker.send(request, "home/work/response")
    asker.ask(key="next")
    assert asker.answer().id == "next", "nothing before it was answered"


def test_a_reason_to_refuse_is_logged_once(
    house: tuple[RunningWorker, Asker], asker: Asker
) -> None:
    worker, _ = house
    for key in "012":
        asker.ask(key=key, model=ModelId(name="another"))
        assert asker.refusal()[0] == "wrong_model"
    assert (
        worker.program.output().count("a request is refused: its model is model, not another") == 1
    )


def test_work_that_nobody_waits_for_any_more_is_not_done(asker: Asker) -> None:
    asker.ask(key="too late", deadline_s=0.0)
    asker.ask(key="next")
    assert asker.answer().id == "next"


def test_nothing_is_written_and_nothing_is_left_open(
    house: tuple[RunningWorker, Asker], asker: Asker
) -> None:
    worker, _ = house
    asker.ask()
    asker.answer()
    before = open_files(worker.program.pid)
    for number in range(20):
        asker.ask(b"no FLAC" if number % 2 else GOOD, key=str(number))
        asker.answer()
    assert open_files(worker.program.pid) == before
    assert not worker.storage.exists()
    assert SENTENCES[6].text not in worker.program.output()


LONG = {"ENGINE_LONG_S": "3.5"}
"""Between the sound and twice the sound."""


@pytest.mark.parametrize("fault", ["raise", "hang"])
def test_an_engine_that_fails(tmp_path: Path, broker: Broker, watcher: Watcher, fault: str) -> None:
    env = {**os.environ, "ENGINE_FAULT": fault, **LONG}
    worker = RunningWorker(tmp_path, "w1", broker.port, module="tests.rig.failing_engine", env=env)
    long = np.tile(SOUND, 2)
    with worker, Asker(broker.port) as asker:
        worker.wait_online(watcher)
        asker.ask(flac.encode(long), samples=len(long))
        if fault == "hang":
            assert asker.refusal() == ("failed", "its engine hangs")
            assert worker.program.wait(PATIENCE_S) == EXIT_FAILED
            assert "the engine hangs" in worker.program.output()
        else:
            assert asker.refusal() == ("failed", "its engine failed (RuntimeError)")
            asker.ask()
            assert asker.answer().result is not None


@pytest.fixture
def slow_engine(tmp_path: Path) -> tuple[dict[str, Any], Path]:
    """How to run a worker whose engine takes half a minute, until the file is removed."""
    flag = tmp_path / "slow"
    flag.touch()
    env = {**os.environ, "ENGINE_SLOW_S": "30", "ENGINE_SLOW_WHILE": str(flag)}
    return {"module": "tests.rig.slow_engine", "env": env}, flag


@pytest.fixture
def slow_worker(
    tmp_path: Path, broker: Broker, watcher: Watcher, slow_engine: tuple[dict[str, Any], Path]
) -> Iterator[tuple[RunningWorker, Path]]:
    own, flag = slow_engine
    with RunningWorker(tmp_path, "w1", broker.port, **own) as worker:
        yield worker.wait_online(watcher), flag


def test_its_status_is_published_when_nodes_need_it_and_the_rest_some_time(
    tmp_path: Path, broker: Broker, watcher: Watcher
) -> None:
    """It would be the most frequent message of all: every node hears every worker."""
    own = altered(working__program__STATUS_EVERY_S=0, working__program__COUNTS_EVERY_S=5)
    with RunningWorker(tmp_path, "w1", broker.port, **own) as worker, Asker(broker.port) as asker:
        worker.wait_online(watcher)
        for key in range(30):
            asker.ask(key=str(key))
            asker.answer()
        wait_until(lambda: worker.status(watcher)["answered"] == 30, PATIENCE_S, "counters")
        said = [message.json() for message in watcher.messages(worker.topic)]
    changes = [each["rtf"] for each in said]
    assert len(said) < 15
    assert changes[:2] == [None, said[1]["rtf"]]


def test_a_request_larger_than_any_packet_that_it_takes_does_not_reach_it(
    tmp_path: Path, broker: Broker, watcher: Watcher
) -> None:
    own = altered(working__program__COUNTS_EVERY_S=0)
    with RunningWorker(tmp_path, "w1", broker.port, **own) as worker, Asker(broker.port) as asker:
        worker.wait_online(watcher)
        asker.send(bytes(MAX_PACKET_BYTES))
        asker.ask()
        assert asker.answer().result is not None
        wait_until(lambda: worker.status(watcher)["answered"] == 1, PATIENCE_S, "it is counted")
        assert worker.status(watcher)["refused"] == 0
        assert worker.program.output().count("connected to the broker") == 1


def test_an_engine_that_fails_on_one_request_after_the_other_ends_it(
    tmp_path: Path, broker: Broker, watcher: Watcher
) -> None:
    env = {**os.environ, "ENGINE_FAULT": "raise", **LONG}
    worker = RunningWorker(tmp_path, "w1", broker.port, module="tests.rig.failing_engine", env=env)
    long = np.tile(SOUND, 2)
    with worker, Asker(broker.port) as asker:
        worker.wait_online(watcher)

        def fail(key: str) -> None:
            asker.ask(flac.encode(long), key=key, samples=len(long))
            assert asker.refusal() == ("failed", "its engine failed (RuntimeError)")

        for key in "12":
            fail(key)
        asker.ask(key="good")
        assert asker.answer().result is not None
        for key in "3343":  # the same one again does not count
            fail(key)
        asker.ask(key="good, too")
        assert asker.answer().result is not None
        for key in "567":
            fail(key)
        assert worker.program.wait(PATIENCE_S) == EXIT_FAILED
        assert f"failed on {MAX_FAILING} requests in a row" in worker.program.output()


def test_what_is_sent_again_is_answered_once(
    slow_worker: tuple[RunningWorker, Path], broker: Broker
) -> None:
    _, flag = slow_worker
    with Asker(broker.port) as asker:
        for key in "0010":
            asker.ask(key=key, qos=0)
        asker.ask(b"no FLAC", key="last", qos=0)  # refused when it is its turn
        flag.unlink()
        assert [asker.answer().id for _ in range(3)] == ["0", "1", "last"]


def test_the_broker_keeps_what_is_beyond_its_slots(
    tmp_path: Path, broker: Broker, watcher: Watcher, slow_engine: tuple[dict[str, Any], Path]
) -> None:
    own, flag = slow_engine
    own["worker"] = {"slots": 1}  # with more, mosquitto 2.0.11 does not keep to Receive Maximum
    with RunningWorker(tmp_path, "w1", broker.port, **own) as worker, Asker(broker.port) as asker:
        worker.wait_online(watcher)
        for key in "012":
            asker.ask(key=key)
        asker.publish("marker", b"")
        watcher.wait_for("marker")  # the broker has dealt with what came before
        assert broker.log().count("Sending PUBLISH to scribe:worker:w1 (") == 1
        flag.unlink()
        assert [asker.answer().id for _ in range(3)] == list("012")


def test_an_answer_that_cannot_be_sent_is_kept_until_it_can(
    tmp_path: Path, broker: Broker, watcher: Watcher, slow_engine: tuple[dict[str, Any], Path]
) -> None:
    own, flag = slow_engine
    with (
        Proxy(broker.port) as proxy,
        RunningWorker(tmp_path, "w1", proxy.port, **own) as worker,
        Asker(broker.port) as asker,
    ):
        worker.wait_online(watcher)
        asker.ask(key="kept")
        asker.ask(key="refused", model=ModelId(name="another"))
        assert asker.refusal()[0] == "wrong_model"  # the engine has the one before it
        proxy.close()
        worker.program.wait_output("connection lost", PATIENCE_S)
        flag.unlink()
        worker.program.wait_output("no connection to", PATIENCE_S)
        proxy.open()
        answer = asker.answer()
        assert (answer.id, answer.result is not None) == ("kept", True)


def test_it_gives_back_what_is_far_too_much(
    slow_worker: tuple[RunningWorker, Path], broker: Broker
) -> None:
    _, flag = slow_worker
    with Asker(broker.port) as asker:
        for number in range(MAX_JOBS + 4):  # without QoS 1, the broker does not count them
            asker.ask(key=str(number), qos=0)
        for _ in range(4):
            assert asker.refusal() == ("busy", "its queue is full")
        flag.unlink()
        assert {asker.answer().error for _ in range(MAX_JOBS)} == {None}


def test_what_is_too_much_at_once_is_dropped_counted_and_acknowledged(
    tmp_path: Path, broker: Broker, watcher: Watcher
) -> None:
    """Without that, the broker would wait for ever, and send no more than the slots allow."""
    own = altered(working__worker_inbox__MAX_WAITING=0, working__program__COUNTS_EVERY_S=1)
    with RunningWorker(tmp_path, "w1", broker.port, **own) as worker, Asker(broker.port) as asker:
        slots = worker.wait_online(watcher).status(watcher)["slots"]
        for number in range(slots + 2):
            asker.ask(key=str(number))
        asker.ask(key="last", qos=0)
        wait_until(
            lambda: worker.status(watcher)["dropped"] == slots + 3, PATIENCE_S, "all are dropped"
        )
        assert worker.program.output().count("faster than this worker can take them") == 1


def test_two_workers_of_one_name(tmp_path: Path, broker: Broker, watcher: Watcher) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    older, younger = (RunningWorker(tmp_path / name, "w1", broker.port) for name in ("one", "two"))
    with older:
        older.wait_online(watcher)
        with younger:
            assert older.program.wait(PATIENCE_S) == EXIT_CONFIG
            assert "set worker.id" in older.program.output()
            assert younger.program.process.poll() is None


def test_what_others_say_in_its_name_does_not_stop_it(
    tmp_path: Path, broker: Broker, watcher: Watcher
) -> None:
    """Its own earlier run may have had a clock that was ahead."""
    worker = RunningWorker(tmp_path, "w1", broker.port)
    later = WorkerStatus(state="online", worker="w1", started_at="2999-01-01T00:00:00.000Z")
    with Asker(broker.port) as asker:
        asker.publish(worker.topic, encode_status(later))
        with worker:
            watcher.wait_for(
                lambda m: m.topic == worker.topic and m.json()["started_at"] < "2999", PATIENCE_S
            )
            asker.publish(worker.topic, encode_status(later))
            asker.ask()
            assert asker.answer().result is not None
            assert worker.program.process.poll() is None


def test_a_worker_whose_subscription_is_refused_asks_again(tmp_path: Path) -> None:
    watching = {"acltype": "subscribePattern", "topic": "scribe/worker/#", "allow": True}
    with (
        ruled_broker(tmp_path, rules(watching, subscribe=False)) as broker,
        Watcher(broker.port, topics=("scribe/worker/#",)) as watcher,
        RunningWorker(
            tmp_path, "w1", broker.port, **altered(subscriptions__FIRST_AGAIN_S=0.5)
        ) as worker,
    ):
        refused = "the broker refuses $share/scribe/scribe/work/model/request: Not authorized"
        worker.program.wait_output(refused, PATIENCE_S)
        wait_until(lambda: len(watcher.messages(worker.topic)) >= 2, PATIENCE_S, "another try")
        assert {m.json()["state"] for m in watcher.messages(worker.topic)} == {"offline"}
        set_default(watcher, "subscribe", allow=True)
        worker.wait_online(watcher)
        assert worker.program.output().count(refused) == 1
        assert "the broker does not refuse work any more" in worker.program.output()
        with Asker(broker.port) as asker:
            asker.ask()
            assert asker.answer().result is not None


def test_a_worker_needs_mqtt_5(tmp_path: Path, broker: Broker) -> None:
    with RunningWorker(tmp_path, "w1", broker.port, mqtt={"protocol": "3.1.1"}) as worker:
        assert worker.program.wait(PATIENCE_S) == EXIT_CONFIG
        assert "mqtt.protocol: a worker needs MQTT 5" in worker.program.output()


def test_a_worker_without_a_model_says_so_and_takes_nothing(
    tmp_path: Path, broker: Broker, watcher: Watcher
) -> None:
    nowhere = {"model": str(tmp_path / "nowhere")}
    with RunningWorker(tmp_path, "w1", broker.port, transcription=nowhere) as worker:
        worker.program.wait_output("holds no model.bin", PATIENCE_S)
        assert watcher.messages(worker.topic) == []
        worker.program.signal(signal.SIGTERM)
        assert worker.program.wait(PATIENCE_S) == 0
