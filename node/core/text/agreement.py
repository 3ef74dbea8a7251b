"""What is certain of an utterance that is still being spoken.

LocalAgreement-2 (Macháček, Dabre and Bojar 2023, "Turning Whisper into Real-Time Transcription
System"): the words at the beginning on which two successive passes over the growing sound agree.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import takewhile

_UNSPACED_SCRIPTS = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
"""Thai, Lao, Burmese, Khmer, Japanese and Chinese are written without spaces: a letter counts as a
word."""

_WORD = re.compile(rf"\s*(?:[{_UNSPACED_SCRIPTS}]|[^\s{_UNSPACED_SCRIPTS}]+)")

_SIGNS = re.compile(r"[\W_]+")

_ENDING = ".,;:!?…。、\uff0c\uff01\uff1f"
"""Signs that a pass sets because its sound ends there, not because the sentence does."""


@dataclass(slots=True)
class Agreement:
    """Of one utterance. `text` only grows at its end: what was agreed on stays."""

    text: str = ""
    _agreed: list[str] = field(default_factory=list)
    _last: list[str] = field(default_factory=list)

    def hear(self, text: str) -> bool:
        """Take the text of another pass over all of the sound so far; returns whether `text` grew.

        Words that differ only in case or punctuation are the same. They are spelled as in the pass
        that made them certain, without punctuation after the last one. A pass that no longer begins
        with what was agreed on adds nothing.
        """
        words = _words(text)
        before, self._last = self._last, words
        common, known = _common(before, words), len(self._agreed)
        if common <= known or _common(self._agreed, words) < known:
            return False
        grown = "".join(words[known:common])
        if common == len(words):
            grown = grown.rstrip(f"{_ENDING} ")
        self.text = (self.text + grown) if self.text else grown.lstrip()
        self._agreed = words[:common]
        return True


def _words(text: str) -> list[str]:
    """Words, each with the signs beside it that stand alone, as in "Ça va ?"."""
    words: list[str] = []
    for word in _WORD.findall(text):
        if words and not (_key(word) and _key(words[-1])):
            words[-1] += word
        else:
            words.append(word)
    return words


def _key(word: str) -> str:
    """What identifies a word: no case, no punctuation."""
    return _SIGNS.sub("", word).casefold()


def _common(one: list[str], other: list[str]) -> int:
    """How many words at the beginning are the same."""
    return sum(1 for _ in takewhile(_same, zip(one, other, strict=False)))


def _same(pair: tuple[str, str]) -> bool:
    one, other = pair
    return _key(one) == _key(other)
