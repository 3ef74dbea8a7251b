"""The next session is recorded while the last one is still being transcribed and written."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.model.sentences import SENTENCES
from tests.rig.node import TOPIC, Room, RunningNode, configuration
from tests.rig.processes import wait_until
from tests.rig.verdict import rows
from tests.rig.vmics import VirtualMic, VirtualMics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.rig.broker import Broker
    from tests.rig.mqtt import Watcher

HELLO, BONJOUR, MEETING = SENTENCES[0], SENTENCES[31], SENTENCES[10]
HELD_S = 40
"""Longer than any wait while the engine is held, but not yet a hang for the node."""


@pytest.fixture(scope="module")
def mics() -> Iterator[VirtualMics]:
    with VirtualMics([VirtualMic("desk")]) as virtual:
        yield virtual


class Slow:
    """A room whose engine can be held up."""

    def __init__(
        self, folder: Path, broker: Broker, mics: VirtualMics, watcher: Watcher, *, resume: bool
    ) -> None:
        self._held = folder / "held"
        self._held.touch()
        config = configuration(folder, broker.port, ["desk"], session={"resume": resume})
        slow = {"ENGINE_SLOW_S": str(HELD_S), "ENGINE_SLOW_WHILE": str(self._held)}
        env = {**(mics.env or os.environ), **slow}
        self.node = RunningNode(folder, config, env, "tests.rig.slow_engine")
        self.room = Room(self.node, mics, watcher)

    def let_go(self) -> None:
        self._held.unlink()

    def ask(self, verb: str, transaction: str, **request: Any) -> None:
        body = json.dumps({**request, "transaction": transaction})
        self.room.watcher.publish(f"{TOPIC}/request/{verb}", body)

    def answer(self, transaction: str, timeout: float = 30) -> dict[str, Any]:
        message = self.room.watcher.wait_for(
            lambda m: (
                m.topic.startswith(f"{TOPIC}/response/")
                and m.json().get("transaction") == transaction
            ),
            timeout,
        )
        body: dict[str, Any] = message.json()
        return body

    def state(self, wanted: str, session: str, *finishing: str) -> None:
        """Wait until `T/session` shows this session and state, and these being finished."""
        self.room.watcher.wait_for(
            lambda m: (
                m.topic == f"{TOPIC}/session"
                and (m.json()["state"], m.json()["session_id"]) == (wanted, session)
                and m.json()["finishing"] == list(finishing)
            ),
            15,
        )

    def say(self, session: str, sentence: Any) -> None:
        """Speak until the utterance waits for the engine."""
        known = self.captured(session)
        self.room.say("desk", sentence)
        wait_until(lambda: self.captured(session) > known, 15, "it has been heard")

    def captured(self, session: str) -> int:
        query = "SELECT 1 FROM utterance WHERE session_id=? AND state='captured'"
        return len(rows(self.node.storage, query, session))

    def final(self, session: str, timeout: float = 30) -> dict[str, Any]:
        message = self.room.watcher.wait_for(
            lambda m: m.topic == f"{TOPIC}/transcript/final" and m.json()["session_id"] == session,
            timeout,
        )
        body: dict[str, Any] = message.json()
        return body


@pytest.fixture
def slow(
    tmp_path: Path,
    broker: Broker,
    mics: VirtualMics,
    watcher: Watcher,
    request: pytest.FixtureRequest,
) -> Iterator[Slow]:
    made = Slow(tmp_path, broker, mics, watcher, resume=getattr(request, "param", True))
    with made.node:
        made.node.wait_online(watcher)
        yield made


def lines(text: str) -> list[str]:
    return [re.sub(r"^\[[\d:]+\] ", "", line) for line in text.splitlines()]


def test_three_sessions_one_after_the_other(slow: Slow) -> None:
    room = slow.room
    first = room.start(desk="Alice")
    slow.say(first, HELLO)
    slow.ask("session/stop", "first")
    slow.state("stopping", first, first)
    second = room.start(desk="Bruno")
    slow.state("recording", second, first)
    slow.say(second, BONJOUR)
    slow.ask("session/stop", "second")
    slow.state("stopping", second, first, second)
    third = room.start(desk="Chloé")
    slow.state("recording", third, first, second)
    slow.say(third, MEETING)

    # Those being written are listed, and cannot be deleted.
    for session in (first, second, third):
        assert room.do("transcript/get", session_id=session)["total"] == 0
        assert room.refused("session/delete", session_id=session)["code"] == "session_active"
    assert room.do("transcript/get")["session_id"] == third
    listed = {s["session_id"]: s["state"] for s in room.do("session/list")["sessions"]}
    assert listed == {first: "stopping", second: "stopping", third: "recording"}
    assert room.refused("session/start")["session_id"] == third
    slow.ask("session/stop", "first again", session_id=first)

    slow.let_go()
    answers = [slow.answer(name) for name in ("first", "first again", "second")]
    assert [a["data"]["session_id"] for a in answers] == [first, first, second]
    room.segments(third, 1)
    slow.state("recording", third)
    live = room.watcher.wait_for(
        lambda m: m.topic == f"{TOPIC}/transcript/live" and m.json()["session_id"] == third, 10
    ).json()
    for message in room.watcher.messages(f"{TOPIC}/transcript/live"):
        speaker = {first: "Alice", second: "Bruno", third: "Chloé"}[message.json()["session_id"]]
        assert all(line.startswith(speaker) for line in lines(message.json()["text"]))
    assert (live["segments_total"], lines(live["text"])) == (1, [f"Chloé: {MEETING.text}"])
    after = room.watcher.count()
    assert room.stop()["session_id"] == third
    said = {first: ("Alice", HELLO), second: ("Bruno", BONJOUR), third: ("Chloé", MEETING)}
    for session, (speaker, sentence) in said.items():
        final = slow.final(session)
        assert lines(final["text"]) == [f"{speaker}: {sentence.text}"]
        assert lines(Path(final["file_path"]).read_text(encoding="utf-8")) == lines(final["text"])
        (segment,) = room.segments(session, 1)
        assert (segment["seq"], segment["text"]) == (1, sentence.text)
    assert room.state("idle", after)["finishing"] == []
    room.watcher.wait_for(
        lambda m: m.topic == f"{TOPIC}/transcript/last" and m.json()["session_id"] == third, 10
    )
    last = room.watcher.messages(f"{TOPIC}/transcript/last")[-1]
    assert last.json()["session_id"] == third


def test_the_switch_begins_the_next_one_too(slow: Slow) -> None:
    """`ON` is accepted while the last session is still being written."""
    room = slow.room
    first = room.start(desk="Alice")
    slow.say(first, HELLO)
    room.watcher.publish(f"{TOPIC}/session/set", "OFF")
    slow.state("stopping", first, first)
    after = room.watcher.count()
    room.watcher.publish(f"{TOPIC}/session/set", "ON")
    recording = room.state("recording", after)
    assert recording["finishing"] == [first]
    assert recording["problem"] is None
    slow.let_go()
    slow.final(first)
    assert room.stop()["session_id"] == recording["session_id"]


@pytest.mark.parametrize("slow", [True, False], indirect=True, ids=["resumed", "closed"])
def test_a_kill_with_two_in_flight(slow: Slow, request: pytest.FixtureRequest) -> None:
    """One is recorded while one is being written: both end, each with its own words."""
    room = slow.room
    first = room.start(desk="Alice")
    slow.say(first, HELLO)
    slow.ask("session/stop", "first")
    slow.state("stopping", first, first)
    second = room.start(desk="Bruno")
    slow.say(second, BONJOUR)
    slow.node.program.kill_group()
    after = room.watcher.count()
    slow.node.start().wait_online(room.watcher, after)
    if "resumed" in request.node.name:
        state = room.state("recording", after)
        assert (state["session_id"], state["finishing"]) == (second, [first])
    else:
        state = room.state("stopping", after)
        assert (state["session_id"], state["finishing"]) == (second, [first, second])
    slow.let_go()
    assert lines(slow.final(first)["text"]) == [f"Alice: {HELLO.text}"]
    if "resumed" in request.node.name:
        room.segments(second, 1)
        room.say_to_the_end("desk", MEETING)
        room.segments(second, 2)
        assert (
            room.state("recording", after)["message"] == "recording resumed after an interruption"
        )
        after = room.watcher.count()
        room.stop()
        assert room.state("idle", after)["message"] is None
        expected = [f"Bruno: {BONJOUR.text}", f"Bruno: {MEETING.text}"]
    else:
        expected = [f"Bruno: {BONJOUR.text}"]
    assert lines(slow.final(second)["text"]) == expected
    for session in (first, second):
        segments = room.segments(session, 1)
        assert [s["seq"] for s in segments] == list(range(1, len(segments) + 1))
    assert not list((slow.node.storage / "spool").iterdir())


def test_a_session_that_was_stopped_is_not_recorded_further_after_a_kill(slow: Slow) -> None:
    room = slow.room
    first = room.start(desk="Alice")
    slow.say(first, HELLO)
    after = room.watcher.count()
    slow.ask("session/stop", "first")
    room.state("stopping", after)
    slow.node.program.kill_group()
    slow.let_go()
    after = room.watcher.count()
    slow.node.start().wait_online(room.watcher, after)
    assert lines(slow.final(first)["text"]) == [f"Alice: {HELLO.text}"]
    states = [m.json()["state"] for m in room.watcher.messages(f"{TOPIC}/session", after)]
    assert "recording" not in states[1:]  # the first is the one the broker retained
