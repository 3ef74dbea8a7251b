"""A meeting as it was said and recorded, made once and cached."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.bench.accuracy.acoustics import Recording, record
from tests.bench.accuracy.meeting import Spoken
from tests.bench.accuracy.store import digest, files_digest

if TYPE_CHECKING:
    from tests.bench.accuracy.rows import Recipe
    from tests.bench.accuracy.store import Store

TALKERS = (
    *("tests/bench/accuracy/meeting.py", "tests/bench/speech.py"),
    *("tests/model/grammar.py", "config/demo/speech.py"),
)
"""What a conversation is made by."""

RECORDERS = ("tests/bench/accuracy/acoustics.py", "tests/bench/accuracy/setting.py")


@dataclass(frozen=True, slots=True)
class Scene:
    """A meeting; `key` identifies everything it depends on, `said_key` only what was said.

    Scenes that differ only in acoustics have the same `said_key`.
    """

    name: str
    key: str
    said_key: str
    said: list[Spoken]
    recording: Recording


def scene(recipe: Recipe, store: Store) -> Scene:
    said_key = digest(recipe.plan, recipe.speech, files_digest(*TALKERS))
    talk = store.arrays(f"{said_key}-said", lambda: _talk(recipe))
    said = _said(talk)
    key = digest(said_key, recipe.row.acoustics, files_digest(*RECORDERS))
    kept = store.arrays(f"{key}-meeting", lambda: _heard(recipe, said))
    return Scene(recipe.name, key, said_key, said, _recording(kept))


def _talk(recipe: Recipe) -> dict[str, Any]:
    said = recipe.converse()
    return {
        "speakers": np.array([s.speaker for s in said]),
        "starts": np.array([s.start for s in said]),
        "texts": np.array([s.text for s in said]),
        "lengths": np.array([len(s.sound) for s in said]),
        "sounds": np.concatenate([s.sound for s in said]),
    }


def _heard(recipe: Recipe, said: list[Spoken]) -> dict[str, Any]:
    heard = record(said, recipe.row.speakers, recipe.row.acoustics, recipe.seed)
    return {part.name: getattr(heard, part.name) for part in fields(heard)}


def _said(kept: dict[str, Any]) -> list[Spoken]:
    sounds = np.split(kept["sounds"], np.cumsum(kept["lengths"])[:-1])
    each = zip(kept["speakers"], kept["starts"], kept["texts"], sounds, strict=True)
    return [Spoken(int(who), float(start), str(text), sound) for who, start, text, sound in each]


def _recording(kept: dict[str, Any]) -> Recording:
    return Recording(**{part.name: kept[part.name] for part in fields(Recording)})
