"""Ways from the tracks of a meeting to a transcript, all with the same Whisper model."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from node.adapters.vad import Silero
from node.adapters.whisper import Engine, EngineSettings
from node.core.model import SAMPLE_RATE
from node.core.room import Room
from node.core.segmenter import Audio, Ended, Endpointing, Started

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from node.core.room import Mode
    from node.core.segmenter import Event, Samples
    from tests.bench.accuracy.meeting import Spoken

    Tracks = npt.NDArray[np.int16]

MODEL = Path("config/demo/model")
LANGUAGES = ("en", "fr")
THREADS = 2

CHUNK = 640
"""Samples (40 ms) fed of one microphone before the next, as capture processes deliver them."""


@dataclass(frozen=True, slots=True)
class Line:
    """One segment of a transcript; times in seconds."""

    speaker: int
    start: float
    end: float
    text: str


def oracle(said: list[Spoken]) -> list[Line]:
    """Each sentence as it was spoken, alone and clean, under its true name."""
    lines = [
        _line(spoken.speaker, spoken.start, np.round(spoken.sound * 32767).astype(np.int16))
        for spoken in said
    ]
    return [line for line in lines if line.text]


def node(tracks: Tracks, mode: Mode) -> list[Line]:
    """The node's own way, from samples to text."""
    lines = [
        _line(mic, start / SAMPLE_RATE, samples) for mic, start, samples in utterances(tracks, mode)
    ]
    return sorted((line for line in lines if line.text), key=lambda line: line.start)


def blocks(tracks: Tracks, seconds: float) -> list[Line]:
    """The prototype's way: blocks of fixed length of every track, one after the other."""
    size = round(seconds * SAMPLE_RATE)
    return [
        line
        for begin in range(0, tracks.shape[1], size)
        for mic, track in enumerate(tracks)
        for line in _faster_whisper(mic, track[begin : begin + size], begin, vad_filter=False)
    ]


def vad_filter(tracks: Tracks) -> list[Line]:
    """faster-whisper with its own voice activity detection on every whole track."""
    lines = [
        line
        for mic, track in enumerate(tracks)
        for line in _faster_whisper(mic, track, 0, vad_filter=True)
    ]
    return sorted(lines, key=lambda line: line.start)


def utterances(tracks: Tracks, mode: Mode) -> Iterator[tuple[int, int, Samples]]:
    """Microphone, first sample and samples of every utterance that is kept."""
    heard = Room(Endpointing(), mode)
    for mic in range(len(tracks)):
        heard.add(str(mic), silero().detector())
    open_since: dict[str, int] = {}
    sound: dict[str, list[Samples]] = {}
    for name, event in _events(heard, tracks):
        match event:
            case Started(start):
                open_since[name], sound[name] = start, []
            case Audio(samples):
                sound[name].append(samples)
            case Ended(end, crosstalk_of) if crosstalk_of is None:
                start = open_since[name]
                yield int(name), start, np.concatenate(sound[name])[: end - start]


def _events(heard: Room, tracks: Tracks) -> Iterator[tuple[str, Event]]:
    for begin in range(0, tracks.shape[1], CHUNK):
        for mic, track in enumerate(tracks):
            yield from heard.feed(str(mic), track[begin : begin + CHUNK])
    for mic in range(len(tracks)):
        yield from heard.flush(str(mic))


@functools.cache
def silero() -> Silero:
    return Silero()


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
            beam_size=5,
            word_timestamps=False,
        )
    )
    engine.load()
    return engine


@functools.cache
def _plain_model() -> Any:
    from faster_whisper import WhisperModel  # noqa: PLC0415  (slow to import)

    return WhisperModel(str(MODEL), device="cpu", compute_type="int8", cpu_threads=THREADS)


def _line(speaker: int, start: float, samples: Samples) -> Line:
    heard = _engine().transcribe(samples, None)
    return Line(speaker, start, start + len(samples) / SAMPLE_RATE, heard.text)


def _faster_whisper(mic: int, sound: Samples, begin: int, *, vad_filter: bool) -> list[Line]:
    samples = sound.astype(np.float32) / 32768
    segments, _ = _plain_model().transcribe(samples, vad_filter=vad_filter)
    zero = begin / SAMPLE_RATE
    return [Line(mic, zero + s.start, zero + s.end, s.text.strip()) for s in segments]
