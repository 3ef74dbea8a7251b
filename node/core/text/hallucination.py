"""Guards against words that nobody said.

Whisper is a language model too. Given noise or silence it writes what often stood beside such sound
in its training data (subtitle credits, thanks for watching), and it can get caught in a loop. Each
guard here needs evidence of its own; none removes a text only because of what it says.
"""

from __future__ import annotations

import math
import re
import unicodedata
import zlib
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Literal

import numpy as np

from node.core.model import TICK
from node.core.text.languages import UNSPACED

if TYPE_CHECKING:
    import numpy.typing as npt

Guard = Literal["no speech", "loop", "compression", "rate", "phrase", "brief"]

MAX_COMPRESSION = 2.4
MIN_LOG_PROBABILITY = -1.0
MAX_NO_SPEECH = 0.6
"""Whisper's own thresholds (openai/whisper, transcribe.py)."""

MAX_WORDS_PER_S = 8.0
SPARE_WORDS = 2
"""Nobody says more words than these in the time of an utterance.

Conversation has 344 syllables a minute in French (Malécot et al. 1972), some 4 words a second; the
record of fast talking was 11; and an utterance also contains its pre-roll and last pause."""

BRIEF_S = 1.7
MIN_BRIEF_LOG_PROBABILITY = math.log(0.5)
"""Up to this length of sound (half a second of possible speech; the rest is pre-roll, tail and
silence) a text must be more likely than not. Of 91 coughs 13 passed for speech and became "Ahem."
or "Thank you.", with confidences of 0.16 to 0.45; now none does. It has a price: of 56 short
utterances on the telephone and in conversation 12 lose their text, most of it wrong, and 3 right
words of 476 are lost.

A text that fails is decoded again over Whisper's 30 s: the model is unsure of a lone word in a
window shorter than those it was trained on, but equally unsure of a cough in both."""

BRIEF_WORDS = 4
"""A longer text is no cough's: Whisper made at most three words of each of 25 that passed for
speech. Speech in noise can be as short and as unsure ("set a timer for five minutes", 10 dB above a
fan)."""

SHORT_S = 3.0
MIN_SHORT_LOG_PROBABILITY = math.log(1 / 3)
"""Up to here a text must be likelier than one in three, without a sign of silence. Of 121 coughs
four were longer than `BRIEF_S` and became words, of nine laughs four; now one each. Of 76 recorded
commands, and of 50 utterances 10 dB above a fan, no text was as unlikely, except what was brief
anyway. At Whisper's own threshold it would have been a close call for a command ("pause")."""

PAUSE_TICKS = 5
"""Ticks (0.16 s) whose common power makes a place quiet: longer than a consonant's closure."""

MIN_LEVEL = 4.0
"""Root mean square, in steps of 16 bits (-78 dBFS), that the loudest 32 ms must reach.

Below it a voice has two bits left. It is meant for digital silence and the dither around it: a
quiet voice far from a microphone is 20 dB above. No threshold on a level could tell such a voice
from noise; that is the voice activity detector's job."""

LOOP = 3
"""Repetitions from which a phrase at the end may be a loop."""

MAX_PHRASE = 30
"""Words, or characters in languages without spaces, in the longest phrase looked for."""

ALIKE = 0.8
"""Share of letters in common from which two phrases are the same one, heard twice."""

SUSPECT = ((1, 4), (2, 3), *((words, 2) for words in range(3, MAX_PHRASE + 1)))
"""Words in a phrase, and how often it must stand at the end to be worth a second look."""


