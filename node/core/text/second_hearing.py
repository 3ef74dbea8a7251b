"""When an utterance is heard once more in its raw sound, and which of its two texts is taken.

To take out what others said can garble what is left. The decoder shows it: of words that are no
longer speech it is unsure. How sure it is says which sound left better speech; nothing else does
without knowing the words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from node.core.model import Transcription

UNSURE = 0.45
"""Confidence below which a text may be garbled: a mean log-probability of -0.8. It is also the one
below which a text does not help with the next (`context.LEARNED`)."""

SURER = 1.2
"""Factor of confidence by which the other text must be better: those less apart were as wrong as
each other, and the raw sound has others' words in it."""


def is_unsure(heard: Transcription) -> bool:
    """Whether a text may be garbled. No text at all is not: there was no speech to garble."""
    return bool(heard.text) and heard.confidence < UNSURE


def is_surer(raw: Transcription, cleaned: Transcription) -> bool:
    """Whether the text of the raw sound is to be taken rather than that of the cleaned sound."""
    return bool(raw.text) and raw.confidence > SURER * cleaned.confidence
