"""The tracks given to `transcribe`: which can be read, and what to report about them."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from node.adapters import sound_files
from node.adapters.sound_files import SoundFileError
from node.core.room.mic_path import SILENCE_DBFS
from node.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SHORTEST_S = 0.25
"""Shortest word, as in `vad.min_speech_ms`."""


@dataclass(frozen=True, slots=True)
class Track:
    """A file, the microphone it stands for, and the person who spoke into it.

    `number` is its place on the command line, from 1; `length_s` is the length the file states.
    """

    number: int
    file: Path
    speaker: str
    length_s: float

    @property
    def mic(self) -> str:
        return f"track-{self.number}"


@dataclass(frozen=True, slots=True)
class Found:
    """What was found in a track; `others` counts the utterances that are another's speech."""

    length_s: float
    level_dbfs: float
    utterances: int
    others: int


def say(text: str) -> None:
    """Print a line for the operator, apart from the transcript."""
    sys.stderr.write(f"{text}\n")


def chosen(files: Sequence[Path], speakers: Sequence[str]) -> tuple[list[Track], list[str]]:
    """Return the tracks that can be read, each once, and why others cannot; print what is left out.

    A speaker's name is the one given in the same place, else the file's name.

    Raises:
        ConfigError: there are more names than files.
        SoundFileError: none can be read.
    """
    if len(speakers) > len(files):
        raise ConfigError([f"--speaker: {len(speakers)} names for {len(files)} files"])
    names = [*speakers, *(file.stem for file in files[len(speakers) :])]
    tracks: list[Track] = []
    problems: list[str] = []
    for number, (file, name) in enumerate(zip(files, names, strict=True), start=1):
        twin = next((track for track in tracks if _is_same(track.file, file)), None)
        if twin is not None:
            say(f"{file}: given twice; read once, for {twin.speaker}")
            continue
        try:
            contents = sound_files.inspect(file)
        except SoundFileError as error:
            problems.append(str(error))
            continue
        tracks.append(Track(number, file, _legible(name), contents.length_s))
        if contents.tracks > 1:
            say(
                f"{file}: has {contents.tracks} sound tracks; only the first is used: extract the"
                " others to files of their own"
            )
    if not tracks:
        raise SoundFileError("\n".join(problems))
    for problem in problems:
        say(f"{problem}; the other tracks are transcribed without it")
    _say_who_shares_a_name(tracks)
    return tracks, problems


def why_empty(file: Path, found: Found) -> str:
    """Return why nothing of a track is in the transcript."""
    if found.length_s < SHORTEST_S:
        reason = f"it is {found.length_s:.2f} s long"
    elif found.level_dbfs <= SILENCE_DBFS:
        reason = "it is silent from beginning to end: was the microphone muted?"
    elif not found.utterances:
        reason = f"there is no speech in it (level {found.level_dbfs:g} dBFS)"
    elif found.utterances == found.others:
        reason = "all speech in it is heard better in another track, which keeps it"
    else:
        reason = "there is speech in it, but no word was made out"
    return f"{file}: nothing was transcribed: {reason}"


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:  # one is not there
        return False


def _legible(name: str) -> str:
    """Return a name that can be printed, whatever bytes it was given as."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _say_who_shares_a_name(tracks: Sequence[Track]) -> None:
    for name, count in Counter(track.speaker for track in tracks).items():
        if count > 1:
            say(
                f"{name}: {count} tracks have this name, so their lines look like one person's;"
                " give each its own --speaker"
            )
