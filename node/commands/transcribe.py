"""`transcribe`: the service's own way from sound to transcript, over recorded tracks.

One file a microphone of the same meeting, begun at the same time. The tracks are heard side by
side in equal steps, and every utterance goes through the same ownership, endpointing and engine as
when it is spoken live.
"""

from __future__ import annotations

import itertools
import math
import sys
from collections import deque
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.progress import Progress

from node.adapters import sound_files
from node.adapters.store import Utterance
from node.adapters.vad import Silero
from node.adapters.whisper import Engine
from node.commands.compare_windows import compare
from node.config import Config, load_config
from node.core.context import Contexts
from node.core.formats import WRITERS
from node.core.languages import WHISPER_LANGUAGES
from node.core.model import SAMPLE_RATE, Session, at_sample
from node.core.prior import LanguagePrior
from node.core.room import Room
from node.core.segmenter import Audio, Ended, Started
from node.core.transcript import Transcript, merge
from node.errors import ConfigError
from node.service.archive import SUFFIX
from node.service.segments import segment_of
from node.service.settings import endpointing, engine_settings

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    import numpy.typing as npt

    from node.core.model import Segment
    from node.core.room import Heard
    from node.core.segmenter import Event

STEP = SAMPLE_RATE // 10
"""Samples (0.1 s) heard of one track before the next has its turn: a room waits for 0.3 s."""

REMEMBERED = 64
"""Utterances of a track that may begin or end during one of another's: two a second for 28 s."""

START = datetime(2000, 1, 1, tzinfo=UTC)
"""Recordings do not say when they were made: times of day count from the beginning."""

SESSION = f"{START:%Y%m%dT%H%M%SZ}-0000"


Names = list[tuple[str, str]]
"""Mic id and speaker of each file."""


@dataclass(frozen=True, slots=True)
class _Spoken:
    mic: str
    speaker: str
    start: int
    samples: npt.NDArray[np.int16]
    ended: Ended
    overlapped: bool = False


class _Recorded:
    """One file on its way: read in pieces, collected into utterances."""

    def __init__(self, file: Path, mic: str, speaker: str) -> None:
        self.mic = mic
        self._speaker = speaker
        self._pieces = sound_files.read(file)
        self._given = 0
        self._ahead: npt.NDArray[np.int16] = np.empty(0, np.int16)
        self._start = 0
        self._spoken: deque[tuple[int, float]] = deque(maxlen=REMEMBERED)
        self._heard: list[npt.NDArray[np.int16]] = []

    def read_to(self, position: int) -> npt.NDArray[np.int16] | None:
        """Samples up to a position, or to the end; None where that was reached before.

        No more than that, whatever the pieces of the file: a room gives up on tracks that lag.
        """
        wanted, pieces = position - self._given, [self._ahead]
        read = len(self._ahead)
        while read < wanted and (piece := next(self._pieces, None)) is not None:
            pieces.append(piece)
            read += len(piece)
        sound = np.concatenate(pieces)
        samples, self._ahead = sound[:wanted], sound[wanted:]
        self._given += len(samples)
        return samples if len(samples) else None

    def collect(self, event: Event) -> _Spoken | None:
        """Take an event of this track; gives the utterance that ends with it."""
        match event:
            case Started(start):
                self._start, self._heard = start, []
                self._spoken.append((start, math.inf))
            case Audio(samples):
                self._heard.append(samples)
            case Ended():
                if event.crosstalk_of is None:
                    self._spoken[-1] = event.speech
                else:  # another's speech, which counts on the other's track
                    self._spoken.pop()
                heard = np.concatenate(self._heard)[: event.end - self._start]
                samples = heard if event.sound is None else event.sound
                return _Spoken(self.mic, self._speaker, self._start, samples, event)
        return None

    def speaks_during(self, start: int, end: int) -> bool:
        """Whether an utterance of this track, ended or not, overlaps with these samples."""
        return any(began < end and ended > start for began, ended in self._spoken)


