"""Work shared out: real nodes, real workers, a real broker, and what may happen to each of them."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.model.sentences import SENTENCES
from tests.rig.broker import Broker
from tests.rig.mqtt import Watcher
from tests.rig.node import MODEL, Room, RunningNode, configuration
from tests.rig.processes import wait_until
from tests.rig.rumqttd import Rumqttd
from tests.rig.tapes import record, tape_recorder
from tests.rig.workers import RunningWorker, fill, stored

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tests.model.sentences import Sentence

SAID = {"desk": SENTENCES[5:13], "door": SENTENCES[13:21], "wall": SENTENCES[31:39]}
PATIENCE_S = 60
BROKER = {"where": "broker"}
ALIVE = {"keepalive_s": 5}
SLOW_S = 0.4


@pytest.fixture
def slow(tmp_path: Path) -> dict[str, str]:
    """The environment of an engine that takes `SLOW_S` for a window."""
    flag = tmp_path / "slow"
    flag.touch()
    return {**os.environ, "ENGINE_SLOW_S": str(SLOW_S), "ENGINE_SLOW_WHILE": str(flag)}


class House:
    """A node whose storage has utterances that wait for workers, and what it publishes."""

    def __init__(
        self, folder: Path, broker: Broker | Rumqttd, watcher: Watcher, **sections: Any
    ) -> None:
        self.folder, self.broker, self.watcher = folder, broker, watcher
        sections = {"transcription": BROKER, **sections}
        self.storage = folder / "storage"
        self.node = RunningNode(folder, configuration(folder, broker.port, [], **sections))

    def fill(self, said: Mapping[str, Sequence[Sentence]]) -> list[str]:
        self.ids = fill(self.storage, said)
        self.texts = {each.text for sentences in said.values() for each in sentences}
        return self.ids

    def worker(self, name: str, **options: Any) -> RunningWorker:
        return RunningWorker(self.folder, name, self.broker.port, **options)

    def published(self) -> list[dict[str, Any]]:
        return [m.json() for m in self.watcher.messages("scribe/lab/mic/+/segment")]

    def wait_for(self, count: int, timeout: float = PATIENCE_S) -> None:
        wait_until(lambda: len(self.published()) >= count, timeout, f"{count} segments")

    def event(self, kind: str, timeout: float = PATIENCE_S) -> str:
        message = self.watcher.wait_for(
            lambda m: m.topic == "scribe/lab/event" and m.json()["event_type"] == kind, timeout
        )
        text: str = message.json()["message"]
        return text

    def check_all(self) -> None:
        """Nothing is lost, nothing is there twice, and all is in the order of speech."""
        found = self.published()
        assert [segment["id"] for segment in found] == self.ids
        self.check(found)

    def check_each_speaker(self) -> None:
        """Nothing is lost or twice, and each speaker's texts are in the order of speech.

        One that is under way for a minute, as on a busy machine, holds up nobody else.
        """
        found = self.published()
        assert sorted(segment["id"] for segment in found) == sorted(self.ids)
        for mic in {segment["mic"] for segment in found}:
            own = [segment["id"] for segment in found if segment["mic"] == mic]
            assert own == [key for key in self.ids if key.split("/")[1] == mic]
        self.check(found)

    def check(self, found: list[dict[str, Any]]) -> None:
        assert [segment["seq"] for segment in found] == list(range(1, len(self.ids) + 1))
        assert {segment["text"] for segment in found} == self.texts


@pytest.fixture
def house(tmp_path: Path, broker: Broker, watcher: Watcher) -> House:
    return House(tmp_path, broker, watcher)


def answers(watcher: Watcher, status: str = "result") -> list[dict[str, Any]]:
    """Return what workers have answered the node, of one kind."""
    found = [m.json() for m in watcher.messages("scribe/lab/work/response")]
    return [answer for answer in found if answer[status] is not None]


def answerers(watcher: Watcher) -> set[str]:
    """Return the workers that have answered the node with a text."""
    return {answer["worker"] for answer in answers(watcher)}


@pytest.fixture(params=[Broker, Rumqttd])
def anywhere(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[House]:
    """A house on each of the brokers."""
    with request.param() as broker, Watcher(broker.port) as watcher:
        yield House(tmp_path, broker, watcher)


def test_three_workers_of_which_one_is_killed_and_one_freezes(
    anywhere: House, slow: dict[str, str]
) -> None:
    house = anywhere
    ids = house.fill({mic: sentences[:6] for mic, sentences in SAID.items()})
    # The broker sends a third of all work to the frozen one until it misses its sign of life.
    own: dict[str, Any] = {"module": "tests.rig.slow_engine", "env": slow, "mqtt": ALIVE}
    workers = [house.worker(f"w{n}", **own) for n in range(3)]
    killed, frozen, good = workers
    with killed, frozen, good, house.node:
        for worker in workers:
            worker.wait_online(house.watcher)
        everybody = "an answer of each worker"
        wait_until(lambda: len(answerers(house.watcher)) == len(workers), PATIENCE_S, everybody)
        killed.program.signal(signal.SIGKILL)
        frozen.program.signal(signal.SIGSTOP)
        house.wait_for(len(ids), 3 * PATIENCE_S)
        before = len(answers(house.watcher))
        frozen.program.signal(signal.SIGCONT)  # its late answers reach the node
        wait_until(lambda: len(answers(house.watcher)) > before, PATIENCE_S, "a late answer")
        assert house.node.end() == 0
    house.check_each_speaker()


def test_the_text_is_that_of_a_node_that_transcribes_itself(tmp_path: Path, broker: Broker) -> None:
    found = {}
    with RunningWorker(tmp_path, "w1", broker.port):
        for where in ("here", "broker"):
            folder = tmp_path / where
            fill(folder / "storage", SAID)
            own = {"where": where, "word_timestamps": True, "hotwords": ["Marie", "garden"]}
            with Watcher(broker.port) as watcher:
                config = configuration(folder, broker.port, [], transcription=own)
                with RunningNode(folder, config) as node:
                    watcher.wait_for("scribe/lab/transcript/final", PATIENCE_S)
                    assert len(answers(watcher)) == (0 if where == "here" else 24)
                    assert node.end() == 0
            found[where] = stored(folder / "storage")
    assert len(found["here"]) == 24
    for segment in (*found["here"], *found["broker"]):
        assert segment["words"]
        del segment["latency_s"]
    assert found["broker"] == found["here"]


def test_a_broker_that_forgets_everything(tmp_path: Path, slow: dict[str, str]) -> None:
    with Broker(persistence=False) as broker, Watcher(broker.port) as watcher:
        house = House(tmp_path, broker, watcher)
        ids = house.fill({mic: sentences[:4] for mic, sentences in SAID.items()})
        with house.worker("w1", module="tests.rig.slow_engine", env=slow) as worker, house.node:
            worker.wait_online(watcher)
            house.wait_for(3)
            broker.kill()
            broker.start()
            watcher.wait_connected()
            house.wait_for(len(ids))
            assert house.node.end() == 0
        house.check_all()


def test_a_node_that_is_killed_while_its_work_is_away(house: House, slow: dict[str, str]) -> None:
    ids = house.fill({mic: sentences[:4] for mic, sentences in SAID.items()})
    with house.worker("w1", module="tests.rig.slow_engine", env=slow) as worker, house.node:
        worker.wait_online(house.watcher)
        house.wait_for(2)
        house.node.program.kill_group()
        house.node.start()
        house.wait_for(len(ids))
        assert house.node.end() == 0
    found = {segment["id"]: segment for segment in house.published()}  # at least once: by id
    assert list(found) == ids
    assert [segment["seq"] for segment in found.values()] == list(range(1, len(ids) + 1))
    assert [segment["id"] for segment in stored(house.storage)] == ids


def test_speech_waits_for_a_worker_with_the_same_weights(house: House) -> None:
    ids = house.fill({"desk": SENTENCES[5:9]})
    stranger = house.worker("stranger", transcription={"model": str(altered_model(house.folder))})
    with stranger, house.node:
        house.node.wait_online(house.watcher)
        stranger.wait_online(house.watcher)
        assert "ctranslate2" not in Path(f"/proc/{house.node.pid}/maps").read_text()
        assert "ctranslate2" in Path(f"/proc/{stranger.program.pid}/maps").read_text()
        check_info(house)
        assert "stranger is of no use: its model has other weights" in house.event("worker_useless")
        away = house.event("workers_away", 30)
        assert "no worker with the model model" in away
        assert "speech waits on the disk" in away
        assert house.published() == []
        with house.worker("w1"):
            house.event("workers_back")
            house.wait_for(len(ids))
            assert house.node.end() == 0
    house.check_all()
    assert answerers(house.watcher) == {"w1"}
    refusals = [(r["worker"], r["error"]["code"]) for r in answers(house.watcher, "error")]
    assert set(refusals) <= {("stranger", "wrong_model")}


def altered_model(folder: Path) -> Path:
    """Return a copy of the model with one bit of its last weight changed."""
    other = folder / "other" / MODEL.name
    shutil.copytree(MODEL, other)
    with (other / "model.bin").open("r+b") as weights:
        weights.seek(-1, os.SEEK_END)
        last = weights.read(1)[0]
        weights.seek(-1, os.SEEK_END)
        weights.write(bytes([last ^ 1]))
    return other


def check_info(house: House) -> None:
    info = house.watcher.wait_for("scribe/lab/info", 10).json()
    assert info["where"] == "broker"
    assert "sound_leaves_machine" in info["features"]
    assert info["model_state"] == "ready"
    assert "all sound of what people say is sent" in house.node.program.output()
    house.watcher.wait_for(
        lambda m: m.topic == "scribe/lab/info" and "no worker" in (m.json()["model_notice"] or ""),
        30,
    )


def test_utterances_are_cut_to_fit_the_brokers_packets(tmp_path: Path) -> None:
    limit = 140_000
    with (
        Broker(extra=f"max_packet_size {limit}") as broker,
        Watcher(broker.port) as watcher,
    ):
        house = House(tmp_path, broker, watcher)
        long = list(SENTENCES[6:12])
        ids = fill(house.storage, {"desk": [SENTENCES[5], long]})
        with house.worker("w1") as worker, house.node:
            worker.wait_online(watcher)
            house.wait_for(len(ids))
            assert house.node.end() == 0
        parts = watcher.messages("scribe/work/model/request")
        assert len(parts) > len(ids)
        assert max(len(part.payload) for part in parts) < limit
        (segment,) = [s for s in house.published() if s["id"] == ids[-1]]
        heard = [each for each in answers(watcher) if f"{ids[-1]}/" in each["id"]]
        assert len(heard) == len(parts) - 1
        heard.sort(key=lambda each: int(each["id"].rpartition("/")[2].partition("-")[0]))
        assert segment["text"] == " ".join(each["result"]["text"] for each in heard)


def test_a_worker_that_is_stopped_hands_back_what_waits(
    house: House, slow: dict[str, str], tmp_path: Path
) -> None:
    ids = house.fill({mic: sentences[:3] for mic, sentences in SAID.items()})
    own = {**slow, "ENGINE_SLOW_S": "60"}
    first = house.worker("w1", module="tests.rig.slow_engine", env=own)
    with first, house.node:
        wait_until(lambda: len(requests(house.watcher)) == 2, PATIENCE_S, "two are away")
        first.program.signal(signal.SIGTERM)
        handed = wait_until(lambda: answers(house.watcher, "error"), PATIENCE_S, "a refusal")
        assert [each["error"]["code"] for each in handed] == ["stopping"]
        (tmp_path / "slow").unlink()  # it goes on with the other one
        assert first.program.wait(PATIENCE_S) == 0
        assert len(answers(house.watcher)) == 1
        with house.worker("w2"):
            house.wait_for(len(ids))
            assert house.node.end() == 0
    house.check_all()
    last = house.watcher.messages(first.topic)[-1].json()
    assert last["state"] == "offline"


def requests(watcher: Watcher) -> list[dict[str, Any]]:
    found = watcher.messages("scribe/work/model/request")
    return [json.loads(message.payload.split(b"\n")[0]) for message in found]


def test_a_session_is_written_once_there_is_a_worker_and_another_begins_meanwhile(
    tmp_path: Path, broker: Broker, watcher: Watcher
) -> None:
    tape = record(tmp_path, "desk", SENTENCES[5:8], random.Random(1))
    config = configuration(
        tmp_path, broker.port, [], audio=tape_recorder(tape), transcription=BROKER
    )
    with RunningNode(tmp_path, config) as node:
        room = Room(node.wait_online(watcher), None, watcher)  # type: ignore[arg-type]  # tapes only
        session = room.start(desk="Alice")
        spool = node.storage / "spool"
        wait_until(lambda: len(list(spool.iterdir())) >= 2, PATIENCE_S, "an utterance waits")
        watcher.publish("scribe/lab/request/session/stop", '{"transaction":"later"}')
        room.state("stopping")
        following = room.start(desk="Alice")
        assert session in room.state("recording", watcher.count() - 1)["finishing"]
        stopped = "scribe/lab/response/session/stop"
        assert watcher.messages(stopped) == []
        with RunningWorker(tmp_path, "w1", broker.port):
            answer = watcher.wait_for(stopped, PATIENCE_S).json()
            assert answer["transaction"] == "later"
            assert answer["data"]["session_id"] == session
            assert answer["data"]["segments_total"] >= 1
            assert room.stop()["session_id"] == following
        assert node.end() == 0


def test_workers_help_when_a_node_cannot_keep_up(
    tmp_path: Path, broker: Broker, watcher: Watcher, slow: dict[str, str]
) -> None:
    tapes = [
        record(tmp_path, mic, SENTENCES[first : first + 8], random.Random(first))
        for mic, first in (("desk", 5), ("door", 31))
    ]
    config = configuration(
        tmp_path,
        broker.port,
        [],
        audio=tape_recorder(*tapes),
        transcription={"where": "auto"},
        crosstalk={"mode": "off"},
    )
    env = {**slow, "ENGINE_SLOW_S": "3"}
    with RunningNode(tmp_path, config, env, "tests.rig.slow_engine") as node:
        room = Room(node.wait_online(watcher), None, watcher)  # type: ignore[arg-type]  # tapes only
        with RunningWorker(tmp_path, "w1", broker.port) as worker:
            worker.wait_online(watcher)
            session = room.start(desk="Alice", door="Bruno")
            first = room.segments(session, 1)[0]
            assert not any(first["id"] in request["id"] for request in requests(watcher))
            wait_until(lambda: len(answers(watcher)) >= 4, PATIENCE_S, "help")
            worker.program.kill_group()
        answered = len(answers(watcher))
        heard = len(room.segments(session, 1))
        (tmp_path / "slow").unlink()  # alone, it keeps up again
        segments = room.segments(session, heard + 6, PATIENCE_S)
        assert room.stop()["segments_total"] >= len(segments)
        assert len(answers(watcher)) == answered
        assert node.end() == 0
    helped = {answer["id"].partition("/")[2] for answer in answers(watcher)}
    assert any(segment["id"] not in helped for segment in segments)
    assert [segment["seq"] for segment in segments] == list(range(1, len(segments) + 1))
    assert len({segment["id"] for segment in segments}) == len(segments)
    said = {sentence.text for sentence in (*SENTENCES[5:13], *SENTENCES[31:39])}
    assert {segment["text"] for segment in segments} <= said
    assert {segment["replayed"] for segment in segments} == {False}
