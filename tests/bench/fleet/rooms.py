"""Rooms: the half of a node that sends speech away and stores its text, all of it the real one.

Microphones, voice detection and what is published of segments are left out: an utterance is laid
into the node's store when its speaker stops.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from node.adapters.broker import BrokerSettings
from node.adapters.store import Store
from node.adapters.whisper import EngineSettings
from node.core.model import SAMPLE_RATE, Session
from node.core.mqtt.topics import Topics, work_request
from node.core.room.endpointing import Ended
from node.service.items import (
    DiskFailed,
    SoundUnreadable,
    ThreadDied,
    Transcribed,
    UtteranceFailed,
    WorkerUseless,
)
from node.service.transcribing.away import Away
from node.service.transcribing.transcriber import Transcriber
from node.service.transcribing.work_link import WorkLink
from tests.rig.broker import HOST

if TYPE_CHECKING:
    from pathlib import Path

    from node.core.work.messages import ModelId
    from node.service.items import ThreadItem
    from tests.bench.fleet.sounds import Said, Turn

BASE = "scribe"
BEFORE_S = 60.0
"""How long the sessions have gone on when people begin to speak."""

STOP_S = 10.0

Wrong = DiskFailed | SoundUnreadable | UtteranceFailed | ThreadDied | WorkerUseless


class Room:
    """One node. `say` is for one thread; `texts` may be read from any."""

    def __init__(self, number: int, folder: Path, port: int, model: Path, has: ModelId) -> None:
        self.session_id = f"20261122T100000Z-{number:04x}"
        self.ended: dict[str, tuple[float, Said]] = {}
        self.texts: dict[str, float] = {}
        """When each utterance's text was in the store, by the utterance's id."""
        self.wrong: list[Wrong] = []
        self._store = Store(folder / f"room-{number}", keep_audio=False)
        topics = Topics(BASE, f"room-{number}")
        broker = BrokerSettings(HOST, port, topics.root)
        link = WorkLink(broker, topics, work_request(BASE, str(model)))
        settings = EngineSettings(str(model), model, folder, languages=("en", "fr"))
        self._transcriber = Transcriber(
            engine=None,
            sessions=self._store.sessions,
            utterances=self._store.utterances,
            topics=topics,
            post=self._take,
            away=Away(link, settings, has.name, lambda: has, returns=False),
        )

    def start(self) -> None:
        self._store.open()
        self._zero = time.monotonic() - BEFORE_S
        session = Session(self.session_id, datetime.now(UTC), speakers={})
        self._store.sessions.begin(session, self._zero)
        self._transcriber.start()

    def say(self, turn: Turn, ended_at: float) -> None:
        """Let somebody have said something, who stopped at a monotonic time."""
        samples, mic = turn.said.samples, f"mic-{turn.mic}"
        start = round((ended_at - self._zero) * SAMPLE_RATE) - len(samples)
        end = start + len(samples)
        utterance, recording = self._store.utterances.open(
            self.session_id, mic, f"Person {turn.mic}", None, start
        )
        recording.append(samples)
        recording.finish(len(samples))
        self.ended[utterance.id] = (ended_at, turn.said)
        self._store.utterances.captured(utterance, Ended(end, speech=(start, end)))
        self._transcriber.captured()

    def _take(self, item: ThreadItem) -> None:
        """Note what is new, in the transcriber's thread."""
        if isinstance(item, Transcribed) and item.segment is not None:
            self.texts[item.segment.id] = time.monotonic()
        elif isinstance(item, Wrong):
            self.wrong.append(item)

    def stop(self) -> None:
        self._transcriber.stop(STOP_S)

    def faults(self) -> list[str]:
        """Return what is lost, there twice or changed, by the store; empty if nothing is."""
        found = self._store.sessions.segments(self.session_id)
        said = {key: said.text for key, (_, said) in self.ended.items()}
        ids = [segment.id for segment in found]
        faults = [f"{key} is lost" for key in said if key not in ids]
        faults += [f"{key} is there twice" for key in {k for k in ids if ids.count(k) > 1}]
        faults += [f"{s.id} has another text" for s in found if said.get(s.id) != s.text]
        if [segment.seq for segment in found] != list(range(1, len(found) + 1)):
            faults.append(f"{self.session_id}: its segments are not numbered one by one")
        return faults + [f"{self.session_id}: {item}" for item in self.wrong]

    def close(self) -> None:
        self._store.close()
