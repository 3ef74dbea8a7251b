"""Recorded human speech from a folder: the project contains none.

It reads two formats. One has a `manifest.jsonl` next to the sound files, with a line per utterance:
`id`, `lang`, `speaker`, `text`, `kind` and `file`. The other is unpacked LibriSpeech:
`<speaker>/<chapter>/*.flac` with a `*.trans.txt` in each chapter, at any depth.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from node.adapters import sound_files
from node.core.model import SAMPLE_RATE
from node.errors import NodeError

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    import numpy.typing as npt

    Samples = npt.NDArray[np.int16]
    Sound = npt.NDArray[np.float32]

MANIFEST = "manifest.jsonl"
FIELDS = ("id", "lang", "speaker", "text", "kind", "file")
LIBRISPEECH = "LibriSpeech"

WHERE = (
    "LibriSpeech has recordings of English: fetch test-clean or test-other (350 MB each) from"
    " openslr.org/12, unpack it, and give its folder. Any other folder works if it has a"
    f" {MANIFEST} with {', '.join(FIELDS)} in each line."
)

LONGEST_S = 12.0
"""Longest utterance in a meeting, in seconds: people do not read to each other for longer."""

ENOUGH_S = 20.0
"""Seconds of speech from which a person takes part before others who have less."""

LANGUAGES = ("en", "fr")
"""The languages that are spoken at a table."""

ONE, TWO = "one", "two"
"""How many of them, where it is said."""

PEAK = 10 ** (-6 / 20)
FRAME = SAMPLE_RATE // 100
AUDIBLE = 0.02
"""Level of an audible frame relative to the loudest of the recording: -34 dB."""

BESIDE = 10
"""Frames kept before and after what is heard: a last consonant is weaker than that."""


class SpeechError(NodeError):
    """A folder holds no recordings that could be read."""


@dataclass(frozen=True, slots=True)
class Recording:
    """An utterance. The sound is read each time it is needed: a folder may hold hours."""

    id: str
    lang: str
    speaker: str
    text: str
    kind: str
    file: Path = field(repr=False)

    @property
    def samples(self) -> Samples:
        """Return the sound as int16 at 16 kHz, of shape (n,).

        Raises:
            SoundFileError: the file does not exist, or has no sound.
        """
        return np.concatenate([np.empty(0, np.int16), *sound_files.read(self.file)])

    @property
    def seconds(self) -> float:
        """Return the length the file states; raises the same errors as `samples`."""
        return _seconds(self.file)


@functools.cache
def _seconds(file: Path) -> float:
    """Return the length, cached: every meeting asks who can sit at a table."""
    return sound_files.inspect(file).length_s


Speakers = dict[str, list[Recording]]
"""Each speaker's utterances in the order in which they were spoken."""

People = Sequence[list[Recording]]
"""The same without their names."""


def recordings(folder: Path) -> Speakers:
    """Return all utterances of a folder, by speaker.

    Raises:
        SpeechError: it has neither format, or a bad line; says where to get speech.
    """
    read = _listed if (folder / MANIFEST).is_file() else _librispeech
    found = list(read(folder))
    if not found:
        raise SpeechError(f"{folder} holds no recordings. {WHERE}")
    speakers: Speakers = {}
    for recording in found:
        if not recording.file.is_file():
            raise SpeechError(f"{recording.id}: {recording.file} is not there")
        speakers.setdefault(recording.speaker, []).append(recording)
    return speakers


def digest(speakers: Speakers) -> str:
    """Return a short digest of these recordings: of their texts and all their sound."""
    made = hashlib.sha256()
    for recording in itertools.chain.from_iterable(speakers.values()):
        made.update(repr(recording).encode())
        made.update(recording.file.read_bytes())
    return made.hexdigest()[:20]