@dataclass(frozen=True, slots=True)
class Said:
    """A decoded text, and the evidence on whether it was said.

    `log_probability` is the mean over its tokens, `capped` whether it ran into the cap on tokens,
    `seconds` the length of its sound.
    """

    text: str
    language: str
    seconds: float
    log_probability: float
    no_speech: float
    capped: bool

    @property
    def compression(self) -> float:
        """How much shorter gzip's algorithm makes it; repetition raises it."""
        data = self.text.encode()
        return len(data) / len(zlib.compress(data))

    @property
    def is_silence(self) -> bool:
        return self.no_speech > MAX_NO_SPEECH and self.log_probability < MIN_LOG_PROBABILITY

    @property
    def is_noise(self) -> bool:
        """Whether it is what Whisper writes for a cough, a laugh or a door."""
        brief = self.seconds <= BRIEF_S and len(self.text.split()) <= BRIEF_WORDS
        least = MIN_BRIEF_LOG_PROBABILITY if brief else MIN_SHORT_LOG_PROBABILITY
        return self.seconds <= SHORT_S and self.log_probability < least

    @property
    def is_too_fast(self) -> bool:
        if self.language in UNSPACED:
            return False
        return len(_units(self.text, spaced=True)) > self.seconds * MAX_WORDS_PER_S + SPARE_WORDS

    @property
    def is_known_phrase(self) -> bool:
        """Whether it is what Whisper writes for silence, with some doubt that it was said.

        People do say thanks: such a phrase needs one of Whisper's two signs of silence, a credit
        only half of one.
        """
        if self.no_speech > MAX_NO_SPEECH or self.log_probability < MIN_LOG_PROBABILITY:
            return is_courtesy(self.text) or is_credit(self.text)
        unsure = self.log_probability < MIN_LOG_PROBABILITY / 2
        return (unsure or self.no_speech > MAX_NO_SPEECH / 2) and is_credit(self.text)

    @property
    def cannot_have_been_said(self) -> bool:
        """Whether a loop is the decoder's and not the speaker's ("non, non, non")."""
        return self.capped or self.is_too_fast or self.compression > MAX_COMPRESSION

    @property
    def faults(self) -> int:
        """How many signs there are that it is wrong."""
        spaced = self.language not in UNSPACED
        signs = (
            self.capped,
            self.is_too_fast,
            self.compression > MAX_COMPRESSION,
            self.log_probability < MIN_LOG_PROBABILITY,
            repeats(self.text, spaced=spaced) or is_doubled(self.text, spaced=spaced),
        )
        return sum(signs)


def judged(said: Said) -> tuple[str, Guard | None]:
    """What is left of a text, and the guard that removed all or some of it."""
    if not said.text:
        return "", None
    if said.is_silence:
        return "", "no speech"
    guard: Guard | None = None
    if said.cannot_have_been_said:
        short = deloop(said.text, spaced=said.language not in UNSPACED)
        if short != said.text:
            said, guard = replace(said, text=short, capped=False), "loop"
    signs: tuple[tuple[Guard, bool], ...] = (
        ("brief", said.is_noise),
        ("phrase", said.is_known_phrase),
        ("compression", said.compression > MAX_COMPRESSION),
        ("rate", said.is_too_fast),
    )
    for name, invented in signs:
        if invented:
            return "", name
    return said.text, guard


def quietest(samples: npt.NDArray[np.int16]) -> int:
    """Where to cut int16 samples of shape (n,) in two: the quietest place of their middle half."""
    ticks = len(samples) // TICK
    powers = np.square(samples[: ticks * TICK], dtype=np.float64).reshape(ticks, TICK).sum(axis=1)
    smooth = np.convolve(powers, np.ones(PAUSE_TICKS), "same")
    first, last = ticks // 4, max(ticks // 4 + 1, 3 * ticks // 4)
    return (first + int(np.argmin(smooth[first:last]))) * TICK + TICK // 2


def is_inaudible(samples: npt.NDArray[np.int16]) -> bool:
    """Whether int16 samples at 16 kHz, of shape (n,), are digital silence or next to it."""
    full = len(samples) // TICK * TICK
    frames = samples[:full].reshape(-1, TICK) if full else samples.reshape(1, -1)
    if not frames.size:
        return True
    return float(np.sqrt(np.square(frames, dtype=np.float64).mean(axis=1)).max()) < MIN_LEVEL


def deloop(text: str, *, spaced: bool = True) -> str:
    """The text, with a phrase that it repeats at its end three times or more reduced to one.

    The last repetition may be incomplete. Case and punctuation are ignored.

    Args:
        text: words between spaces, or characters if `spaced` is false.
        spaced: whether the language separates words.
    """
    spans = _spans(text, spaced=spaced)
    units = [text[start:end] for start, end in spans]
    while (kept := _without_loop(units)) < len(units):
        units = units[:kept]
    if len(units) == len(spans):
        return text
    return text[: spans[len(units) - 1][1]].rstrip(" ,;:")


def repeats(text: str, *, spaced: bool = True) -> bool:
    """Whether it ends in a phrase of three words twice, of two words three times, or one word four
    times.

    People say such things; but a window shorter than 30 s can do this to Whisper as well
    (peteonrails/voxtype #124), so a second look is worth its price.
    """
    said = keys(text, spaced=spaced)
    return any(_run(said, length) >= length * least for length, least in SUSPECT)


