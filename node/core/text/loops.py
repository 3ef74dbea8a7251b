"""Phrases that a text repeats at its end: a speaker's emphasis, or a decoder that is caught."""

from __future__ import annotations

from difflib import SequenceMatcher

LOOP = 3
"""Repetitions from which a phrase at the end may be a loop."""

MAX_PHRASE = 30
"""Words, or characters where none are set apart, in the longest phrase looked for."""

UNSPACED = frozenset({"ja", "lo", "my", "th", "yue", "zh"})
"""Languages written without spaces between words (as in `faster_whisper.tokenizer`)."""

ALIKE = 0.8
"""Share of letters in common from which two phrases are the same one, heard twice."""

SUSPECT = ((1, 4), (2, 3), *((words, 2) for words in range(3, MAX_PHRASE + 1)))
"""Words in a phrase, and how often it must stand at the end to be worth a second look."""


def deloop(text: str, *, spaced: bool = True) -> str:
    """The text with a phrase that it repeats at its end, three times or more, left there once.

    The last repetition may be broken off. Case and punctuation are not looked at.

    Args:
        text: words between spaces, or characters where `spaced` is false.
        spaced: whether the language sets words apart.
    """
    units = _units(text, spaced=spaced)
    size = len(units)
    while (kept := _without_loop(units)) < len(units):
        units = units[:kept]
    if len(units) == size:
        return text
    return (" " if spaced else "").join(units).rstrip(" ,;:")


def repeats(text: str, *, spaced: bool = True) -> bool:
    """Whether its end is a phrase of three words twice, two thrice or one four times.

    People say such things; but it is also what a window shorter than 30 s can do to Whisper
    (peteonrails/voxtype #124), so that a second look is worth its price.
    """
    said = keys(text, spaced=spaced)
    return any(_run(said, length) >= length * least for length, least in SUSPECT)


def is_doubled(text: str, *, spaced: bool = True) -> bool:
    """Whether all of it is one phrase twice, the second time much as the first.

    People say such things ("non, non"), and Whisper writes them of what was said once.
    """
    said = keys(text, spaced=spaced)
    halves = {(len(said) // 2), -(-len(said) // 2)} - {0, len(said)}
    return any(_likeness(said[:half], said[half:]) >= ALIKE for half in halves)


def _likeness(first: list[str], second: list[str]) -> float:
    return SequenceMatcher(None, " ".join(first), " ".join(second), autojunk=False).ratio()


def keys(text: str, *, spaced: bool = True) -> list[str]:
    """What makes each word, or character, the one it is: no case, no punctuation."""
    return [_key(unit) for unit in _units(text, spaced=spaced)]


def _units(text: str, *, spaced: bool) -> list[str]:
    """Words, each with the signs behind it that stand alone; or characters."""
    units: list[str] = []
    for unit in text.split() if spaced else text:
        if spaced and units and not any(char.isalnum() for char in unit):
            units[-1] += f" {unit}"
        else:
            units.append(unit)
    return units


def _without_loop(units: list[str]) -> int:
    """How many units are left of the longest loop at the end, when it stands there once."""
    keys = [_key(unit) for unit in units]
    found = [(0, 0)]
    for length in range(1, min(MAX_PHRASE, len(keys) // LOOP) + 1):
        for broken in (0, 1):
            run = _run(keys[: len(keys) - broken], length)
            begun = not broken or keys[-1 - length].startswith(keys[-1])
            if run >= length * LOOP and begun:
                found.append((run + broken, -length))
    run, shortest = max(found)
    return len(units) - run - shortest


def _run(keys: list[str], length: int) -> int:
    """How many keys at the end repeat what stands `length` before them, and the first of those."""
    start = len(keys) - 1
    while start >= length and keys[start] == keys[start - length]:
        start -= 1
    repeated = len(keys) - 1 - start
    return repeated + length if repeated else 0


def _key(unit: str) -> str:
    return "".join(char for char in unit.casefold() if char.isalnum()) or unit
