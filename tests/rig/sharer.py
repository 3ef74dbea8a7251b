"""The transcriber thread that shares work out, over a real store and a real broker."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self, TypeVar

import numpy as np

from node.adapters.broker import BrokerSettings
from node.adapters.store import Store
from node.adapters.whisper import Engine, EngineSettings
from node.core.model import SAMPLE_RATE, Session
from node.core.mqtt.topics import Topics
from node.core.room.endpointing import Ended
from node.service.items import (
    ThreadDied,
    Transcribed,
)
from node.service.transcribing.away import Away
from node.service.transcribing.transcriber import Transcriber
from node.service.transcribing.work_link import WorkLink
from tests.model.sentences import SENTENCES
from tests.rig.broker import HOST
from tests.rig.node import MODEL, spoken
from tests.rig.processes import wait_until
from tests.rig.scripted_worker import OWN

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from node.service.items import ThreadItem

    Sound = npt.NDArray[np.int16]

SESSION = "20261122T100000Z-aaaa"
PATIENCE_S = 30
NOISE = np.random.default_rng(0)
K = TypeVar("K")


class Sharer:
    """The thread, what it has posted, and what people say; `helped`: it has an engine too."""

    def __init__(self, folder: Path, port: int, *, helped: bool = False) -> None:
        self.store = Store(folder, keep_audio=False)
        self.store.open()
        speakers = {"desk": "Alice", "door": "Bruno"}
        session = Session(SESSION, datetime.now(UTC), speakers=speakers)
        self.store.sessions.begin(session, time.monotonic())
        self.posted: list[ThreadItem] = []
        self._said = 0
        topics = Topics("scribe", "lab")
        self.settings = settings = EngineSettings(
            model=str(MODEL), folder=MODEL, download_root=folder, languages=("en",)
        )
        broker = BrokerSettings(HOST, port, "scribe-lab")
        self.link = WorkLink(broker, topics, "scribe/work/model/request")
        self.away = Away(self.link, settings, OWN.name, lambda: OWN, returns=helped)
        self.transcriber = Transcriber(
            engine=Engine(settings) if helped else None,
            sessions=self.store.sessions,
            utterances=self.store.utterances,
            topics=topics,
            post=self.posted.append,
            away=self.away,
        )

    def say(self, seconds: float, mic: str = "desk", *, level: int = 1000) -> str:
        """Capture noise that no compression makes smaller; return the utterance's id."""
        return self.say_this(
            NOISE.integers(-level, level, round(seconds * SAMPLE_RATE), np.int16), mic
        )

    def say_garbled(self, mic: str = "desk") -> str:
        """Capture a sentence with noise in it, and its raw sound without; return its id."""
        raw = spoken(SENTENCES[6])
        noise = np.random.default_rng(1).standard_normal(len(raw)) * 4400
        sound = np.rint(raw + noise).clip(-32768, 32767).astype(np.int16)
        return self.say_this(sound, mic, raw)

    def say_this(self, samples: Sound, mic: str, raw: Sound | None = None) -> str:
        utterances, start = self.store.utterances, self._said
        utterance, recording = utterances.open(SESSION, mic, mic, None, start)
        recording.append(samples)
        recording.finish(len(samples))
        self._said = end = start + max(1, len(samples))
        utterances.captured(utterance, Ended(end, speech=(start, end), raw=raw))
        self.transcriber.captured()
        return utterance.id

    def all(self, kind: type[K]) -> list[K]:
        return [item for item in self.posted if isinstance(item, kind)]

    def wait_for(self, kind: type[K], count: int = 1) -> list[K]:
        return (
            wait_until(
                lambda: found if len(found := self.all(kind)) >= count else None,
                PATIENCE_S,
                f"{count} {kind.__name__}",
            )
            or []
        )

    def texts(self, count: int) -> list[str | None]:
        segments = [item.segment for item in self.wait_for(Transcribed, count)]
        return [segment.text if segment else None for segment in segments]

    def __enter__(self) -> Self:
        self.transcriber.start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self.transcriber.stop(PATIENCE_S)
        assert self.all(ThreadDied) == []
        self.kept = [each.text for each in self.store.sessions.segments(SESSION)]
        self.store.close()
