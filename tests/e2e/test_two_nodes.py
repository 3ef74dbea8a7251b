"""Two rooms, a node in each: on one broker, and on two that a bridge joins."""

from __future__ import annotations

import json
import random
import re
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.model.sentences import SENTENCES
from tests.rig.broker import HOST, Broker
from tests.rig.commands import run
from tests.rig.mqtt import Watcher
from tests.rig.node import ROOT, Room, RunningNode, configuration
from tests.rig.processes import wait_until
from tests.rig.tapes import record, tape_recorder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.model.sentences import Sentence

BRIDGE = ROOT / "config/mosquitto/bridge.conf"
PASSWORD = "of the people"  # noqa: S105  # of a broker that lives for one test
SAID = {"kitchen": SENTENCES[5:8], "office": SENTENCES[31:34]}


def make_room(folder: Path, name: str, port: int, watcher: Watcher) -> Room:
    """A node with this name; it hears its own tape on a mic that both rooms call `table`."""
    home = folder / name
    home.mkdir()
    tape = record(home, "table", SAID[name], random.Random(1))
    node = {"id": name}
    config = configuration(home, port, [], node=node, audio=tape_recorder(tape))
    return Room(RunningNode(home, config), None, watcher)  # type: ignore[arg-type]  # tapes only


@pytest.fixture
def flat(broker: Broker, watcher: Watcher, tmp_path: Path) -> Iterator[dict[str, Room]]:
    """Both nodes on one broker, with their speakers assigned."""
    rooms = {name: make_room(tmp_path, name, broker.port, watcher) for name in SAID}
    with rooms["kitchen"].node, rooms["office"].node:
        for name, room in rooms.items():
            room.node.wait_online(watcher)
            room.do("mics/assign", assignments=[{"mic": 1, "speaker": f"Person of the {name}"}])
        yield rooms


def segments(room: Room, count: int) -> list[dict[str, str]]:
    """Return the first segments that this node published on its own topics."""

    def come() -> list[dict[str, str]] | None:
        found = room.watcher.messages(f"{room.node.topic}/mic/+/segment")
        return [m.json() for m in found] if len(found) >= count else None

    return wait_until(come, 30, f"{count} segments of {room.node.topic}") or []


def check_words(found: Sequence[dict[str, str]], said: Sequence[Sentence], speaker: str) -> None:
    assert {segment["text"] for segment in found} <= {sentence.text for sentence in said}
    assert {segment["speaker"] for segment in found} == {speaker}


def test_the_group_starts_and_stops_both(flat: dict[str, Room], watcher: Watcher) -> None:
    after = watcher.count()
    watcher.publish("scribe/all/session/set", "ON")
    running = {name: room.state("recording", after)["session_id"] for name, room in flat.items()}
    assert len(set(running.values())) == 2
    found = {name: segments(room, 2) for name, room in flat.items()}
    for name, room_segments in found.items():
        check_words(room_segments, SAID[name], f"Person of the {name}")
        assert {segment["session_id"] for segment in room_segments} == {running[name]}
    ids = [segment["id"] for room_segments in found.values() for segment in room_segments]
    assert len(ids) == len(set(ids)) == 4
    after = watcher.count()
    watcher.publish("scribe/all/session/set", "OFF")
    for name, room in flat.items():
        final = watcher.wait_for(f"{room.node.topic}/transcript/final", 20, after).json()
        assert final["session_id"] == running[name]
        assert {speaker["speaker"] for speaker in final["speakers"]} == {f"Person of the {name}"}
        assert Path(final["file_path"]).is_relative_to(room.node.storage)


