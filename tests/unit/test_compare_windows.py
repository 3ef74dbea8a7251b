from __future__ import annotations

import pytest

from node.commands.compare_windows import words_changed


@pytest.mark.parametrize(
    ("fit", "full", "words"),
    [
        ("", "", 0),
        ("Été à la mer.", "ete, a la mer", 0),
        ("go home", "go home go home", 2),
        ("one two three", "one too three four", 2),
        ("", "hello there", 2),
    ],
)
def test_words_that_differ_are_counted(fit: str, full: str, words: int) -> None:
    assert words_changed(fit, full) == words
