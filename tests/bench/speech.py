"""Recorded human speech from a folder: none comes with the project.

Two forms are read. One has a `manifest.jsonl`, a line an utterance: `id`, `lang`, `speaker`,
`text`, `kind` and `file`, beside the sound files. The other is LibriSpeech as it is unpacked:
`<speaker>/<chapter>/*.flac` with a `*.trans.txt` in each chapter, however deep.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from node.adapters import sound_files
from node.core.model import SAMPLE_RATE
from node.errors import NodeError

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    import numpy.typing as npt

    Samples = npt.NDArray[np.int16]
    Sound = npt.NDArray[np.float32]

MANIFEST = "manifest.jsonl"
FIELDS = ("id", "lang", "speaker", "text", "kind", "file")
LIBRISPEECH = "LibriSpeech"

WHERE = (
    "LibriSpeech has recordings of English: fetch test-clean or test-other (350 MB each) from"
    " openslr.org/12, unpack it, and name its folder. Any other folder will do that has a"
    f" {MANIFEST} with {', '.join(FIELDS)} in each line."
)

LONGEST_S = 12.0
"""Seconds of an utterance in a meeting: people do not read to one another for longer."""

ENOUGH_S = 20.0
"""Seconds of one person's speech from which they take part before others who have less."""

LANGUAGES = ("en", "fr")
"""Those that take turns at a table."""

PEAK = 10 ** (-6 / 20)
FRAME = SAMPLE_RATE // 100
AUDIBLE = 0.02
"""Level of a frame that is heard, against the loudest of the recording: -34 dB."""

BESIDE = 10
"""Frames kept before and after what is heard: a last consonant is weaker than that."""


class SpeechError(NodeError):
    """A folder holds no recordings that could be read."""


@dataclass(frozen=True, slots=True)
class Recording:
    """One utterance. The sound is read anew each time: a folder may hold hours."""

    id: str
    lang: str
    speaker: str
    text: str
    kind: str
    file: Path = field(repr=False)

    @property
    def samples(self) -> Samples:
        """The sound as int16 at 16 kHz, of shape (n,).

        Raises:
            SoundFileError: the file is not there, or no sound.
        """
        return np.concatenate([np.empty(0, np.int16), *sound_files.read(self.file)])

    @property
    def seconds(self) -> float:
        """Length as the file says it; errors as of `samples`."""
        return sound_files.duration_s(self.file)


Speakers = dict[str, list[Recording]]
"""Each speaker's utterances in the order in which they were spoken."""


def recordings(folder: Path) -> Speakers:
    """All utterances of a folder, by speaker.

    Raises:
        SpeechError: it has neither form, or a line of it is faulty; says where to get speech.
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
    """A short name for these recordings: their texts and all of their sound."""
    made = hashlib.sha256()
    for recording in itertools.chain.from_iterable(speakers.values()):
        made.update(repr(recording).encode())
        made.update(recording.file.read_bytes())
    return made.hexdigest()[:20]


def seats(
    speakers: Speakers, count: int, rng: random.Random | None = None
) -> list[list[Recording]]:
    """Who sits at a table: for each of so many seats a speaker, with their shorter utterances.

    Languages take turns as far as there are speakers with enough to say; `rng` draws among these.

    Raises:
        SpeechError: there are fewer speakers.
    """
    able = _brief(speakers)
    if len(able) < count:
        raise SpeechError(f"{count} people are wanted; there are {len(able)} who speak briefly")
    if rng is not None:
        rng.shuffle(able)
    talkers = [said for said in able if sum(r.seconds for r in said) >= ENOUGH_S]
    others = [said for said in able if said not in talkers]
    return list(itertools.islice(itertools.chain(_in_turn(talkers), _in_turn(others)), count))


def brief(speakers: Speakers) -> int:
    """How many could sit at a table."""
    return len(_brief(speakers))


def level(samples: Samples) -> Sound:
    """An utterance without silence around it, with a peak of -6 dBFS; floats in [-1, 1]."""
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


def _in_turn(people: Sequence[list[Recording]]) -> Iterator[list[Recording]]:
    queues = [iter([said for said in people if said[0].lang == lang]) for lang in LANGUAGES]
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
                f"{folder / MANIFEST}, line {number}: want JSON with {wanted} ({error})"
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
