"""Workers as subprocesses, and utterances that wait in a node's storage for them."""

from __future__ import annotations

import json
import signal
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

import yaml

from node.adapters.store import Store
from node.core.model import Session
from node.core.room.endpointing import Ended
from tests.rig.node import MODEL, ROOT, START_TIMEOUT_S, spoken
from tests.rig.processes import Program

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tests.model.sentences import Sentence
    from tests.rig.mqtt import Watcher

SESSION = "20261122T100000Z-aaaa"


def worker_configuration(folder: Path, name: str, port: int, **sections: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "worker": {"id": name},
        "mqtt": {"host": "127.0.0.1", "port": port},
        "transcription": {"model": str(MODEL), "threads": 1},
        "storage": {"path": str(folder / f"storage-{name}")},
    }
    for section, keys in sections.items():
        base[section] = {**base.get(section, {}), **keys}
    return base


class RunningWorker:
    """Runs `python -m node worker` from entry to exit; `module` can be one with a fault."""

    def __init__(
        self,
        folder: Path,
        name: str,
        port: int,
        module: str = "node",
        env: Mapping[str, str] | None = None,
        **sections: Any,
    ) -> None:
        self.name = name
        self.file = folder / f"{name}.yaml"
        self.storage = folder / f"storage-{name}"
        self.topic = f"scribe/worker/{name}/status"
        self._module, self._env = module, env
        self.file.write_text(yaml.safe_dump(worker_configuration(folder, name, port, **sections)))
        self._program: Program | None = None

    def start(self) -> Self:
        if self._program is not None:
            self._program.__exit__()
        command = [sys.executable, "-m", self._module, "worker", "--config", str(self.file)]
        self._program = Program(command, self._env, ROOT).start()
        return self

    @property
    def program(self) -> Program:
        assert self._program is not None
        return self._program

    def wait_online(self, watcher: Watcher, after: int = 0) -> Self:
        watcher.wait_for(
            lambda m: m.topic == self.topic and not m.retain and m.json()["state"] == "online",
            START_TIMEOUT_S,
            after,
        )
        return self

    def status(self, watcher: Watcher) -> dict[str, Any]:
        """Return what it has said of itself last."""
        return dict(watcher.messages(self.topic)[-1].json())

    def end(self, timeout: float = 40) -> int:
        self.program.signal(signal.SIGTERM)
        return self.program.wait(timeout)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, exception: type[BaseException] | None, *_rest: object) -> None:
        if exception is not None:
            sys.stderr.write(self.program.output())
        self.program.__exit__()


def fill(storage: Path, said: Mapping[str, Sequence[Sentence | list[Sentence]]]) -> list[str]:
    """Leave utterances of a session in a node's storage, as if it had been killed.

    `said` is what was said at each mic, in turns: a sentence, or several without a pause that would
    end the utterance. Returns the ids in the order of speech.
    """
    storage.mkdir(parents=True, exist_ok=True)
    store = Store(storage, keep_audio=False)
    store.open()
    speakers = {mic: f"Person at {mic}" for mic in said}
    session = Session(SESSION, datetime(2026, 11, 22, 10, tzinfo=UTC), speakers=speakers)
    store.sessions.begin(session, time.monotonic())
    ids: list[str] = []
    start = 0
    for turn in range(max(map(len, said.values()))):
        for mic, sentences in said.items():
            if turn < len(sentences):
                each = sentences[turn]
                sound = spoken(*(each if isinstance(each, list) else [each]), pause_s=0.5)
                utterance, recording = store.utterances.open(
                    SESSION, mic, speakers[mic], None, start
                )
                recording.append(sound)
                recording.finish(len(sound))
                end = start + len(sound)
                store.utterances.captured(utterance, Ended(end, speech=(start, end)))
                ids.append(utterance.id)
                start = end
    store.close()
    return ids


def stored(storage: Path) -> list[dict[str, Any]]:
    """Return the segments in a node's storage, in the order of `seq`."""
    store = Store(storage, keep_audio=False)
    store.open()
    started_at = store.sessions.get(SESSION).started_at  # type: ignore[union-attr]  # it is there
    found = [segment.payload(started_at) for segment in store.sessions.segments(SESSION)]
    store.close()
    return json.loads(json.dumps(found))  # type: ignore[no-any-return]
