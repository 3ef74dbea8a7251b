"""The node as a subprocess with its configuration, and a room of people who speak."""

from __future__ import annotations

import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import yaml

from tests.model.say import say
from tests.rig.patience import stretched
from tests.rig.processes import Program, wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from tests.model.sentences import Sentence
    from tests.rig.mqtt import Watcher
    from tests.rig.vmics import VirtualMics

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "config" / "demo" / "model"
TOPIC = "scribe/lab"
START_TIMEOUT_S = 30
SESSION_TIMEOUT_S = 60
PLAYER_TIMEOUT_S = 30


def configuration(
    folder: Path, port: int, mics: Sequence[str] | Mapping[str, int | None], **sections: Any
) -> dict[str, Any]:
    """Return a configuration for virtual mics; `sections` override it key by key.

    `mics` may map each to the sample rate to open it at.
    """
    rates = mics if isinstance(mics, dict) else dict.fromkeys(mics)
    devices = [
        {"mic": mic, "device": mic} | ({"rate": rate} if rate else {})
        for mic, rate in rates.items()
    ]
    base: dict[str, Any] = {
        "node": {"id": "lab"},
        "mqtt": {"host": "127.0.0.1", "port": port},
        # A root without sound cards: tests must not use the machine's own microphones.
        "audio": {"devices": devices, "proc_root": str(folder), "sys_root": str(folder)},
        "transcription": {"model": str(MODEL), "threads": 1},
        # The tests' sentences follow one another faster than people speak.
        "vad": {"hangover_ms": 600},
        "storage": {"path": str(folder / "storage")},
        "time_zone": "Europe/Paris",
    }
    for name, section in sections.items():
        base[name] = {**base.get(name, {}), **section} if isinstance(section, dict) else section
    return base


class RunningNode:
    """Runs `python -m node run` from entry to exit; can be ended and restarted in between.

    `module` can be one that runs the node with a fault.
    """

    def __init__(
        self,
        folder: Path,
        configuration: dict[str, Any],
        env: Mapping[str, str] | None = None,
        module: str = "node",
    ) -> None:
        self.folder = folder
        self.storage = Path(configuration["storage"]["path"])
        self.topic = f"scribe/{configuration.get('node', {}).get('id', 'lab')}"
        self.file = folder / "node.yaml"
        self.configure(configuration)
        self._env = env
        self._module = module
        self._program: Program | None = None

    def configure(self, configuration: dict[str, Any]) -> None:
        self.file.write_text(yaml.safe_dump(configuration, allow_unicode=True), encoding="utf-8")

    def start(self) -> Self:
        if self._program is not None:
            self._program.__exit__()
        command = [sys.executable, "-m", self._module, "run", "--config", str(self.file)]
        self._program = Program(command, self._env, ROOT).start()
        return self

    @property
    def program(self) -> Program:
        assert self._program is not None
        return self._program

    @property
    def pid(self) -> int:
        return self.program.pid

    def wait_online(self, watcher: Watcher, after: int = 0) -> Self:
        """Wait for a live `online`, not a retained one from an earlier run."""
        watcher.wait_for(
            lambda m: m.topic == f"{self.topic}/status" and m.text == "online" and not m.retain,
            START_TIMEOUT_S,
            after,
        )
        return self

    def end(self, timeout: float = 40) -> int:
        """Send SIGTERM and return the exit status."""
        self.program.signal(signal.SIGTERM)
        return self.program.wait(timeout)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, exception: type[BaseException] | None, *_rest: object) -> None:
        if exception is not None:
            sys.stderr.write(self.program.output())
        self.program.__exit__()


@dataclass
class Room:
    """People at virtual mics, a node that listens, and a client that follows the node."""

    node: RunningNode
    mics: VirtualMics
    watcher: Watcher

    def ask(self, verb: str, timeout: float = SESSION_TIMEOUT_S, **request: Any) -> dict[str, Any]:
        """Return the whole answer to a request."""
        assert self.node.program.process.poll() is None, self.node.program.output()
        return self.watcher.request(self.node.topic, verb, request, timeout)

    def do(self, verb: str, timeout: float = SESSION_TIMEOUT_S, **request: Any) -> dict[str, Any]:
        """Return the data of an answer, which must be ok."""
        answer = self.ask(verb, timeout, **request)
        assert answer["status"] == "ok", answer
        data: dict[str, Any] = answer["data"]
        return data

    def refused(self, verb: str, **request: Any) -> dict[str, Any]:
        """Return the error of an answer, which must be one."""
        answer = self.ask(verb, **request)
        assert answer["status"] == "error", answer
        error: dict[str, Any] = answer["error"]
        return error

    def start(self, **speakers: str) -> str:
        """Start a session with these mics (`desk="Alice"`); return its id."""
        assignments = [{"mic": mic, "speaker": name} for mic, name in speakers.items()]
        session_id: str = self.do("session/start", assignments=assignments)["session_id"]
        return session_id

    def stop(self) -> dict[str, Any]:
        return self.do("session/stop")

    def say(self, mic: str, *sentences: Sentence, pause_s: float = 1.0) -> float:
        """Speak into a mic without waiting; return the seconds it takes."""
        sound = spoken(*sentences, pause_s=pause_s)
        self.mics.play(mic, sound, 16000)
        return len(sound) / 16000

    def say_to_the_end(self, mic: str, *sentences: Sentence, pause_s: float = 1.0) -> None:
        """Speak into a mic, and wait until everything is played, including the pause."""
        sound = spoken(*sentences, pause_s=pause_s)
        player = self.mics.play(mic, sound, 16000)
        assert player.wait(len(sound) / 16000 + stretched(PLAYER_TIMEOUT_S)) == 0

    def segments(self, session_id: str, count: int, timeout: float = 30) -> list[dict[str, Any]]:
        """Return the first `count` segments of a session, in the order published."""

        def come() -> list[dict[str, Any]] | None:
            messages = self.watcher.messages(f"{self.node.topic}/mic/+/segment")
            bodies = [message.json() for message in messages]
            own = [body for body in bodies if body["session_id"] == session_id]
            return own if len(own) >= count else None

        return wait_until(come, timeout, f"{count} segments of {session_id}") or []

    def state(self, wanted: str, after: int = 0, timeout: float = 30) -> dict[str, Any]:
        """Wait for `T/session` to say `wanted`."""
        message = self.watcher.wait_for(
            lambda m: m.topic == f"{self.node.topic}/session" and m.json()["state"] == wanted,
            timeout,
            after,
        )
        body: dict[str, Any] = message.json()
        return body


def spoken(*sentences: Sentence, pause_s: float = 1.0) -> npt.NDArray[np.int16]:
    """Return sentences one after the other, at 16 kHz, with quiet before and after them."""
    quiet = np.zeros(round(pause_s * 16000), np.int16)
    parts = [np.zeros(4800, np.int16)]
    for sentence in sentences:
        parts += [say(sentence.text, sentence.language, sentence.voice), quiet]
    return np.concatenate(parts)
