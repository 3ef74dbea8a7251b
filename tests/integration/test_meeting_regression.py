"""A minute of three people in one room through `transcribe`: each sentence once, in its place.

The room is simple: every microphone hears the others 10 dB lower, later, muffled, and with an
echo. `tests.bench.accuracy` measures the same in rooms with reverberation.
"""

from __future__ import annotations

import random

import jiwer
import numpy as np
import pytest

from node.core.model import SAMPLE_RATE
from tests.bench.accuracy.findings import Finding, find, order
from tests.bench.accuracy.meeting import Spoken
from tests.bench.accuracy.node_way import Account, Line, transcript
from tests.bench.texts import words
from tests.model.say import say
from tests.model.sentences import SENTENCES
from tests.rig.processes import need

Meeting = tuple[list[Spoken], np.ndarray[tuple[int, int], np.dtype[np.int16]]]

VOICES = ("en-us", "fr-fr+m3", "en-us+f3")
BLEED = 10 ** (-10 / 20)
LAG_S = 0.004
"""Samples from one microphone to the next: 1.4 m."""
ECHO_S, ECHO = 0.021, 0.4
MUFFLED = np.hanning(9) / np.hanning(9).sum()
"""Removes the highest octave from what reaches a microphone from afar."""
NOISE = 10 ** (-60 / 20)
GAINS = (1.0, 0.5, 1.4)
TURNS = 2 * (0, 1, 2, 0, 1, 0, 2, 1, 2, 1, 0, 2, 0, 1, 2)
"""Who speaks; the second time they say the same again."""
SENTENCES_EACH = 5
OVERLAPS = {5: 0.6, 9: 0.8, 13: 0.7, 18: 0.5, 22: 0.9, 26: 0.6}
"""Turns that begin before the previous one ends, and by how many seconds."""


@pytest.fixture(scope="module")
def meeting() -> Meeting:
    need("espeak-ng")
    said = _conversation(random.Random(3))
    return said, _recorded(said)


@pytest.fixture(scope="module")
def dropped(meeting: Meeting) -> Account:
    return transcript(meeting[1], "drop")


def test_each_sentence_is_there_once_under_its_name(meeting: Meeting, dropped: Account) -> None:
    findings, strays = find(meeting[0], dropped.lines)
    assert [f.spoken.text for f in findings if f.lost or f.misnamed] == []
    assert [f.spoken.text for f in findings if f.doubled] == []
    assert [dropped.lines[index] for index in strays] == []


def test_the_transcript_has_the_order_of_speech(meeting: Meeting, dropped: Account) -> None:
    findings, _ = find(meeting[0], dropped.lines)
    known, wrong = order(findings)
    assert known >= len(TURNS) - 1 - len(OVERLAPS)
    assert wrong == []


def test_the_words_under_each_name_are_those_said(meeting: Meeting, dropped: Account) -> None:
    assert _error_rate(meeting[0], dropped.lines) <= 0.02


def test_without_ownership_the_same_meeting_is_a_muddle(meeting: Meeting) -> None:
    account = transcript(meeting[1], "off")
    findings, _ = find(meeting[0], account.lines)
    assert _error_rate(meeting[0], account.lines) > 0.5
    assert sum(map(_is_wrong, findings)) > len(TURNS) // 3


def _conversation(rng: random.Random) -> list[Spoken]:
    """Sentences that the model knows, each from one of its own voices."""
    said: list[Spoken] = []
    end = 1.0
    known = [[s for s in SENTENCES if s.voice == voice] for voice in VOICES]
    for turn, speaker in enumerate(TURNS):
        language, voice, text = known[speaker][TURNS[:turn].count(speaker) % SENTENCES_EACH]
        start = end - OVERLAPS[turn] if turn in OVERLAPS else end + rng.uniform(0.2, 0.9)
        sound = (say(text, language, voice) / 32768).astype(np.float32)
        said.append(Spoken(speaker, start, text, sound))
        end = said[-1].end
    return said


def _recorded(said: list[Spoken]) -> np.ndarray[tuple[int, int], np.dtype[np.int16]]:
    length = round((said[-1].end + 1.5) * SAMPLE_RATE)
    tracks = np.random.default_rng(1).standard_normal((len(VOICES), length)) * NOISE
    for spoken in said:
        for mic, track in enumerate(tracks):
            far = abs(mic - spoken.speaker)
            heard = spoken.sound * 0.3
            if far:
                heard = BLEED * np.convolve(heard, MUFFLED, "same")
            for later, level in ((0.0, 1.0), (ECHO_S, ECHO if far else ECHO / 4)):
                begin = round((spoken.start + far * LAG_S + later) * SAMPLE_RATE)
                track[begin : begin + len(heard)] += heard * level
    scaled: np.ndarray[tuple[int, int], np.dtype[np.int16]] = np.round(
        tracks * np.array(GAINS)[:, None] * 32767
    ).astype(np.int16)
    return scaled


def _error_rate(said: list[Spoken], lines: list[Line]) -> float:
    """Return wrong, missing and surplus words over each speaker's text, per word said."""
    errors = 0
    for speaker in range(len(VOICES)):
        reference = [w for s in said if s.speaker == speaker for w in words(s.text)]
        written = [w for line in lines if line.speaker == speaker for w in words(line.text)]
        compared = jiwer.process_words(" ".join(reference), " ".join(written))
        errors += compared.substitutions + compared.deletions + compared.insertions
    return errors / sum(len(words(s.text)) for s in said)


def _is_wrong(finding: Finding) -> bool:
    return finding.lost or finding.misnamed or finding.doubled


KITCHEN = Spoken(0, 1.0, "Turn on the kitchen light please.", np.zeros(32000, np.float32))
PAUL = Spoken(1, 4.0, "Bonjour Paul.", np.zeros(16000, np.float32))
RIGHT = [Line(0, 1, 3, "Turn on the kitchen light please."), Line(1, 4, 5, "Bonjour Paul.")]


@pytest.mark.parametrize(
    ("lines", "verdicts"),
    [
        (RIGHT, [[], []]),
        ([RIGHT[0]], [[], ["lost"]]),
        ([*RIGHT, Line(0, 4, 5, "Bonjour Paul.")], [[], ["doubled"]]),
        ([*RIGHT, Line(1, 4.5, 5, "Bonjour Paul.")], [[], ["doubled"]]),
        ([Line(0, 1, 5, "Turn on the kitchen light please. Bonjour Paul.")], [[], ["misnamed"]]),
        ([RIGHT[0], Line(1, 14, 15, "Bonjour Paul.")], [[], ["lost"]]),
    ],
)
def test_what_a_reader_would_count(lines: list[Line], verdicts: list[list[str]]) -> None:
    findings, _ = find([KITCHEN, PAUL], lines)
    kinds = ("lost", "misnamed", "doubled")
    assert [[kind for kind in kinds if getattr(f, kind)] for f in findings] == verdicts


def test_lines_the_wrong_way_round_are_out_of_order() -> None:
    findings, _ = find([KITCHEN, PAUL], RIGHT[::-1])
    assert order(findings) == (1, [(findings[0], findings[1])])


def test_a_line_without_a_word_that_was_said_is_a_stray() -> None:
    _, strays = find([KITCHEN, PAUL], [*RIGHT, Line(0, 4, 5, "Merci beaucoup.")])
    assert strays == [2]
