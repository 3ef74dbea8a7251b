"""What partial texts give and cost: `python -m tests.bench.partials [--rounds N]`.

Two virtual mics, three sentences per utterance, the demonstration model: how long after its end a
subscriber sees a word, by the word times in the final segments, and how late those segments come,
with and without partial texts. Other load on the machine affects the figures.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from tests.model.sentences import ENGLISH, FRENCH
from tests.rig.broker import Broker
from tests.rig.mqtt import Watcher
from tests.rig.node import TOPIC, Room, RunningNode, configuration
from tests.rig.vmics import VirtualMic, VirtualMics

if TYPE_CHECKING:
    from tests.rig.mqtt import Message

TALK = {"desk": ENGLISH, "door": FRENCH}
SENTENCES = 3
PAUSE_S = 0.25
"""Between the sentences of an utterance: too short to end it."""

ROUNDS = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    rounds = parser.parse_args().rounds
    table = Table("partials", "", "number", "median s", "95th percentile s")
    for partials in (False, True):
        finals, words, unseen = measure(rounds, partials=partials)
        table.add_row(str(partials), "end of speech to segment", *_spread(finals))
        if partials:
            table.add_row(
                "", f"end of a word to sight ({unseen} not before the end)", *_spread(words)
            )
    Console(width=110).print(table)


def measure(rounds: int, *, partials: bool) -> tuple[list[float], list[float], int]:
    """Return latencies of segments and words in seconds, and words not seen before their segment.

    A first short sentence of each mic, from which the node learns what a pass takes, is left out.
    """
    with (
        tempfile.TemporaryDirectory() as name,
        Broker() as broker,
        VirtualMics([VirtualMic(mic) for mic in TALK]) as mics,
        Watcher(broker.port) as watcher,
    ):
        transcription = {"partials": partials, "word_timestamps": True}
        config = configuration(
            Path(name),
            broker.port,
            list(TALK),
            transcription=transcription,
            crosstalk={"mode": "off"},
        )
        with RunningNode(Path(name), config, mics.env) as node:
            return evaluate(talk(Room(node.wait_online(watcher), mics, watcher), rounds))


def talk(room: Room, rounds: int) -> list[Message]:
    """Return everything published on the topics of the mics."""
    session = room.start(**{mic: mic for mic in TALK})
    for mic, sentences in TALK.items():
        room.say(mic, sentences[0])
    room.segments(session, 2)
    after = room.watcher.count()
    for turn in range(rounds):
        for mic, sentences in TALK.items():
            first = 5 + turn % 5 * SENTENCES
            room.say(mic, *sentences[first : first + SENTENCES], pause_s=PAUSE_S)
        room.segments(session, 2 + 2 * (turn + 1))
    room.stop()
    return room.watcher.messages(f"{TOPIC}/mic/+/+", after)


def evaluate(messages: list[Message]) -> tuple[list[float], list[float], int]:
    wall = time.time() - time.monotonic()
    finals: list[float] = []
    words: list[float] = []
    unseen = 0
    for message in messages:
        if not message.topic.endswith("/segment"):
            continue
        segment = message.json()
        finals.append(message.time + wall - _at(segment["end"]))
        seen = appearances(messages, segment)
        for number, word in enumerate(segment["words"]):
            if number < len(seen):
                words.append(seen[number] + wall - _at(segment["start"]) - word["end"])
            else:
                unseen += 1
    return finals, words, unseen


def appearances(messages: list[Message], segment: dict[str, Any]) -> list[float]:
    """Return when each word of a segment was first seen in a partial text."""
    seen: list[float] = []
    for message in messages:
        if message.topic == f"{TOPIC}/mic/{segment['mic']}/partial":
            body = message.json()
            if body["start"] == segment["start"]:
                seen += [message.time] * (len(body["text"].split()) - len(seen))
    return seen


def _at(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


def _spread(values: list[float]) -> tuple[str, str, str]:
    if len(values) < 2:
        return str(len(values)), "", ""
    late = statistics.quantiles(values, n=20)[18]
    return str(len(values)), f"{statistics.median(values):.2f}", f"{late:.2f}"


if __name__ == "__main__":
    main()