def seats(
    speakers: Speakers, count: int, rng: random.Random | None = None, languages: str | None = None
) -> list[list[Recording]]:
    """Return who sits at a table: a speaker for each seat, with their shorter utterances.

    Those with enough to say come first; `rng` draws among them. `languages` is `one` (all speak the
    same), `two` (they alternate), a language, or None: they alternate as far as there are speakers.

    Raises:
        SpeechError: there are too few speakers, or too few of these languages.
    """
    able = _brief(speakers)
    if len(able) < count:
        raise SpeechError(f"{count} people are needed; there are {len(able)} who speak briefly")
    if rng is not None:
        rng.shuffle(able)
    talkers = [said for said in able if sum(r.seconds for r in said) >= ENOUGH_S]
    others = [said for said in able if said not in talkers]
    if languages is None:
        turns = itertools.chain(_in_turn(talkers, LANGUAGES), _in_turn(others, LANGUAGES))
        return list(itertools.islice(turns, count))
    orders = _orders(talkers, others, count, languages)
    order = orders[0] if rng is None else rng.choice(orders)
    return list(itertools.islice(_in_turn(talkers + others, order), count))


def brief(speakers: Speakers) -> int:
    """Return how many speakers could sit at a table."""
    return len(_brief(speakers))


def level(samples: Samples) -> Sound:
    """Return an utterance without silence around it, with a peak of -6 dBFS; floats in [-1, 1]."""
    whole = samples[: len(samples) // FRAME * FRAME].astype(np.float32) / np.float32(32768)
    if not whole.any():
        return whole
    power = np.sqrt(np.square(whole.reshape(-1, FRAME)).mean(axis=1))
    heard = np.flatnonzero(power > AUDIBLE * power.max())
    sound = whole[max(0, heard[0] - BESIDE) * FRAME : (heard[-1] + 1 + BESIDE) * FRAME]
    levelled: Sound = sound * np.float32(PEAK / np.abs(sound).max())
    return levelled


def _brief(speakers: Speakers) -> list[list[Recording]]:
    short = ([r for r in said if r.seconds <= LONGEST_S] for said in speakers.values())
    return [said for said in short if said and said[0].lang in LANGUAGES]


def _orders(talkers: People, others: People, count: int, languages: str) -> list[tuple[str, ...]]:
    """Return the possible orders of languages, in which those with enough to say get most seats.

    Raises:
        SpeechError: there are too few speakers of all of them.
    """
    lengths = {ONE: 1, TWO: 2}
    wanted: list[tuple[str, ...]] = [(languages,)]
    if languages in lengths:
        wanted = list(itertools.permutations(LANGUAGES, lengths[languages]))

    def seated(order: tuple[str, ...], people: People) -> int:
        places = Counter(itertools.islice(itertools.cycle(order), count))
        return (places & Counter(said[0].lang for said in people)).total()

    everyone = [*talkers, *others]
    able = [order for order in wanted if seated(order, everyone) == count]
    if not able:
        there = Counter(said[0].lang for said in everyone)
        spoken = ", ".join(f"{there[lang]} of {lang}" for lang in LANGUAGES)
        raise SpeechError(f"{count} people ({languages}) are needed; there are {spoken}")
    most = max(seated(order, talkers) for order in able)
    return [order for order in able if seated(order, talkers) == most]


def _in_turn(people: People, languages: Sequence[str]) -> Iterator[list[Recording]]:
    queues = [iter([said for said in people if said[0].lang == lang]) for lang in languages]
    rounds = itertools.zip_longest(*queues)
    return (said for each in rounds for said in each if said is not None)


def _listed(folder: Path) -> Iterator[Recording]:
    text = (folder / MANIFEST).read_text(encoding="utf-8")
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            entry: dict[str, Any] = json.loads(line)
            name, lang, speaker, text, kind, file = (str(entry[key]) for key in FIELDS)
        except (ValueError, TypeError, KeyError) as error:
            wanted = ", ".join(FIELDS)
            raise SpeechError(
                f"{folder / MANIFEST}, line {number}: must be JSON with {wanted} ({error})"
            ) from error
        yield Recording(name, lang, speaker, text, kind, folder / file)


def _librispeech(folder: Path) -> Iterator[Recording]:
    for chapter in _sorted(folder.rglob("*.trans.txt")):
        for line in chapter.read_text(encoding="utf-8").splitlines():
            name, _, text = line.partition(" ")
            if name:
                sound = chapter.with_name(f"{name}.flac")
                speaker = name.partition("-")[0]
                yield Recording(name, "en", speaker, text.lower(), LIBRISPEECH, sound)


def _sorted(files: Iterable[Path]) -> list[Path]:
    return sorted(files, key=lambda file: file.parts)
