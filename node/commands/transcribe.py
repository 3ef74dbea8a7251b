"""`transcribe`: the service's own way from sound to transcript, over recorded tracks.

One file a microphone of the same meeting, begun at the same time. The tracks are heard side by
side in steps, and every utterance goes through the same endpointing and the same engine as when
it is spoken live.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.progress import Progress

from node.adapters import sound_files
from node.adapters.vad import Silero
from node.adapters.whisper import Engine
from node.config import Config, load_config
from node.core.formats import WRITERS
from node.core.languages import WHISPER_LANGUAGES
from node.core.model import SAMPLE_RATE, Segment, Session, at_sample
from node.core.segmenter import Audio, Ended, Started
from node.core.track import Track
from node.core.transcript import Transcript, merge
from node.errors import ConfigError
from node.service.archive import SUFFIX
from node.service.settings import endpointing, engine_settings

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    import numpy.typing as npt

    from node.core.segmenter import Event

STEP = 30 * SAMPLE_RATE
"""Samples heard of every track before what was said in them is transcribed."""

START = datetime(2000, 1, 1, tzinfo=UTC)
"""Recordings do not say when they were made: times of day count from the beginning."""

SESSION = f"{START:%Y%m%dT%H%M%SZ}-0000"


@dataclass(frozen=True, slots=True)
class _Spoken:
    mic: str
    speaker: str
    start: int
    samples: npt.NDArray[np.int16]


class _Recorded:
    """One file on its way: read in steps, cut into utterances."""

    def __init__(self, file: Path, mic: str, speaker: str, track: Track) -> None:
        self._pieces = sound_files.read(file)
        self._mic = mic
        self._speaker = speaker
        self._track = track
        self._start = 0
        self._heard: list[npt.NDArray[np.int16]] = []
        self.over = False

    def step(self) -> list[_Spoken]:
        """Hear the next step; gives the utterances that have ended in it."""
        spoken: list[_Spoken] = []
        until = self._track.position + STEP
        while self._track.position < until:
            piece = next(self._pieces, None)
            if piece is None:
                self.over = True
                return spoken + self._take(self._track.flush())
            spoken += self._take(self._track.feed(piece))
        return spoken

    def _take(self, events: list[Event]) -> list[_Spoken]:
        spoken = []
        for event in events:
            match event:
                case Started(start):
                    self._start, self._heard = start, []
                case Audio(samples):
                    self._heard.append(samples)
                case Ended(end):
                    samples = np.concatenate(self._heard)[: end - self._start]
                    spoken.append(_Spoken(self._mic, self._speaker, self._start, samples))
        return spoken


def run(arguments: argparse.Namespace) -> int:
    config = _config(arguments)
    length_s = max(sound_files.duration_s(file) for file in arguments.files)
    engine = Engine(engine_settings(config))
    engine.load()
    if engine.notice:
        sys.stderr.write(f"{engine.notice}\n")
    with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("transcribing", total=length_s)
        segments: list[Segment] = []
        for segment in _segments(engine, arguments, config):
            progress.update(task, completed=segment.end / SAMPLE_RATE)
            if segment.text:
                segments.append(replace(segment, seq=len(segments) + 1))
        progress.update(task, completed=length_s)
    session = Session(
        id=SESSION,
        started_at=START,
        ended_at=at_sample(START, round(length_s * SAMPLE_RATE)),
        speakers={segment.mic: segment.speaker for segment in segments},
    )
    _write(Transcript(session, merge(segments), UTC), arguments)
    return 0


def _segments(engine: Engine, arguments: argparse.Namespace, config: Config) -> Iterator[Segment]:
    """What the engine makes of each utterance; an empty text where nothing was said."""
    language = None if config.transcription.language == "auto" else config.transcription.language
    for number, spoken in enumerate(_utterances(arguments, config), start=1):
        heard = engine.transcribe(spoken.samples, language)
        yield Segment(
            id=f"{SESSION}/{spoken.mic}/{number}",
            session_id=SESSION,
            seq=number,
            mic=spoken.mic,
            speaker=spoken.speaker,
            start=spoken.start,
            end=spoken.start + len(spoken.samples),
            text=heard.text,
            language=heard.language,
            language_probability=heard.language_probability,
            confidence=heard.confidence,
            words=heard.words,
        )


def _utterances(arguments: argparse.Namespace, config: Config) -> Iterator[_Spoken]:
    """Every utterance of all tracks, those of one step in the order in which they were begun."""
    silero = Silero()
    names = _names(arguments)
    tracks = [
        _Recorded(file, mic, speaker, Track(silero.detector(), endpointing(config)))
        for file, (mic, speaker) in zip(arguments.files, names, strict=True)
    ]
    while not all(track.over for track in tracks):
        ended = [spoken for track in tracks if not track.over for spoken in track.step()]
        yield from sorted(ended, key=lambda spoken: spoken.start)


def _names(arguments: argparse.Namespace) -> list[tuple[str, str]]:
    """Mic id and speaker of each file: the name given, else the file's own."""
    if len(arguments.speaker) > len(arguments.files):
        raise ConfigError(
            [f"--speaker: {len(arguments.speaker)} names for {len(arguments.files)} files"]
        )
    missing = [file.stem for file in arguments.files[len(arguments.speaker) :]]
    return [
        (f"track-{number}", name)
        for number, name in enumerate([*arguments.speaker, *missing], start=1)
    ]


def _config(arguments: argparse.Namespace) -> Config:
    """The configuration, with what the command line says in its place."""
    config = load_config(arguments.config) if arguments.config else Config()
    changes: dict[str, object] = {}
    if arguments.model is not None:
        folder = Path(arguments.model).expanduser()
        changes["model"] = str(folder.absolute()) if folder.is_dir() else arguments.model
    if arguments.language is not None:
        if arguments.language not in {"auto", *WHISPER_LANGUAGES}:
            raise ConfigError([f"--language: {arguments.language} is no code Whisper knows"])
        changes["language"] = arguments.language
    changed = config.transcription.model_copy(update=changes)
    return config.model_copy(update={"transcription": changed})


def _write(transcript: Transcript, arguments: argparse.Namespace) -> None:
    text = WRITERS[SUFFIX[arguments.format]](transcript, ())
    if arguments.output is None:
        sys.stdout.write(text)
    else:
        arguments.output.write_text(text, encoding="utf-8")