def test_one_meeting_in_two_rooms_becomes_one_transcript(
    flat: dict[str, Room], watcher: Watcher
) -> None:
    """Started and stopped by one message each; every line where its words were said."""
    after = watcher.count()
    start = {"title": "Budget", "group": "budget", "language": "auto"}
    watcher.publish("scribe/all/request/session/start", json.dumps(start))
    for room in flat.values():
        assert room.state("recording", after)["group"] == "budget"
        segments(room, 2)
    watcher.publish("scribe/all/request/session/stop")
    finals = {
        name: watcher.wait_for(f"{room.node.topic}/transcript/final", 30, after).json()
        for name, room in flat.items()
    }
    for name, final in finals.items():
        assert (final["node"], final["group"], final["title"]) == (name, "budget", "Budget")
        (listed,) = flat[name].do("session/list", group="budget")["sessions"]
        assert (listed["session_id"], listed["clock"]) == (final["session_id"], final["clock"])
        assert flat[name].do("session/list", group="dinner")["total"] == 0
    files = [final["files"]["json"] for final in finals.values()]
    done = run("merge", *files, "--by-node", "--format", "json")
    assert done.returncode == 0, done.stderr
    assert run("merge", *reversed(files), "--by-node", "--format", "json").stdout == done.stdout
    document = json.loads(done.stdout)
    lines = [
        (at(document["session"]["started_at"]) + line["start_time"], line["speaker"], line["words"])
        for line in document["seglst"]
    ]
    assert lines == sorted(lines, key=lambda line: line[0])
    published = [
        (at(body["start"]), f"{body['speaker']} ({name})", body["text"])
        for name, room in flat.items()
        for body in segments(room, 2)
    ]
    assert len(lines) == len(published) == sum(f["segments_total"] for f in finals.values())
    for start_s, speaker, text in published:
        near = [line for line in lines if abs(line[0] - start_s) < 0.5]
        assert (speaker, text) in [(who, words) for _, who, words in near]
    agreed = document["clocks_agree_within_ms"]
    assert ("agree within" in done.stderr) == (agreed is not None)
    assert agreed is not None or "its clock was not synchronised" in done.stderr


