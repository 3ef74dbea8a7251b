"""Requests as any client may send them: right, wrong, malicious; MQTT 5 and 3.1.1; shortcuts."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

import pytest
from paho.mqtt.client import MQTTv311
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from pydantic import TypeAdapter

from node.core.mqtt.payloads import PUBLISHED
from node.service.requests import MAX_WAITING
from tests.rig.mqtt import Watcher
from tests.rig.node import TOPIC, RunningNode, configuration
from tests.rig.processes import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.rig.broker import Broker
    from tests.rig.node import Room

ONE = [{"mic": "desk", "speaker": "Alice"}]

REFUSED = [
    ("mics/assign", {}, "invalid_request", "assignments"),
    ("mics/assign", {"assignments": [{"mic": "desk"}]}, "invalid_request", "speaker"),
    ("mics/assign", {"assignments": [{"mic": 9, "speaker": "A"}]}, "unknown_mic", "9"),
    ("mics/assign", {"assignments": [{"mic": "../x", "speaker": "A"}]}, "unknown_mic", "../x"),
    ("mics/assign", {"assignments": [*ONE, {"mic": 1, "speaker": "B"}]}, "duplicate_mic", "desk"),
    ("mics/assign", {"assignments": ONE, "speker": 1}, "invalid_request", "speker"),
    ("session/start", {"assignments": []}, "invalid_request", "assignments"),
    (
        "session/start",
        {"assignments": [{"mic": 1, "speaker": ""}]},
        "no_assignments",
        "mics/assign",
    ),
    ("session/start", {"assignments": ONE, "language": "xx"}, "invalid_request", "language"),
    (
        "session/start",
        {"assignments": ONE, "max_duration_s": 0},
        "invalid_request",
        "max_duration_s",
    ),
    ("session/start", {"assignments": ONE, "title": "a\nb"}, "invalid_request", "title"),
    ("session/stop", {}, "not_recording", "no session"),
    ("session/delete", {}, "invalid_request", "session_id"),
    ("session/delete", {"session_id": "../../etc"}, "invalid_request", "session_id"),
    ("session/delete", {"session_id": "20200101T000000Z-0000"}, "unknown_session", "2020"),
    ("session/list", {"limit": "many"}, "invalid_request", "limit"),
    ("transcript/get", {"session_id": "20200101T000000Z-0000"}, "unknown_session", "2020"),
    ("transcript/get", {"format": "pdf"}, "invalid_request", "format"),
    ("transcript/save", {"formats": []}, "invalid_request", "formats"),
    ("coffee/make", {}, "unknown_verb", "session/start"),
]


@pytest.mark.parametrize(("verb", "request_", "code", "names"), REFUSED)
def test_a_wrong_request_is_answered_with_its_code(
    room: Room, verb: str, request_: dict[str, Any], code: str, names: str
) -> None:
    error = room.refused(verb, **request_)
    assert error["code"] == code
    assert names in error["message"]


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"{", "bad_json"),
        (b"[1]", "bad_json"),
        (b"\xff\xfe", "bad_json"),
        (b"[" * 50_000, "bad_json"),
        (b'{"a": "' + b"x" * 70_000 + b'"}', "too_large"),
    ],
)
def test_what_is_no_json_object_is_answered(room: Room, payload: bytes, code: str) -> None:
    after = room.watcher.count()
    room.watcher.publish(f"{TOPIC}/request/health/check", payload)
    answer = room.watcher.wait_for(f"{TOPIC}/response/health/check", after=after).json()
    assert answer["error"]["code"] == code


def test_codes_of_a_running_session(room: Room) -> None:
    session = room.start(desk="Alice")
    running = room.refused("session/start", assignments=ONE)
    assert (running["code"], running["session_id"]) == ("already_recording", session)
    assert room.refused("session/delete", session_id=session)["code"] == "session_active"
    other = room.refused("session/stop", session_id="20200101T000000Z-0000")
    assert other["code"] == "not_recording"
    room.stop()
    assert room.do("session/list", limit=1)["sessions"][0]["session_id"] == session
    room.do("session/delete", session_id=session)
    assert room.refused("transcript/get", session_id=session)["code"] == "unknown_session"


def test_delete_leaves_no_trace(room: Room) -> None:
    session = room.start(desk="Secret Person")
    room.stop()
    after = room.watcher.count()
    room.do("session/delete", session_id=session)
    retained = {m.topic: m.text for m in room.watcher.messages(after=after) if m.topic != ""}
    assert session not in retained.get(f"{TOPIC}/transcript/last", "")
    left = [f for f in room.node.storage.rglob("*") if session in f.name]
    texts = [f.read_text() for f in (room.node.storage / "transcripts").glob("*.json")]
    assert not left
    assert not any(session in text for text in texts)


def test_two_starts_at_once_give_one_session(room: Room) -> None:
    after = room.watcher.count()
    for number in (1, 2):
        body = json.dumps({"assignments": ONE, "transaction": number})
        room.watcher.publish(f"{TOPIC}/request/session/start", body)
    answers = [room.watcher.wait_for(_answer_to(number), 20, after) for number in (1, 2)]
    assert answers[0].json()["status"] == "ok"
    assert answers[1].json()["error"]["code"] == "already_recording"


def test_start_at_the_instant_of_a_stop_begins_the_next_session(room: Room) -> None:
    """The microphones of the one are closed before those of the next are opened."""
    first = room.start(desk="Alice")
    after = room.watcher.count()
    stop, start = f"{TOPIC}/request/session/stop", f"{TOPIC}/request/session/start"
    room.watcher._client.publish(stop, json.dumps({"transaction": 1}), 1)
    room.watcher._client.publish(start, json.dumps({"transaction": 2}), 1)
    stopped = room.watcher.wait_for(_answer_to(1), 20, after).json()
    started = room.watcher.wait_for(_answer_to(2), 20, after).json()
    assert stopped["data"]["session_id"] == first
    assert started["status"] == "ok"
    assert started["data"]["session_id"] != first
    assert room.stop()["session_id"] == started["data"]["session_id"]


def test_too_many_requests_during_a_start_are_answered_busy(room: Room) -> None:
    """Each by its transaction id, or the client would wait for an answer for ever."""
    after = room.watcher.count()
    room.mics.freeze("desk")
    try:
        start = json.dumps({"assignments": ONE, "transaction": "start"})
        room.watcher.publish(f"{TOPIC}/request/session/start", start)
        for number in range(MAX_WAITING + 2):
            check = json.dumps({"transaction": number})
            room.watcher.publish(f"{TOPIC}/request/health/check", check)
        room.watcher.publish(f"{TOPIC}/request/health/check", "{no JSON")
        for number in (MAX_WAITING, MAX_WAITING + 1):
            answer = room.watcher.wait_for(_answer_to(number), 20, after).json()
            assert answer["error"]["code"] == "busy"
    finally:
        room.mics.thaw("desk")
    assert room.watcher.wait_for(_answer_to(0), 30, after).json()["status"] == "ok"
    if room.watcher.wait_for(_answer_to("start"), 30, after).json()["status"] == "ok":
        room.stop()


def test_stop_during_start_stops_the_session_when_it_has_begun(room: Room) -> None:
    after = room.watcher.count()
    body = json.dumps({"assignments": ONE, "transaction": 1})
    room.watcher.publish(f"{TOPIC}/request/session/start", body)
    room.watcher.publish(f"{TOPIC}/request/session/stop", json.dumps({"transaction": 2}))
    assert room.watcher.wait_for(_answer_to(1), 20, after).json()["status"] == "ok"
    assert room.watcher.wait_for(_answer_to(2), 20, after).json()["status"] == "ok"


def _is_event(event_type: str) -> Any:
    def fits(message: Any) -> bool:
        is_event = message.topic == f"{TOPIC}/event"
        return bool(is_event and message.json()["event_type"] == event_type)

    return fits


def _answer_to(transaction: float | str) -> Any:
    def fits(message: Any) -> bool:
        is_answer = message.topic.startswith(f"{TOPIC}/response/")
        return bool(is_answer and message.json().get("transaction") == transaction)

    return fits


def test_a_retained_command_is_ignored(broker: Broker, tmp_path: Path) -> None:
    """A command retained by mistake would start a session at every restart of the node."""
    with Watcher(broker.port) as watcher:
        watcher.publish(f"{TOPIC}/session/set", "MAYBE", retain=True)
        watcher.publish(f"{TOPIC}/request/health/check", "{}", retain=True)
        with RunningNode(tmp_path, configuration(tmp_path, broker.port, [])) as node:
            node.wait_online(watcher)
            node.program.wait_output(
                "request/health/check: ignored, because a retained message is not a command", 10
            )
            node.program.wait_output(
                "session/set: ignored, because a retained message is not a command", 10
            )
            answers = watcher.request(TOPIC, "session/list")["data"]
    assert answers["total"] == 0
    assert len(watcher.messages(f"{TOPIC}/response/#")) == 1
    assert not watcher.messages(f"{TOPIC}/event")


def test_shortcuts_and_the_group_topic(room: Room) -> None:
    room.watcher.publish(f"{TOPIC}/mic/desk/speaker/set", "Zoé")
    after = room.watcher.count()
    room.watcher.publish("scribe/all/session/set", "ON")
    assert room.state("recording", after, 20)["speakers"]["desk"] == "Zoé"
    room.watcher.publish(f"{TOPIC}/session/set", "ON")  # already so: no error
    after = room.watcher.count()
    room.watcher.publish(f"{TOPIC}/session/set", "OFF")
    room.state("idle", after)
    room.watcher.publish("scribe/all/request/health/check", json.dumps({"transaction": "all"}))
    answer = room.watcher.wait_for(f"{TOPIC}/response/health/check", after=after).json()
    assert answer["transaction"] == "all"
    assert not room.watcher.messages(f"{TOPIC}/event", after=after)


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        ("session/set", "MAYBE"),
        ("mic/desk/enabled/set", "1"),
        ("mic/nowhere/speaker/set", "Alice"),
        ("mic/desk/speaker/set", b"\xff\xfe"),
        ("mic/desk/speaker/set", "a\x00b"),
    ],
)
def test_a_wrong_shortcut_is_said_on_event(room: Room, topic: str, payload: str | bytes) -> None:
    after = room.watcher.count()
    room.watcher.publish(f"{TOPIC}/{topic}", payload)
    event = room.watcher.wait_for(f"{TOPIC}/event", after=after).json()
    assert event["event_type"] == "command_rejected"
    assert topic.split("/")[-2] in event["message"]


def test_a_response_topic_gets_the_answer_with_its_correlation(room: Room) -> None:
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    properties.ResponseTopic = "client/answers"
    properties.CorrelationData = b"\x01\xff42"
    after = room.watcher.count()
    room.watcher._client.publish(f"{TOPIC}/request/health/check", b"", 1, properties=properties)
    own = room.watcher.wait_for("client/answers", after=after)
    assert own.properties.CorrelationData == b"\x01\xff42"
    public = room.watcher.wait_for(f"{TOPIC}/response/health/check", after=after)
    assert public.payload == own.payload


@pytest.mark.parametrize("below", ["health/check", "for/client7"])
def test_below_its_response_topics_a_node_answers_with_the_correlation_too(
    room: Room, below: str
) -> None:
    """There the access rules that we ship let it write."""
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    topic = properties.ResponseTopic = f"{TOPIC}/response/{below}"
    properties.CorrelationData = b"42"
    after = room.watcher.count()
    room.watcher._client.publish(f"{TOPIC}/request/health/check", b"", 1, properties=properties)
    own = room.watcher.wait_for(topic, after=after)
    assert own.properties.CorrelationData == b"42"
    room.do("health/check")
    assert len(room.watcher.messages(topic, after)) == (2 if below == "health/check" else 1)


def test_a_request_on_the_longest_topic_there_is_does_no_harm(room: Room) -> None:
    """The topic of its answer would be longer than MQTT allows."""
    topic = f"{TOPIC}/request/".ljust(65_535, "a")
    after = room.watcher.count()
    room.watcher.publish(topic, "{}")
    room.watcher.wait_for(_is_event("command_rejected"), after=after)
    room.do("health/check")


def test_the_language_of_one_microphone_can_be_found_out_where_another_is_set(room: Room) -> None:
    entry = {"mic": "desk", "speaker": "Alice", "language": "auto"}
    room.do("mics/assign", assignments=[entry])
    (desk,) = (m for m in room.do("mics/detect")["mics"] if m["mic"] == "desk")
    assert desk["language"] == "auto"


def test_a_response_topic_cannot_command_a_node(room: Room) -> None:
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    properties.ResponseTopic = f"{TOPIC}/session/set"
    after = room.watcher.count()
    room.watcher._client.publish(f"{TOPIC}/request/health/check", b"", 1, properties=properties)
    room.watcher.wait_for(f"{TOPIC}/response/health/check", after=after)
    room.do("health/check")
    assert not room.watcher.messages(f"{TOPIC}/session/set", after=after)


def test_a_burst_of_garbage_leaves_the_node_as_it_was(room: Room) -> None:
    """What fits in the queue is answered; the rest is counted and reported once it is over."""
    junk = [b"", b"\x00", b"{}", b'"x"', b"nan", b"[" * 999, '{"mic": "é\\ud800"}'.encode()]
    before = room.watcher.count()
    room.node.program.signal(signal.SIGSTOP)  # or it would keep up with this slow client
    for number in range(2000):
        verb = ("mics/assign", "session/delete", "transcript/get", "x/y", "")[number % 5]
        room.watcher._client.publish(f"{TOPIC}/request/{verb}", junk[number % len(junk)], 0)
    requests = f"{TOPIC}/request/#"
    wait_until(lambda: len(room.watcher.messages(requests, before)) == 2000, 60, "all is sent")
    after = room.watcher.count()
    room.node.program.signal(signal.SIGCONT)

    def answered() -> int:
        events = room.watcher.messages(f"{TOPIC}/event", after)
        said = [m.json() for m in events if m.json()["event_type"] == "commands_dropped"]
        dropped = sum(int(event["message"].split()[0]) for event in said)
        return dropped + len(room.watcher.messages(f"{TOPIC}/response/#", after))

    wait_until(lambda: answered() == 2000, 60, "each is answered, or counted as dropped")
    assert room.do("health/check")["rss_mb"] < 400


def test_every_published_payload_is_as_documented(room: Room) -> None:
    """Everything the node published in this module, against the types behind its schemas."""
    kinds = {
        "info": "info", "session": "session", "mics": "mics", "transcript/live": "live",
        "transcript/final": "transcript", "transcript/last": "transcript",
        "health": "health", "event": "event", "mic/+/state": "mic", "mic/+/segment": "segment",
        "response/#": "answer",
    }  # fmt: skip
    checked = 0
    for topic, kind in kinds.items():
        adapter = TypeAdapter(PUBLISHED[kind])
        for message in room.watcher.messages(f"{TOPIC}/{topic}"):
            if message.payload:
                adapter.validate_json(message.payload, strict=True)
                checked += 1
    assert checked > 50


def test_mqtt_3_1_1(broker: Broker, tmp_path: Path) -> None:
    """Client and node both use the older protocol: no properties, answers by transaction id."""
    config = configuration(tmp_path, broker.port, [], mqtt={"protocol": "3.1.1"})
    with Watcher(broker.port, protocol=MQTTv311) as watcher, RunningNode(tmp_path, config) as node:
        node.wait_online(watcher)
        assert watcher.request(TOPIC, "mics/detect")["data"] == {"mics": []}
        error = watcher.request(TOPIC, "session/start")["error"]
        assert error["code"] == "no_assignments"
        assert watcher.request(TOPIC, "transcript/get")["error"]["code"] == "no_session"
        assert node.end() == 0
        watcher.wait_for(lambda m: m.topic == f"{TOPIC}/status" and m.text == "offline")


def test_a_newcomer_finds_the_states_retained(room: Room) -> None:
    with Watcher(room.watcher._port, topics=[f"{TOPIC}/#"]) as newcomer:
        for topic in ("status", "info", "session", "mics", "mic/desk/state", "health"):
            assert newcomer.wait_for(f"{TOPIC}/{topic}").retain
        passing = ["event", "response/#", "mic/+/segment", "transcript/final"]
        assert not [m for topic in passing for m in newcomer.messages(f"{TOPIC}/{topic}")]