def run(arguments: argparse.Namespace) -> int:
    config, names = _config(arguments), _names(arguments)
    length_s = max(sound_files.duration_s(file) for file in arguments.files)
    engine = Engine(engine_settings(config))
    engine.load()
    if engine.notice:
        sys.stderr.write(f"{engine.notice}\n")
    if arguments.compare_window:
        compare(engine, _utterances(arguments, names, config), _language(config))
        return 0
    with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("transcribing", total=length_s)
        segments: list[Segment] = []
        for segment in _segments(engine, arguments, names, config):
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
    crosstalk = [segment for segment in segments if segment.crosstalk_of is not None]
    _write(Transcript(session, merge(segments), UTC), crosstalk, arguments)
    return 0


def _segments(
    engine: Engine, arguments: argparse.Namespace, names: Names, config: Config
) -> Iterator[Segment]:
    """What the engine makes of each utterance; an empty text where nothing was said."""
    hotwords = ", ".join(name for _, name in names) if config.transcription.name_hotwords else None
    languages, contexts = LanguagePrior(), Contexts()
    for number, spoken in enumerate(_utterances(arguments, names, config), start=1):
        speaker = SESSION, spoken.mic, spoken.speaker
        own = spoken.ended.crosstalk_of is None
        heard = engine.transcribe(
            spoken.samples,
            _language(config),
            prior=languages.of(spoken.mic, spoken.speaker),
            hotwords=hotwords,
            overlapped=spoken.overlapped,
            earlier=contexts.of(speaker, spoken.start) if own else (),
        )
        if own:
            languages.learn(spoken.mic, spoken.speaker, heard)
            if not spoken.overlapped:
                contexts.learn(speaker, spoken.ended.end, spoken.samples, heard)
        yield segment_of(_utterance(number, spoken), heard, number, latency_s=0.0)


def _utterance(number: int, spoken: _Spoken) -> Utterance:
    """As the service would have kept it."""
    return Utterance(
        session_id=SESSION,
        number=number,
        mic=spoken.mic,
        speaker=spoken.speaker,
        language=None,
        start=spoken.start,
        end=spoken.ended.end,
        speech=spoken.ended.speech,
        crosstalk_of=spoken.ended.crosstalk_of,
    )


def _language(config: Config) -> str | None:
    language = config.transcription.language
    return None if language == "auto" else language


def _utterances(arguments: argparse.Namespace, names: Names, config: Config) -> Iterator[_Spoken]:
    """The utterances of all tracks as they end; in mode "tag" those of other mics among them."""
    silero = Silero()
    room = Room(endpointing(config), config.crosstalk.mode)
    tracks: dict[str, _Recorded] = {}
    for file, (mic, speaker) in zip(arguments.files, names, strict=True):
        tracks[mic] = _Recorded(file, mic, speaker)
        room.add(mic, silero.detector())
    running = list(tracks)
    for position in itertools.count(STEP, STEP):
        for mic in tuple(running):
            samples = tracks[mic].read_to(position)
            if samples is None:
                running.remove(mic)
            events = room.flush(mic) if samples is None else room.feed(mic, samples)
            yield from _ended(tracks, events, config)
        if not running:
            return


def _ended(tracks: dict[str, _Recorded], events: Heard, config: Config) -> Iterator[_Spoken]:
    for mic, event in events:
        spoken = tracks[mic].collect(event)
        if spoken and (spoken.ended.crosstalk_of is None or config.crosstalk.mode == "tag"):
            others = (track for other, track in tracks.items() if other != mic)
            met = any(track.speaks_during(*spoken.ended.speech) for track in others)
            yield replace(spoken, overlapped=met)


def _names(arguments: argparse.Namespace) -> Names:
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
    if arguments.window is not None:
        changes["window"] = arguments.window
    changed = config.transcription.model_copy(update=changes)
    return config.model_copy(update={"transcription": changed})


def _write(transcript: Transcript, crosstalk: list[Segment], arguments: argparse.Namespace) -> None:
    text = WRITERS[SUFFIX[arguments.format]](transcript, crosstalk)
    if arguments.output is None:
        sys.stdout.write(text)
    else:
        arguments.output.write_text(text, encoding="utf-8")
