"""Partial texts on virtual microphones, with the real engine and broker."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from tests.model.sentences import ENGLISH, FRENCH
from tests.rig.node import TOPIC, Room, RunningNode, configuration
from tests.rig.vmics import VirtualMic, VirtualMics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.rig.broker import Broker
    from tests.rig.mqtt import Message, Watcher

pytestmark = pytest.mark.alone("how often unfinished speech is looked at depends on the machine")

PAUSE_S = 0.25
"""Too short to end an utterance."""


FIRST, TALK = ENGLISH[0], {"desk": ENGLISH[5:8], "door": FRENCH[5:8]}


@pytest.fixture
def start(broker: Broker, watcher: Watcher, tmp_path: Path) -> Iterator[Callable[..., Room]]:
    """Starts a node with the `transcription` settings given; each mic is a room of its own."""
    with VirtualMics([VirtualMic(mic) for mic in TALK]) as mics:
        nodes = []

        def started(
            env: dict[str, str] | None = None, module: str = "node", **transcription: Any
        ) -> Room:
            config = configuration(
                tmp_path,
                broker.port,
                list(TALK),
                transcription=transcription,
                crosstalk={"mode": "off"},
            )
            node = RunningNode(tmp_path, config, {**mics.env, **(env or {})}, module)
            nodes.append(node)
            return Room(node.start().wait_online(watcher), mics, watcher)

        yield started
        for node in nodes:
            node.__exit__(None)


def partials(room: Room, mic: str = "+") -> list[Message]:
    return room.watcher.messages(f"{TOPIC}/mic/{mic}/partial")


def talk(room: Room) -> list[dict[str, Any]]:
    """One short sentence, then two people at once; return the segments of these."""
    session = room.start(desk="Alice", door="Bruno")
    room.say("desk", FIRST)
    room.segments(session, 1)
    for mic, sentences in TALK.items():
        room.say(mic, *sentences, pause_s=PAUSE_S)
    said = room.segments(session, 3)[1:]
    room.stop()
    assert {segment["mic"] for segment in said} == set(TALK)
    return said


def words(text: str) -> list[str]:
    return re.sub(r"[^\w\s]", "", text.casefold()).split()


def test_words_appear_while_they_are_spoken(start: Callable[..., Room]) -> None:
    room = start(partials=True)
    for segment in talk(room):
        messages = partials(room, segment["mic"])
        shown = [message.json() for message in messages]
        assert len(shown) >= 2
        assert all((message.qos, message.retain) == (0, False) for message in messages)
        for body in shown:
            assert set(body) == {"session_id", "mic", "speaker", "text", "start"}
            assert all(body[key] == segment[key] for key in body.keys() - {"text"})
        for before, after in pairwise(body["text"] for body in shown):
            assert len(before) < len(after)
            assert after.startswith(before)
        final = words(segment["text"])
        assert words(shown[-1]["text"]) == final[: len(words(shown[-1]["text"]))]
        arrived = next(
            message.time
            for message in room.watcher.messages(f"{TOPIC}/mic/{segment['mic']}/segment")
            if message.json()["id"] == segment["id"]
        )
        assert all(message.time < arrived for message in messages)
    info = room.watcher.messages(f"{TOPIC}/info")[-1].json()
    assert "partials" in info["features"]


def test_nothing_is_published_of_unfinished_speech_by_default(start: Callable[..., Room]) -> None:
    room = start()
    talk(room)
    assert not partials(room)


def test_no_pass_is_made_that_a_final_text_would_wait_for(
    start: Callable[..., Room], tmp_path: Path
) -> None:
    """If a pass takes longer than a pause lasts, there is only one, at the end."""
    slow = tmp_path / "slow"
    slow.touch()
    env = {"ENGINE_SLOW_S": "0.7", "ENGINE_SLOW_WHILE": str(slow)}
    room = start(env, "tests.rig.slow_engine", partials=True)
    talk(room)
    assert not partials(room)


def test_an_engine_that_fails_on_unfinished_speech_still_writes_it_when_it_ends(
    start: Callable[..., Room],
) -> None:
    room = start({"ENGINE_FAULT": "draft"}, "tests.rig.failing_engine", partials=True)
    said = talk(room)
    output = room.node.program.output()
    assert "RuntimeError: the engine is out of order" in output
    assert output.count("a pass over unfinished speech of desk failed") == 1
    for segment in said:
        spoken = set(words(" ".join(sentence.text for sentence in TALK[segment["mic"]])))
        # A word in eight may be wrong: three sentences at once are hard for the model.
        assert len(spoken & set(words(segment["text"]))) > 0.8 * len(spoken)


def test_a_mic_that_is_muted_shows_nothing_more(start: Callable[..., Room]) -> None:
    room = start(partials=True)
    session = room.start(desk="Alice", door="Bruno")
    room.say("desk", FIRST)
    room.segments(session, 1)
    room.say("desk", *ENGLISH[5:9], pause_s=PAUSE_S)
    room.watcher.wait_for(f"{TOPIC}/mic/desk/partial", 10)
    room.watcher.publish(f"{TOPIC}/mic/desk/enabled/set", "OFF")
    (_, cut_off) = room.segments(session, 2)
    shown = len(partials(room))
    room.say("door", *TALK["door"], pause_s=PAUSE_S)
    room.segments(session, 3)
    room.stop()
    assert {message.json()["mic"] for message in partials(room)[shown:]} == {"door"}
    assert len(cut_off["text"]) < len(" ".join(sentence.text for sentence in ENGLISH[5:9]))
