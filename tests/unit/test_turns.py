from __future__ import annotations

import time
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.core.model import SAMPLE_RATE, Segment, Word
from node.core.text.formats import to_srt, to_vtt
from node.core.text.turns import MIN_WORDS, TOLERANCE, Turn, turns
from tests.unit.spoken import segment, segments, transcript

if TYPE_CHECKING:
    import random

WORD_S = 0.3

LONG = "le budget de la fête est de dix mille euros et nous avons besoin de douze bouteilles"


def said(seq: int, speaker: str, start_s: float, text: str, word_s: float = WORD_S) -> Segment:
    """Return a segment with evenly spaced words; each `_` is a pause as long as a word."""
    words = [
        Word(word, round(number * word_s, 3), round((number + 1) * word_s, 3), 0.9)
        for number, word in enumerate(text.split())
        if word != "_"
    ]
    return segment(
        seq,
        start_s,
        " ".join(word.word for word in words),
        end=round((start_s + words[-1].end) * SAMPLE_RATE),
        speaker=speaker,
        mic=speaker.lower(),
        words=tuple(words),
    )


def written(*spoken: Segment) -> list[str]:
    return [f"{turn.segment.speaker}: {turn.text}" for turn in turns(spoken)]


def test_a_long_utterance_is_cut_where_another_interjects() -> None:
    lines = turns([said(1, "Alice", 10, LONG), said(2, "Bob", 11.9, "Dix mille, c'est trop.")])
    assert [(t.segment.speaker, t.text) for t in lines] == [
        ("Alice", "le budget de la fête est de"),
        ("Bob", "Dix mille, c'est trop."),
        ("Alice", "dix mille euros et nous avons besoin de douze bouteilles"),
    ]
    assert [(t.segment.seq, t.part, t.parts) for t in lines] == [(1, 1, 2), (2, 1, 1), (1, 2, 2)]
    times = [(t.start / SAMPLE_RATE, t.end / SAMPLE_RATE) for t in lines]
    assert times == [(10, 12.1), (11.9, pytest.approx(13.1)), (12.1, 15.1)]


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("le budget de la fête est de dix mille. Nous avons besoin de vin", "dix mille."),
        ("le budget de la fête est de dix mille _ nous avons besoin de vin", "dix mille"),
        ("le budget de la fête est de dix mille, nous avons besoin de vin", "dix mille,"),
        ("le budget de la fête, est de dix mille. Nous avons besoin de vin", "dix mille."),
        ("le budget de la fête est de dix mille beaux euros. Nous avons besoin", "est de"),
    ],
)
def test_an_interrupted_speaker_ends_the_phrase_within_a_second(text: str, first: str) -> None:
    alice = said(1, "Alice", 0, text)
    lines = turns([alice, said(2, "Bob", 2.05, "Attends un peu.")])
    assert [t.segment.speaker for t in lines] == ["Alice", "Bob", "Alice"]
    assert lines[0].text.endswith(first)


def test_a_short_word_breaks_no_sentence() -> None:
    alice = said(1, "Alice", 0, LONG + ". Le vin est dans la cuisine")
    assert written(alice, said(2, "Bob", 1.9, "Oui.")) == [
        f"Alice: {LONG}.",
        "Bob: Oui.",
        "Alice: Le vin est dans la cuisine",
    ]
    alone = said(1, "Alice", 0, LONG)
    assert written(alone, said(2, "Bob", 1.9, "Oui.")) == [f"Alice: {LONG}", "Bob: Oui."]


def test_two_who_alternate_word_by_word_are_written_word_by_word() -> None:
    alice = said(1, "Alice", 0, "Un, _ trois, _ cinq.")
    bob = said(2, "Bob", WORD_S, "Deux, _ quatre.")
    assert written(alice, bob) == [
        "Alice: Un,",
        "Bob: Deux,",
        "Alice: trois,",
        "Bob: quatre.",
        "Alice: cinq.",
    ]


def test_a_short_word_cuts_at_a_pause_only_where_the_speaker_was_silent() -> None:
    alice = said(1, "Alice", 0, "le budget de la fête _ est de dix mille euros")
    over, within = said(2, "Bob", 1.25, "Oui."), said(2, "Bob", 1.6, "Oui.")
    assert [turn.segment.seq for turn in turns([alice, over])] == [1, 2]
    assert [turn.segment.seq for turn in turns([alice, within])] == [1, 2, 1]


