"""When the recorded tracks of a meeting began: as given, or found from their sound."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import track as progress

from node.adapters.sound_files import Reader, SoundFileError
from node.commands.tracks import say
from node.core.room.alignment import MATTERS_S, Placed, align, envelopes
from node.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from node.commands.tracks import Track
    from node.core.room.hearing import Floats

LARGEST_OFFSET_S = 86_400.0
"""A day: more is a typing error, and would give a transcript of silence."""

AT_ZERO = Placed(0.0, 1.0, 0)


def check(offsets: Sequence[float], files: Sequence[Path]) -> None:
    """Check what `--offset` says.

    Raises:
        ConfigError: there are more offsets than files, or one is not a time within a day.
    """
    if len(offsets) > len(files):
        raise ConfigError([f"--offset: {len(offsets)} offsets for {len(files)} files"])
    for each in offsets:
        if not math.isfinite(each) or abs(each) > LARGEST_OFFSET_S:
            raise ConfigError([f"--offset: {each:g} is not a number of seconds within a day"])


def place(tracks: Sequence[Track], offsets: Sequence[float]) -> list[Placed]:
    """Return where each track lies on the common timeline, which starts with the earliest.

    Args:
        tracks: those to transcribe, perhaps fewer than the files given.
        offsets: seconds at which the files began, in their order on the command line and from any
            moment; 0 for files without one. Without any, the tracks are placed by their sound.
    """
    if not offsets:
        return _found(tracks)
    begins_s = [dict(enumerate(offsets, start=1)).get(track.number, 0.0) for track in tracks]
    return [Placed(begin_s - min(begins_s), 1.0, 0) for begin_s in begins_s]


def _found(tracks: Sequence[Track]) -> list[Placed]:
    """Place the tracks by their sound; print what was found.

    Those that share no sound with another begin at 0. So do those that cannot be read, which are
    reported when they are transcribed.
    """
    if len(tracks) == 1:
        return [AT_ZERO]
    console = Console(stderr=True)
    shown = progress(
        tracks, "aligning", console=console, transient=True, disable=not console.is_terminal
    )
    sound: dict[Track, Floats] = {}
    for track in shown:
        with suppress(SoundFileError):
            sound[track] = envelopes(Reader(track.file).pieces())
    placed = dict(zip(sound, align(list(sound.values())), strict=True))
    if len(placed) > 1:
        for line in _told([track.file for track in placed], list(placed.values())):
            say(line)
    return [placed.get(track, AT_ZERO) for track in tracks]


def _told(files: Sequence[Path], placed: Sequence[Placed]) -> Iterator[str]:
    """Yield a line for each track that is moved, and for those that cannot be placed."""
    groups: dict[int, list[int]] = {}
    for number, each in enumerate(placed):
        groups.setdefault(each.group, []).append(number)
    for members in groups.values():
        yield from _moved([(files[number], placed[number]) for number in members])
    main = max(groups.values(), key=len)
    if len(main) == 1:
        yield f"{_listed(files)} share no sound: assumed to start together; if not, use --offset"
        return
    for members in groups.values():
        if members is not main:
            names = _listed([files[number] for number in members])
            yield (
                f"{names}: no sound shared with the other tracks, so assumed to start with them;"
                " if not, use --offset"
            )


def _moved(group: list[tuple[Path, Placed]]) -> Iterator[str]:
    """Yield a line for each track of a group that began later or has another clock."""
    earliest = next(file for file, track in group if track.start_s < MATTERS_S)
    clock, _ = group[0]
    for file, track in group:
        if track.start_s >= MATTERS_S:
            yield f"{file} began {track.start_s:.2f} s after {earliest}"
        if ppm := round((1 - track.rate) * 1e6):
            side = "fast" if ppm > 0 else "slow"
            yield f"{file}: its clock is {abs(ppm)} ppm {side} against that of {clock}: corrected"


def _listed(files: Sequence[Path]) -> str:
    *most, last = map(str, files)
    return f"{', '.join(most)} and {last}" if most else last