def at(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


@pytest.mark.parametrize("verb", ["health/check", "session/list", "mics/detect"])
def test_each_answers_a_group_request_on_its_own_topics(
    flat: dict[str, Room], watcher: Watcher, verb: str
) -> None:
    after = watcher.count()
    watcher.publish(f"scribe/all/request/{verb}", json.dumps({"transaction": "both"}))
    for room in flat.values():
        answer = watcher.wait_for(f"{room.node.topic}/response/{verb}", 10, after).json()
        assert (answer["status"], answer["transaction"]) == ("ok", "both")
    flat["office"].do("health/check")
    assert not watcher.messages("scribe/all/response/#")


def test_a_group_start_with_names_is_refused_where_a_mic_is_unknown(
    flat: dict[str, Room], watcher: Watcher
) -> None:
    """Each node checks for itself; only the one asked for something it lacks says so."""
    after = watcher.count()
    flat["office"].do("mics/assign", assignments=[{"mic": "table", "speaker": ""}])
    watcher.publish("scribe/all/request/session/start")
    answers = {
        name: watcher.wait_for(f"{room.node.topic}/response/session/start", 10, after).json()
        for name, room in flat.items()
    }
    assert answers["kitchen"]["status"] == "ok"
    assert answers["office"]["error"]["code"] == "no_assignments"
    flat["kitchen"].stop()


def test_a_kill_of_one_leaves_the_other_alone(flat: dict[str, Room], watcher: Watcher) -> None:
    after = watcher.count()
    watcher.publish("scribe/all/session/set", "ON")
    for room in flat.values():
        room.state("recording", after)
    kitchen, office = flat["kitchen"], flat["office"]
    kitchen.node.program.kill_group()
    offline = watcher.wait_for("scribe/kitchen/status", 10, after)
    assert offline.text == "offline"
    segments(office, 2)
    assert office.stop()["segments_total"] >= 2
    assert not watcher.messages("scribe/office/status", after)
    after = watcher.count()
    kitchen.node.start().wait_online(watcher, after)
    final = watcher.wait_for("scribe/kitchen/transcript/final", 20, after).json()
    assert final["speakers"] == [] or final["speakers"][0]["speaker"] == "Person of the kitchen"
    assert office.do("session/list")["total"] == 1


def room_broker(house: Broker) -> Broker:
    """A room's broker, bridged to the house's by the example file."""
    text = BRIDGE.read_text(encoding="utf-8")
    return Broker(extra=text.replace("house.local:1883", f"{HOST}:{house.port}"))


@pytest.fixture
def house() -> Iterator[Broker]:
    everybody = "\n".join(f"user {name}\ntopic readwrite #" for name in ("room", "people"))
    with Broker(users={"room": "change-me", "people": PASSWORD}, acl=everybody) as broker:
        yield broker


def test_a_bridge_joins_the_broker_of_a_room_to_that_of_the_house(
    house: Broker, tmp_path: Path
) -> None:
    with (
        room_broker(house) as broker,
        Watcher(broker.port) as inside,
        Watcher(house.port, username="people", password=PASSWORD) as outside,
    ):
        outside.wait_for(lambda m: m.topic == "scribe/bridge/kitchen" and m.text == "1", 15)
        room = make_room(tmp_path, "kitchen", broker.port, outside)
        with room.node:
            # Commands go in and answers come out; the node knows only its own broker.
            room.node.wait_online(outside)
            room.do("mics/assign", assignments=[{"mic": 1, "speaker": "Alice"}])
            after = outside.count()
            outside.publish("scribe/all/session/set", "ON")
            session = room.state("recording", after)["session_id"]
            # The house's broker stops meanwhile: what is said then arrives later.
            first = segments(room, 1)[0]["id"]
            house.stop()
            outside.wait_disconnected()
            heard = len(inside.messages("scribe/kitchen/mic/table/segment"))
            wait_until(
                lambda: len(inside.messages("scribe/kitchen/mic/table/segment")) >= heard + 2,
                30,
                "two more sentences in the room",
            )
            broker.freeze()  # or its bridge might deliver before anybody in the house listens
            house.start()
            outside.wait_connected(30)
            broker.thaw()
            wait_until(
                lambda: ids(outside) >= ids(inside) >= {first},
                60,
                "the house has every segment of the room",
            )
            done = room.stop()
            # Retained on both.
            outside.wait_for(
                lambda m: (
                    m.topic == "scribe/kitchen/transcript/last"
                    and m.json()["session_id"] == session
                ),
                10,
            )
            with Watcher(house.port, username="people", password=PASSWORD) as newcomer:
                last = newcomer.wait_for("scribe/kitchen/transcript/last", 10)
                assert last.retain
                assert last.json()["session_id"] == session == done["session_id"]
                for topic in ("status", "info", "session", "mics", "mic/table/state"):
                    assert newcomer.wait_for(f"scribe/kitchen/{topic}").retain
            # Nothing loops.
            sent = len(inside.messages("scribe/kitchen/request/mics/assign"))
            assert sent == len(outside.messages("scribe/kitchen/request/mics/assign")) == 1
            after = outside.count()
            room.node.program.kill_group()
            offline = outside.wait_for("scribe/kitchen/status", 10, after)
            assert offline.text == "offline"
        after = outside.count()
        broker.kill()
        gone = outside.wait_for("scribe/bridge/kitchen", 10, after)
        assert gone.text == "0"


def ids(watcher: Watcher) -> set[str]:
    return {m.json()["id"] for m in watcher.messages("scribe/kitchen/mic/+/segment")}


def test_the_bridge_passes_on_all_topics_of_the_access_rules() -> None:
    """Exactly the topics that the example's access rules let a node use, but for sound."""
    rules = (ROOT / "config/mosquitto/acl").read_text(encoding="utf-8")
    own = rules.split("user node\n")[1].split("\n\n")[0]
    own = own.partition("# Only with `transcription.where")[0]
    allowed = set(re.findall(r"^topic (?:read|write|readwrite) (\S+)$", own, re.MULTILINE))
    passed = re.findall(r"^topic (\S+) (?:in|out) [01]$", BRIDGE.read_text(), re.MULTILINE)
    assert sorted(passed) == sorted(allowed)
