"""`transcribe`: the service's own way from sound to transcript, over recorded tracks.

One file a microphone of the same meeting, each placed on one timeline where it began. The tracks
are heard side by side in equal steps, and every utterance goes through the same ownership,
endpointing and engine as when it is spoken live.
"""

from __future__ import annotations

import itertools
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import Progress

from node.adapters.store import Utterance
from node.adapters.vad import Silero
from node.adapters.whisper import Engine
from node.commands import placing, results
from node.commands.compare_windows import compare
from node.commands.recorded import Recorded, RecordedUtterance
from node.commands.tracks import chosen, say, why_empty
from node.config import Config, load_config
from node.core.model import SAMPLE_RATE, Session, at_sample
from node.core.room.room import Room
from node.core.room.segmenter import Withdrawn
from node.core.text.context import Contexts
from node.core.text.format_names import SUFFIX
from node.core.text.formats import WRITERS
from node.core.text.languages import WHISPER_LANGUAGES
from node.core.text.prior import LanguagePrior
from node.core.text.transcript import Transcript, merge
from node.errors import EXIT_FAILED, ConfigError
from node.service.settings import endpointing, engine_settings
from node.service.transcribing.segments import segment_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator

    from node.core.model import Segment
    from node.core.room.room import MicEvents

STEP = SAMPLE_RATE // 10
"""Samples (0.1 s) heard of one track before the next has its turn: a room waits for 0.3 s."""

START = datetime(2000, 1, 1, tzinfo=UTC)
"""Recordings do not say when they were made: times of day count from the beginning."""

SESSION = f"{START:%Y%m%dT%H%M%SZ}-0000"


def run(arguments: argparse.Namespace) -> int:
    config = _config(arguments)
    placing.check(arguments.offset, arguments.files)
    given, unreadable = chosen(arguments.files, arguments.speaker)
    results.try_place(arguments.output, arguments.files)
    engine = Engine(engine_settings(config))
    engine.load()
    if engine.notice:
        say(engine.notice)
    places = placing.place(given, arguments.offset)
    recorded = [Recorded(track, placed) for track, placed in zip(given, places, strict=True)]
    tracks = {track.mic: track for track in recorded}
    if arguments.compare_window:
        heard = _utterances(tracks, config)
        utterances = (each for each in heard if isinstance(each, RecordedUtterance))
        compare(engine, utterances, _language(config))
        _say_remarks(recorded)
    else:
        expected_s = max(track.expected_end_s for track in recorded)
        segments = _shown(_segments(engine, tracks, config), expected_s)
        _say_remarks(recorded)
        _say_who_is_missing(recorded, segments)
        if readable := [track for track in recorded if not track.failure]:
            _write(segments, max(track.end_s for track in readable), arguments)
    return EXIT_FAILED if unreadable or any(track.failure for track in recorded) else 0


def _shown(segments: Iterator[Segment], length_s: float) -> list[Segment]:
    """Segments with words in them, numbered; shows meanwhile how far they are.

    One that comes again, as another's speech, takes its own place.
    """
    kept: dict[str, Segment] = {}
    with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("transcribing", total=length_s)
        for segment in segments:
            progress.update(task, completed=segment.end / SAMPLE_RATE)
            if segment.text:
                kept[segment.id] = segment
        progress.update(task, completed=length_s)
    return [replace(segment, seq=seq) for seq, segment in enumerate(kept.values(), start=1)]


def _say_remarks(tracks: Iterable[Recorded]) -> None:
    for track in tracks:
        for remark in track.remarks:
            say(remark)


def _say_who_is_missing(tracks: Iterable[Recorded], segments: list[Segment]) -> None:
    """Say of each track that has nothing in the transcript why that is so."""
    heard = {segment.mic for segment in segments if segment.crosstalk_of is None}
    for track in tracks:
        if track.mic not in heard and not track.failure:
            say(why_empty(track.file, track.found))


def _segments(engine: Engine, tracks: dict[str, Recorded], config: Config) -> Iterator[Segment]:
    """What the engine makes of each utterance; an empty text where nothing was said.

    What turns out to have been another's speech comes once more, with `crosstalk_of`.
    """
    names = ", ".join(track.speaker for track in tracks.values())
    hotwords = names if config.transcription.name_hotwords else None
    languages, contexts = LanguagePrior(), Contexts()
    said: dict[tuple[str, int], Segment] = {}
    for spoken in _utterances(tracks, config):
        if not isinstance(spoken, RecordedUtterance):
            mic, withdrawn = spoken
            contexts.forget_speaker((SESSION, mic, tracks[mic].speaker))
            yield replace(said[mic, withdrawn.start], crosstalk_of=withdrawn.other)
            continue
        number = len(said) + 1
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
        segment = segment_of(_utterance(number, spoken), heard, number, latency_s=0.0)
        said[spoken.mic, spoken.start] = segment
        yield segment


def _utterance(number: int, spoken: RecordedUtterance) -> Utterance:
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


def _utterances(
    tracks: dict[str, Recorded], config: Config
) -> Iterator[RecordedUtterance | tuple[str, Withdrawn]]:
    """The utterances of all tracks as they end; in mode "tag" those of other mics among them.

    Behind it, with its mic, what says of one that it was another's speech.
    """
    silero = Silero()
    room = Room(endpointing(config), config.crosstalk.mode)
    for mic, track in tracks.items():
        room.add(mic, silero.detector(), track.begin)
    running = list(tracks)
    for position in itertools.count(STEP, STEP):
        for mic in tuple(running):
            if position <= tracks[mic].begin:
                continue
            samples = tracks[mic].read_to(position)
            if samples is None:
                running.remove(mic)
                tracks[mic].level_dbfs = room.level_dbfs(mic)
            events = room.flush(mic) if samples is None else room.feed(mic, samples)
            yield from _ended(tracks, events, config)
        if not running:
            return


def _ended(
    tracks: dict[str, Recorded], events: MicEvents, config: Config
) -> Iterator[RecordedUtterance | tuple[str, Withdrawn]]:
    for mic, event in events:
        spoken = tracks[mic].collect(event)
        if isinstance(event, Withdrawn):
            yield mic, event
        if spoken and (spoken.ended.crosstalk_of is None or config.crosstalk.mode == "tag"):
            others = (track for other, track in tracks.items() if other != mic)
            met = any(track.speaks_during(*spoken.ended.speech) for track in others)
            yield replace(spoken, overlapped=met)


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


def _write(segments: list[Segment], length_s: float, arguments: argparse.Namespace) -> None:
    session = Session(
        id=SESSION,
        started_at=START,
        ended_at=at_sample(START, round(length_s * SAMPLE_RATE)),
        speakers={segment.mic: segment.speaker for segment in segments},
    )
    crosstalk = [segment for segment in segments if segment.crosstalk_of is not None]
    transcript = Transcript(session, merge(segments), UTC)
    results.write(WRITERS[SUFFIX[arguments.format]](transcript, crosstalk), arguments.output)