def is_doubled(text: str, *, spaced: bool = True) -> bool:
    """Whether all of it is one phrase twice, the second time much like the first.

    People say such things ("non, non"), and Whisper writes them for what was said once.
    """
    said = keys(text, spaced=spaced)
    halves = {(len(said) // 2), -(-len(said) // 2)} - {0, len(said)}
    return any(_likeness(said[:half], said[half:]) >= ALIKE for half in halves)


def _likeness(first: list[str], second: list[str]) -> float:
    return SequenceMatcher(None, " ".join(first), " ".join(second), autojunk=False).ratio()


def keys(text: str, *, spaced: bool = True) -> list[str]:
    """What identifies each word, or character: no case, no punctuation."""
    return [_key(unit) for unit in _units(text, spaced=spaced)]


_UNIT = re.compile(r"\S+?(?:[,;.:!?…]+(?=\w)|(?=\s|$))")


def _units(text: str, *, spaced: bool) -> list[str]:
    return [text[start:end] for start, end in _spans(text, spaced=spaced)]


def _spans(text: str, *, spaced: bool) -> list[tuple[int, int]]:
    """Where words are, each with the signs after it that stand alone; or characters.

    Words without a space after their comma are words too: loops come as "5,5,5,5".
    """
    if not spaced:
        return [(at, at + 1) for at in range(len(text))]
    spans: list[tuple[int, int]] = []
    for unit in _UNIT.finditer(text):
        start = unit.start()
        if spans and not any(char.isalnum() for char in unit[0]):
            start = spans.pop()[0]
        spans.append((start, unit.end()))
    return spans


def _without_loop(units: list[str]) -> int:
    """How many units are left when the longest loop at the end is reduced to one repetition."""
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
    """How many keys at the end repeat what stands `length` before them, plus the first of those."""
    start = len(keys) - 1
    while start >= length and keys[start] == keys[start - length]:
        start -= 1
    repeated = len(keys) - 1 - start
    return repeated + length if repeated else 0


def _key(unit: str) -> str:
    return "".join(char for char in unit.casefold() if char.isalnum()) or unit


def is_credit(text: str) -> bool:
    """Whether the whole text is a credit or a farewell of videos: hardly ever said in a meeting."""
    bare = plain_words(deloop(text))
    return bare in _CREDITS or _CREDIT.fullmatch(bare) is not None


def is_courtesy(text: str) -> bool:
    """Whether the whole text is thanks or a goodbye, which Whisper also writes for silence."""
    return plain_words(deloop(text)) in _COURTESIES


def plain_words(text: str) -> str:
    """Lower case, without accents and punctuation."""
    decomposed = unicodedata.normalize("NFKD", text.casefold().replace("œ", "oe"))
    bare = "".join(char for char in decomposed if not unicodedata.combining(char))
    return " ".join(re.findall(r"[^\W_]+", bare))


def _lines(text: str) -> frozenset[str]:
    return frozenset(line.strip() for line in text.strip().splitlines())


_CREDITS = _lines(
    """
    thank you for watching
    thank you so much for watching
    thanks for watching
    thanks for watching bye
    thanks for watching and i ll see you next time
    see you in the next video
    i ll see you in the next video
    please subscribe
    please subscribe to my channel
    please like and subscribe
    like and subscribe
    don t forget to like and subscribe
    subscribe
    subscribe to my channel
    subtitles by
    subtitles by the community
    transcription by castingwords
    transcribed by otter ai
    www mooji org
    applause
    blank audio
    merci d avoir regarde
    merci d avoir regarde cette video
    merci d avoir regarde la video
    merci d avoir regarde jusqu au bout
    merci d avoir visionne cette video
    a bientot pour une nouvelle video
    a la prochaine video
    on se retrouve dans une prochaine video
    abonnez vous
    abonnez vous a la chaine
    abonnez vous a ma chaine
    n oubliez pas de vous abonner
    n hesitez pas a vous abonner
    n hesitez pas a vous abonner a la chaine
    sous titrage
    sous titrage fr
    sous titrage st 501
    sous titrage societe radio canada
    sous titres par
    sous titres francophones
    par soustitreur com
    applaudissements
    """
)
_COURTESIES = _lines(
    """
    you
    thank you
    thank you very much
    thank you so much
    thank you bye
    bye
    bye bye
    i ll see you next time
    see you next time
    music
    silence
    merci
    merci beaucoup
    merci de votre attention
    au revoir
    a bientot
    a la prochaine
    musique
    """
)
"""English and French, as `plain_words` returns them.

What others found and published: openai/whisper discussion #928 as collected by JSchmie/ScrAIbe,
McCloudS/subgen #21, Vexa-ai/vexa #155. Barański et al. 2025 (arXiv 2501.11378) found that a bag of
such phrases, with delooping and a voice activity detector, lowers errors."""

_CREDIT = re.compile(
    r"(sous titr|subtit|legend|untertit|ondertit|sottotit|napis|transcri|caption)\w*"
    r"( \w+){0,8} (amara org|soustitreur com|castingwords)( \w+)?"
)
"""Credits of subtitles, in the many ways that Whisper spells them."""
