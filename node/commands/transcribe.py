"""`transcribe`: the service's own pipeline from sound to transcript, over recorded tracks.

There is one file for each microphone of a meeting, placed on a common timeline. The service's
recorder hears the tracks side by side in equal steps, and its recogniser transcribes every
utterance. Only the queue between the two differs: it is in memory.
"""

from __future__ import annotations

import itertools
import sys
from dataclasses import replace
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import Progress

from node.adapters.vad import Silero
from node.adapters.whisper import Engine
from node.commands import placing, results
from node.commands.compare_windows import compare
from node.commands.memory_sink import MemorySink, RecordedUtterance
from node.commands.recorded import RecordedTrack
from node.commands.tracks import chosen, say, why_empty
from node.config import Config, load_config
from node.core.model import SAMPLE_RATE, UNDATED, Assignment, Session, at_sample
from node.core.room.room import Room
from node.core.text.format_names import SUFFIX
from node.core.text.formats import WRITERS
from node.core.text.languages import check_language_or_auto
from node.core.text.transcript import Transcript, merge
from node.errors import EXIT_FAILED, ConfigError
from node.service.listening.recorder import Recorder
from node.service.settings import endpointing, engine_settings
from node.service.transcribing.segments import Recogniser, segment_of, speaker_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator

    from node.commands.memory_sink import Withdrawal
    from node.core.model import Segment

STEP = SAMPLE_RATE // 10
"""Samples (0.1 s) heard from one track before the next has its turn: a room waits for 0.3 s."""

SESSION = f"{UNDATED:%Y%m%dT%H%M%SZ}-0000"


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
    recorded = [RecordedTrack(track, placed) for track, placed in zip(given, places, strict=True)]
    sink = MemorySink()
    heard = _utterances(recorded, sink, config)
    if arguments.compare_window:
        utterances = (each for each in heard if isinstance(each, RecordedUtterance))
        compare(engine, utterances, _language(config))
        _say_remarks(recorded)
    else:
        expected_s = max(track.expected_end_s for track in recorded)
        names = [track.speaker for track in recorded]
        segments = _shown(_segments(engine, heard, _hotwords(names, config)), expected_s)
        _say_remarks(recorded)
        _say_who_is_missing(recorded, sink, segments)
        if readable := [track for track in recorded if not track.failure]:
            _write(segments, max(track.end_s for track in readable), arguments)
    return EXIT_FAILED if unreadable or any(track.failure for track in recorded) else 0


def _shown(segments: Iterator[Segment], length_s: float) -> list[Segment]:
    """Return the segments that have text, numbered; show the progress meanwhile.

    One that comes again, as another's speech, keeps its place.
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


def _say_remarks(tracks: Iterable[RecordedTrack]) -> None:
    for track in tracks:
        for remark in track.remarks:
            say(remark)


def _say_who_is_missing(
    tracks: Iterable[RecordedTrack], sink: MemorySink, segments: list[Segment]
) -> None:
    """Say why each track that has nothing in the transcript has nothing."""
    heard = {segment.mic for segment in segments if segment.crosstalk_of is None}
    for track in tracks:
        if track.mic not in heard and not track.failure:
            found = track.found(sink.utterances[track.mic], sink.others[track.mic])
            say(why_empty(track.file, found))


def _segments(
    engine: Engine, heard: Iterable[RecordedUtterance | Withdrawal], hotwords: str | None
) -> Iterator[Segment]:
    """Yield the segment of each utterance; its text is empty if nothing was said.

    One that turns out to be another's speech comes once more, with `crosstalk_of`.
    """
    recogniser = Recogniser(engine)
    said: dict[str, Segment] = {}
    for spoken in heard:
        utterance = spoken.utterance
        if isinstance(spoken, RecordedUtterance):
            segment = _segment(recogniser, spoken, hotwords)
        else:
            recogniser.forget_speaker(speaker_of(utterance))
            segment = replace(said[utterance.id], crosstalk_of=spoken.other)
        said[utterance.id] = segment
        yield segment


def _segment(recogniser: Recogniser, spoken: RecordedUtterance, hotwords: str | None) -> Segment:
    utterance = spoken.utterance
    clip = recogniser.clip(
        utterance, spoken.samples, hotwords=hotwords, overlapped=spoken.overlapped
    )
    clip, heard = recogniser.hear(clip, spoken.raw)
    if utterance.crosstalk_of is None:
        recogniser.learn(utterance, clip, heard)
    return segment_of(utterance, heard, utterance.number, latency_s=0.0)


def _hotwords(names: Iterable[str], config: Config) -> str | None:
    return ", ".join(names) if config.transcription.name_hotwords else None


def _language(config: Config) -> str | None:
    language = config.transcription.language
    return None if language == "auto" else language


def _utterances(
    tracks: Iterable[RecordedTrack], sink: MemorySink, config: Config
) -> Iterator[RecordedUtterance | Withdrawal]:
    """Yield the utterances of all tracks as they end; in mode "tag" also another's speech.

    A `Withdrawal` follows an utterance that turns out to be another's speech.
    """
    mode = config.crosstalk.mode
    recorder = Recorder(SESSION, Room(endpointing(config), mode), Silero(), sink, mode)
    running = list(tracks)
    for track in running:
        recorder.join(track.mic, Assignment(track.speaker, _language(config)), track.begin)
    for position in itertools.count(STEP, STEP):
        for track in tuple(running):
            if position <= track.begin:
                continue
            begin, samples = track.position, track.read_to(position)
            if samples is not None:
                recorder.hear(track.mic, begin, samples)
            else:
                running.remove(track)
                track.level_dbfs = recorder.level_dbfs(track.mic)
                recorder.pause(track.mic)
            yield from sink.take()
        if not running:
            return


def _config(arguments: argparse.Namespace) -> Config:
    """Return the configuration, overridden by the command line."""
    config = load_config(arguments.config) if arguments.config else Config()
    changes: dict[str, object] = {}
    if arguments.model is not None:
        folder = Path(arguments.model).expanduser()
        changes["model"] = str(folder.absolute()) if folder.is_dir() else arguments.model
    if arguments.language is not None:
        try:
            changes["language"] = check_language_or_auto(arguments.language)
        except ValueError as error:
            raise ConfigError([f"--language: {error}"]) from error
    if arguments.window is not None:
        changes["window"] = arguments.window
    changed = config.transcription.model_copy(update=changes)
    return config.model_copy(update={"transcription": changed})


def _write(segments: list[Segment], length_s: float, arguments: argparse.Namespace) -> None:
    session = Session(
        id=SESSION,
        started_at=UNDATED,
        ended_at=at_sample(UNDATED, round(length_s * SAMPLE_RATE)),
        speakers={segment.mic: segment.speaker for segment in segments},
    )
    crosstalk = [segment for segment in segments if segment.crosstalk_of is not None]
    transcript = Transcript(session, merge(segments), UTC)
    results.write(WRITERS[SUFFIX[arguments.format]](transcript, crosstalk), arguments.output)
