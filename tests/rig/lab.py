"""A node that hears a tape; tests damage its storage folder between two runs."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from node.adapters.store import DATABASE
from tests.model.sentences import SENTENCES
from tests.rig.node import Room, RunningNode, configuration, spoken
from tests.rig.tapes import record, tape_recorder

if TYPE_CHECKING:
    from pathlib import Path

    from tests.model.sentences import Sentence
    from tests.rig.broker import Broker
    from tests.rig.mqtt import Watcher

__all__ = ["DATABASE", "Lab"]

OTHERS = SENTENCES[5:9]
"""What the tape says, over and over; sentences that tests leave in the spool are different."""


class Lab:
    """A node that hears one tape, and keeps its storage, with a past session, between runs."""

    def __init__(self, folder: Path, broker: Broker, watcher: Watcher) -> None:
        tape = record(folder, "desk", OTHERS, random.Random(1))
        config = configuration(folder, broker.port, [], audio=tape_recorder(tape))
        self.node = RunningNode(folder, config)
        self.storage = self.node.storage
        self._watcher = watcher

    def start(self) -> Room:
        after = self._watcher.count()
        self.node.start().wait_online(self._watcher, after)
        return Room(self.node, None, self._watcher)  # type: ignore[arg-type]  # a tape is heard

    def hold_session(self) -> str:
        """Record until one sentence is published, so that the database has a past session."""
        room = self.start()
        session = room.start(desk="Alice")
        room.segments(session, 1)
        room.stop()
        assert self.node.end() == 0
        return session

    def leave(self, session: str, *, number: int, start: int, sentence: Sentence) -> Path:
        """Put audio into the spool, as a process that died leaves it."""
        file = self.storage / "spool" / f"{session}.{number:05}.{start}.desk.s16le"
        file.write_bytes(spoken(sentence, pause_s=0.5).astype("<i2").tobytes())
        return file

    def change(self, statement: str, *values: object) -> None:
        with closing(sqlite3.connect(self.storage / DATABASE)) as database, database:
            database.execute(statement, values)