@pytest.mark.parametrize(("start_s", "order"), [(3.15, [1, 2, 1]), (3.35, [1, 2])])
def test_a_sentence_just_begun_gives_way(start_s: float, order: list[int]) -> None:
    alice = said(1, "Alice", 0, "le budget de la fête est de dix mille euros. Il est trop grand.")
    lines = turns([alice, said(2, "Bob", start_s, "Oui.")])
    assert [turn.segment.seq for turn in lines] == order
    assert lines[0].text.endswith("euros.") == (len(order) == 3)
    assert [turn.start for turn in lines][1:] == [start_s * SAMPLE_RATE] * (len(order) - 1)


def test_an_overlap_at_the_change_of_speakers_cuts_nothing() -> None:
    alice = said(1, "Alice", 0, "le budget de la fête est de dix mille euros")
    late = WORD_S * (10 - MIN_WORDS) + 0.01
    assert len(turns([alice, said(2, "Bob", late, "Non, c'est trop.")])) == 2
    assert len(turns([alice, said(2, "Bob", late - 0.1, "Non, c'est trop.")])) == 3


def test_two_who_talk_at_once_are_not_cut_to_pieces() -> None:
    alice, bob = said(1, "Alice", 0, LONG), said(2, "Bob", 2.05, LONG)
    lines = turns([alice, bob])
    assert [t.segment.speaker for t in lines] == ["Alice", "Bob", "Alice"]


def test_several_interject_and_the_parts_are_numbered() -> None:
    alice = said(1, "Alice", 0, f"{LONG}. {LONG}")
    bob, chloe = said(2, "Bob", 1.9, "Attends un peu."), said(3, "Chloé", 6.6, "Je ne sais pas.")
    lines = turns([chloe, alice, bob])
    assert [t.segment.speaker for t in lines] == ["Alice", "Bob", "Alice", "Chloé", "Alice"]
    assert [(t.part, t.parts) for t in lines if t.segment is alice] == [(1, 3), (2, 3), (3, 3)]


def test_one_cut_serves_all_who_interject_before_it() -> None:
    alice = said(1, "Alice", 0, LONG)
    bob, chloe = said(2, "Bob", 1.9, "Attends un peu."), said(3, "Chloé", 1.95, "Je ne sais pas.")
    lines = turns([alice, bob, chloe, said(4, "David", 3.0, "Oui.")])
    assert [turn.segment.seq for turn in lines] == [1, 2, 3, 1, 4]


def test_parts_that_nothing_comes_between_are_one() -> None:
    """Bob's second thought ends another sentence of hers, but belongs to his own line."""
    alice = said(1, "Alice", 0, f"{LONG}. {LONG}. {LONG}")
    bob = said(2, "Bob", 1.9, "Attends un peu." + " _" * 20 + " Non.")
    assert [turn.segment.seq for turn in turns([alice, bob])] == [1, 2, 1]


def test_nothing_is_cut_without_word_times() -> None:
    untimed = segment(1, 0, LONG, end=5 * SAMPLE_RATE)
    bob = said(2, "Bob", 1.9, "Dix mille, c'est trop.")
    assert written(bob, untimed) == [f"Alice: {LONG}", "Bob: Dix mille, c'est trop."]


def test_one_who_has_no_word_times_may_interject() -> None:
    bob = segment(2, 1.9, "Dix mille, c'est trop.", speaker="Bob", mic="bob")
    assert [t.segment.seq for t in turns([said(1, "Alice", 0, LONG), bob])] == [1, 2, 1]


def test_a_speaker_heard_by_two_mics_does_not_interject() -> None:
    other = said(2, "Alice", 1.9, "Dix mille, c'est trop.")
    assert len(turns([said(1, "Alice", 0, LONG), other])) == 2


def test_signs_that_stand_apart_stay_where_they_stood() -> None:
    alice = said(1, "Alice", 0, "Tu viens à la fête de Paul? Il y a du vin")
    alice = segment(
        1, 0, "Tu viens à la fête de Paul ? Il y a du vin", end=alice.end, words=alice.words
    )
    bob = said(2, "Bob", 1.7, "Je ne sais pas.")
    assert written(alice, bob) == [
        "Alice: Tu viens à la fête de Paul ?",
        "Bob: Je ne sais pas.",
        "Alice: Il y a du vin",
    ]


def test_a_language_without_spaces_gets_none() -> None:
    words = tuple(
        Word(sign, n * 0.3, n * 0.3 + 0.3, 0.9) for n, sign in enumerate("我们今天晚上七点开会")
    )
    alice = segment(1, 0, "我们今天晚上七点开会", end=3 * SAMPLE_RATE, words=words)
    bob = said(2, "Bob", 1.45, "What do you say?")
    assert written(alice, bob)[::2] == ["Alice: 我们今天晚", "Alice: 上七点开会"]


