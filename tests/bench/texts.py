"""Compares what was said with what was written, word by word."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

import jiwer

PERCENT = re.compile(r"\s*(?:%|\b(?:pour\s?cent|per\s?cent)\b)")
TITLES = {"mr": "mister", "mrs": "missus"}
"""Transcripts of audiobooks spell out what Whisper abbreviates."""

_WORD = re.compile(r"\w+(?:'\w+)*")


def words(text: str) -> list[str]:
    """Return the words of a text in lower case, without punctuation; a hyphen separates words.

    Different spellings of the same thing are unified: apostrophes, combining accents, the percent
    sign, "Mr" and "Mrs".
    """
    plain = unicodedata.normalize("NFC", text).lower().replace("\u2019", "'")
    found = _WORD.findall(PERCENT.sub(" percent ", plain))
    return [TITLES.get(word, word) for word in found]


@dataclass(frozen=True, slots=True)
class Errors:
    """Wrong, missing and surplus words, and the words said."""

    wrong: int = 0
    said: int = 0

    def __add__(self, other: Errors) -> Errors:
        return Errors(self.wrong + other.wrong, self.said + other.said)

    @property
    def rate(self) -> float:
        """Share of the words said; above 1 if more is wrong than was said."""
        return self.wrong / max(1, self.said)


def errors(said: str, written: str) -> Errors:
    """Return how far a text is from what was said, in words."""
    reference = words(said)
    if not reference:  # jiwer needs at least one word
        return Errors(len(words(written)), 0)
    found = jiwer.process_words(" ".join(reference), " ".join(words(written)))
    return Errors(found.substitutions + found.deletions + found.insertions, len(reference))
