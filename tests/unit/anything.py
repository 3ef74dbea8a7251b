"""Values of any kind, as JSON and YAML can hold them.

Each is made of one seed: to draw every part of it by itself takes longer than what it tests.
"""

from __future__ import annotations

import struct
from random import Random
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NO_TEXT = ("", "\0", "\ud800", "\udfff", "\x85", "\u2028", "\ufeff", "\N{GRINNING FACE}", "é", "\n")
NUMBERS = (0, -0.0, 1, -1, 1.5, 1e-320, 1e300, 2**53 + 1, 2**63, -(2**64), 10**400)
NO_NUMBERS = (float("nan"), float("inf"), -float("inf"))

seeds = st.integers(0, 2**64 - 1)


def text(chance: Random) -> str:
    """Up to eight characters: letters, any of Unicode, and those that often break something."""
    kinds = (
        lambda: chr(chance.randrange(32, 127)),
        lambda: chr(chance.randrange(0x110000)),
        lambda: chance.choice(NO_TEXT),
    )
    return "".join(chance.choice(kinds)() for _ in range(chance.randrange(9)))


def number(chance: Random) -> float:
    """Any double, NaN and infinity among them, or an integer of any size."""
    double: float = struct.unpack("d", chance.randbytes(8))[0]
    whole = chance.getrandbits(chance.choice((4, 16, 40, 70))) * chance.choice((1, -1))
    return chance.choice(
        (double, whole, chance.uniform(-2, 2), chance.choice(NUMBERS + NO_NUMBERS))
    )


def value(chance: Random, words: Sequence[str] = (), depth: int = 3) -> Any:
    """Anything: texts and keys are often one of `words`; it nests at most `depth` times."""
    kind = chance.randrange(12 if depth else 8)
    if kind < 2:
        return chance.choice((None, True, False))
    if kind < 5:
        return number(chance)
    if kind < 8:
        return word(chance, words)
    count = chance.randrange(4)
    if kind < 10:
        return [value(chance, words, depth - 1) for _ in range(count)]
    return {word(chance, words): value(chance, words, depth - 1) for _ in range(count)}


def word(chance: Random, words: Sequence[str]) -> str:
    return chance.choice(words) if words and chance.random() < 0.5 else text(chance)


def values(*words: str) -> st.SearchStrategy[Any]:
    return seeds.map(lambda seed: value(Random(seed), words))


def objects(fields: Sequence[str], *words: str) -> st.SearchStrategy[Mapping[str, Any]]:
    """Any object with up to four of `fields`."""
    return seeds.map(lambda seed: _object(Random(seed), fields, words))


def _object(chance: Random, fields: Sequence[str], words: Sequence[str]) -> dict[str, Any]:
    keys = chance.sample(fields, chance.randrange(min(5, len(fields) + 1)))
    return {key: value(chance, words) for key in keys}