def test_words_that_are_not_the_text_cut_nothing() -> None:
    alice = said(1, "Alice", 0, LONG)
    other = segment(1, 0, "Autre chose.", end=alice.end, words=alice.words)
    assert written(other, said(2, "Bob", 1.9, "Dix mille, c'est trop."))[0] == "Alice: Autre chose."


WORDS = st.lists(st.sampled_from(["", "", "_", ",", "."]), min_size=1, max_size=20)
"""What follows each word: nothing, a pause of half a second, or punctuation."""


@st.composite
def meetings(draw: st.DrawFn) -> list[Segment]:
    """What three people say within half a minute, most of it with word times, over one another."""
    spoken = []
    for seq, ends in enumerate(draw(st.lists(WORDS, min_size=1, max_size=5)), start=1):
        speaker = draw(st.sampled_from(["Alice", "Bob", "Chloé"]))
        text = " ".join(
            f"w{seq}.{n} _ _" if end == "_" else f"w{seq}.{n}{end}" for n, end in enumerate(ends)
        )
        one = said(seq, speaker, draw(st.integers(0, 60)) / 10, text, 0.25)
        spoken.append(one if draw(st.integers(0, 3)) else replace(one, words=None))
    return spoken


def first_word(turn: Turn) -> float:
    """Return the second at which a line's first word begins."""
    if turn.segment.words is None:
        return turn.segment.start / SAMPLE_RATE
    word = next(w for w in turn.segment.words if w.word == turn.text.split()[0])
    return turn.segment.start / SAMPLE_RATE + word.start


@settings(max_examples=40, deadline=None)
@given(meetings(), st.randoms())
def test_lines_of_any_meeting(spoken: list[Segment], chance: random.Random) -> None:
    lines = turns(spoken)
    for one in spoken:
        parts = [turn for turn in lines if turn.segment is one]
        assert " ".join(turn.text for turn in parts) == one.text
        assert [turn.part for turn in parts] == list(range(1, len(parts) + 1))
        assert {turn.parts for turn in parts} == {len(parts)}
        assert one.words is not None or len(parts) == 1
    starts = [turn.start / SAMPLE_RATE for turn in lines]
    assert starts == sorted(starts)
    late = [turn.start / SAMPLE_RATE - first_word(turn) for turn in lines]
    assert all(-1e-3 < s < TOLERANCE / SAMPLE_RATE + 1e-3 for s in late)
    assert all(a.segment is not b.segment for a, b in pairwise(lines))
    assert all(turn.start < turn.end for turn in lines)
    shuffled = spoken.copy()
    chance.shuffle(shuffled)
    assert turns(shuffled) == lines


@settings(max_examples=20, deadline=None)
@given(st.lists(segments(), max_size=4, unique_by=lambda s: s.seq))
def test_words_of_any_kind_lose_nothing(spoken: list[Segment]) -> None:
    lines = turns(spoken)
    starts = [turn.start for turn in lines]
    assert starts == sorted(starts)
    for one in spoken:
        text = "".join("".join(turn.text for turn in lines if turn.segment is one).split())
        assert text == "".join(one.text.split())


def test_each_part_is_a_cue_of_its_own() -> None:
    talk = transcript(said(1, "Alice", 10, LONG), said(2, "Bob", 11.9, "Dix mille, c'est trop."))
    assert to_srt(talk).splitlines()[1::4] == [
        "00:00:10,000 --> 00:00:12,100",
        "00:00:11,900 --> 00:00:13,100",
        "00:00:12,100 --> 00:00:15,100",
    ]
    assert to_vtt(talk).splitlines()[3::3][:2] == [
        "<v Alice>le budget de la fête est de",
        "<v Bob>Dix mille, c'est trop.",
    ]


def test_a_day_of_talk_is_merged_in_time_that_grows_as_it_does() -> None:
    def merging_s(segments_total: int) -> float:
        speakers = ["Alice", "Bob", "Chloé", "David"]
        spoken = [
            said(n, speakers[n % 4], n * 2.9, LONG if n % 3 else "Non, je ne crois pas.")
            for n in range(1, segments_total + 1)
        ]
        began = time.process_time()
        assert len(turns(spoken)) > segments_total
        return time.process_time() - began

    eighth = min(merging_s(100) for _ in range(3))
    assert min(merging_s(800) for _ in range(3)) < 8 * eighth * 2.5
