"""The words of a text as Whisper's tokens divide it, and as people do."""

from __future__ import annotations

import pytest

from node.adapters.whisper.decoding import _joined
from node.core.model import Word


def aligned(*parts: str) -> list[dict[str, object]]:
    """Parts of half a second, as faster-whisper divides a text; each is less sure than the last."""
    return [
        {"word": part, "start": i / 2, "end": (i + 1) / 2, "probability": 1 - i / 10}
        for i, part in enumerate(parts)
    ]


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ((" la", " porte", " d", "'entrée", ","), ["la", "porte", "d'entrée,"]),
        ((" fait", "-il", " ?"), ["fait-il?"]),
        ((" Qu", "'est", "-ce", " que"), ["Qu'est-ce", "que"]),
        ((" twenty", "-one", " o", "'clock"), ["twenty-one", "o'clock"]),
        (("Oui", "."), ["Oui."]),
        ((" costs", " -", "$", "5", " now"), ["costs-$", "5", "now"]),
    ],
)
def test_a_word_is_what_spaces_separate(parts: tuple[str, ...], words: list[str]) -> None:
    assert [word.word for word in _joined(aligned(*parts), 0, spaced=True)] == words


def test_words_without_spaces_stay_apart() -> None:
    assert [word.word for word in _joined(aligned("你", "好", "。"), 0, spaced=False)] == [
        "你",
        "好。",
    ]


def test_a_word_lasts_as_long_as_its_parts_and_is_as_sure_as_the_least_sure() -> None:
    joined = _joined(aligned(" la", " d", "'entrée", "."), 0.25, spaced=True)
    assert joined == [Word("la", 0.0, 0.25, 1.0), Word("d'entrée.", 0.25, 1.75, 0.8)]
