"""Ways from the tracks of a meeting to a transcript, all with the same Whisper model."""

from __future__ import annotations

import functools
import importlib.metadata
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from node.adapters.whisper import Engine, EngineSettings
from node.core.model import SAMPLE_RATE
from node.core.room import Room
from node.core.segmenter import Audio, Ended, Endpointing, Started
from tests.bench.accuracy.store import digest, files_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy.typing as npt

    from node.core.room import Mode
    from node.core.segmenter import Event, Samples
    from tests.bench.accuracy.scene import Scene
    from tests.bench.accuracy.store import Store

    System = Callable[["Bench", Scene], "Account"]

MODEL = Path("config/demo/model")
LANGUAGES = ("en", "fr")

THREADS = 1
"""A second one gains nothing on a model this small; meetings run side by side instead."""

CHUNK = 640
"""Samples (40 ms) fed of one microphone before the next, as capture processes deliver them."""


@dataclass(frozen=True, slots=True)
class Line:
    """One segment of a transcript; times in seconds."""

    speaker: int
    start: float
    end: float
    text: str


@dataclass(frozen=True, slots=True)
class Account:
    """A transcript, and what the node decided on the way.

    `set_aside` holds the utterances that ended as another microphone's: microphone, start and end
    in seconds, and the microphone whose speech it was; `lags_s` the delays found.
    """

    lines: list[Line]
    set_aside: list[tuple[int, float, float, int]] = field(default_factory=list)
    lags_s: dict[str, float | None] = field(default_factory=dict)


class Bench:
    """The engine and the plain model, with what they have recognised before."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._texts: dict[str, str] = {}
        self._known = 0

    def open(self, key: str) -> None:
        """Remember what was recognised of the meeting of this name."""
        self._texts = self._store.get(f"{key}-{_engine_digest()}-texts", {})
        self._known = len(self._texts)

    def keep(self, key: str) -> None:
        if len(self._texts) > self._known:
            self._store.put(f"{key}-{_engine_digest()}-texts", self._texts)

    def text(self, samples: Samples) -> str:
        """What the node's engine makes of an utterance."""
        key = digest(samples)
        if key not in self._texts:
            self._texts[key] = _engine().transcribe(samples, None).text
        return self._texts[key]

    def tracks_once(self, name: str, key: str, make: Callable[[], list[Line]]) -> list[Line]:
        """The lines of a system that is none of ours, which change only with its release."""
        version = importlib.metadata.version("faster-whisper")
        found = self._store.value(
            f"{key}-{digest(name, version, _model_digest())}-lines",
            lambda: [asdict(line) for line in make()],
        )
        return [Line(**entry) for entry in found]


def oracle(bench: Bench, scene: Scene) -> Account:
    """Each sentence as it was spoken, alone and clean, under its true name."""
    lines = []
    for spoken in scene.said:
        text = bench.text(np.round(spoken.sound * 32767).astype(np.int16))
        lines.append(Line(spoken.speaker, spoken.start, spoken.end, text))
    return Account([line for line in lines if line.text])


def node(mode: Mode, bench: Bench, scene: Scene) -> Account:
    """The node's own way, from samples to text."""
    room = Room(Endpointing(), mode)
    for mic, voices in enumerate(scene.voices):
        room.add(str(mic), Remembered(voices))
    account = Account([])
    open_since: dict[str, int] = {}
    sound: dict[str, list[Samples]] = {}
    for name, event in _events(room, scene.recording.tracks):
        match event:
            case Started(start):
                open_since[name], sound[name] = start, []
            case Audio(samples):
                sound[name].append(samples)
            case Ended():
                samples = np.concatenate(sound[name])[: event.end - open_since[name]]
                _take(bench, account, int(name), event, samples)
    account.lags_s.update(room.lags_s())
    account.lines.sort(key=lambda line: line.start)
    return account


def blocks(seconds: int, bench: Bench, scene: Scene) -> Account:
    """The prototype's way: blocks of fixed length of every track, one after the other."""
    size, tracks = seconds * SAMPLE_RATE, scene.recording.tracks

    def lines() -> list[Line]:
        return [
            line
            for begin in range(0, tracks.shape[1], size)
            for mic, track in enumerate(tracks)
            for line in _faster_whisper(mic, track[begin : begin + size], begin, vad_filter=False)
        ]

    return Account(bench.tracks_once(f"blocks {seconds}", scene.key, lines))


def vad_filter(bench: Bench, scene: Scene) -> Account:
    """faster-whisper with its own voice activity detection on every whole track."""

    def lines() -> list[Line]:
        found = [
            line
            for mic, track in enumerate(scene.recording.tracks)
            for line in _faster_whisper(mic, track, 0, vad_filter=True)
        ]
        return sorted(found, key=lambda line: line.start)

    return Account(bench.tracks_once("vad filter", scene.key, lines))


SYSTEMS: dict[str, System] = {
    "oracle": oracle,
    "drop": functools.partial(node, "drop"),
    "off": functools.partial(node, "off"),
    "blocks30": functools.partial(blocks, 30),
    "blocks15": functools.partial(blocks, 15),
    "vad": vad_filter,
}


class Remembered:
    """A voice detector that has heard the track before."""

    def __init__(self, probabilities: npt.NDArray[np.float32]) -> None:
        self._probabilities = probabilities
        self.reset()

    def reset(self) -> None:
        self._next = iter(self._probabilities.tolist())

    def __call__(self, frames: Samples) -> npt.NDArray[np.float32]:
        return np.array([next(self._next) for _ in frames], np.float32)


def _events(room: Room, tracks: npt.NDArray[np.int16]) -> Iterator[tuple[str, Event]]:
    for begin in range(0, tracks.shape[1], CHUNK):
        for mic, track in enumerate(tracks):
            yield from room.feed(str(mic), track[begin : begin + CHUNK])
    for mic in range(len(tracks)):
        yield from room.flush(str(mic))


def _take(bench: Bench, account: Account, mic: int, ended: Ended, samples: Samples) -> None:
    start, end = (position / SAMPLE_RATE for position in ended.speech)
    if ended.crosstalk_of is not None:
        account.set_aside.append((mic, start, end, int(ended.crosstalk_of)))
    elif text := bench.text(samples):
        account.lines.append(Line(mic, start, end, text))


@functools.cache
def _engine() -> Engine:
    engine = Engine(
        EngineSettings(
            model=str(MODEL),
            folder=MODEL,
            download_root=MODEL,
            compute_type="int8",
            languages=LANGUAGES,
            threads=THREADS,
        )
    )
    engine.load()
    return engine


@functools.cache
def _engine_digest() -> str:
    return digest(files_digest("node/adapters/whisper/*.py"), _model_digest())


@functools.cache
def _model_digest() -> str:
    return files_digest(f"{MODEL}/*")


@functools.cache
def _plain_model() -> Any:
    from faster_whisper import WhisperModel  # noqa: PLC0415  (slow to import)

    return WhisperModel(str(MODEL), device="cpu", compute_type="int8", cpu_threads=THREADS)


def _faster_whisper(mic: int, sound: Samples, begin: int, *, vad_filter: bool) -> list[Line]:
    samples = sound.astype(np.float32) / 32768
    segments, _ = _plain_model().transcribe(samples, vad_filter=vad_filter)
    zero = begin / SAMPLE_RATE
    return [Line(mic, zero + s.start, zero + s.end, s.text.strip()) for s in segments]
