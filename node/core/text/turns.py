"""Who has the floor: segments become the turns of the merged transcript, each at its words' time.

A segment lasts as long as its speaker goes on, and others speak meanwhile. If word times are known,
it is cut where another begins, so that the turns stand in the order of their first words. Without
them it stays whole.

Because minutes are read, it is not cut at just any word:

- If the speaker was silent when the other began, it is cut there: people take turns word by word.
- For an interjection of three words or more, it is cut at the best place within a second: the end
  of a sentence, a pause, a comma, or else the next word.
- A shorter one ("oui", "mm") spoken over the speaker's words does not break a sentence: it follows
  the sentence in which it was said.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from node.core.model import SAMPLE_RATE, Segment
from node.core.text.languages import CLOSING_SIGNS, SENTENCE_ENDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

PAUSE_SAMPLES = 3 * SAMPLE_RATE // 10
"""Samples between two words from which their speaker was silent: longer than any consonant."""

TOLERANCE = SAMPLE_RATE // 5
"""Samples by which an aligned word may be off: the collar of WhisperX (Bain et al. 2023)."""

CUT_WITHIN = SAMPLE_RATE
"""Samples an interrupted speaker may go on before the turn ends: about three words."""

MIN_WORDS = 5
"""Fewest words in a part of a sentence.

Fewer words make no sense alone. And somebody with fewer words left, a second and a half, had almost
finished: such an overlap belongs to the change of speakers."""

INTERJECTION_WORDS = 2
"""Most words of what is said over another without taking the floor: "oui", "d'accord"."""

CLAUSE_ENDS = tuple(",;:，；：、،")  # noqa: RUF001  # the signs that are meant


@dataclass(frozen=True, slots=True)
class Turn:
    """A line of the merged transcript: a segment, or part `part` of the `parts` it is cut into.

    `start` is the sample of the session at which its first word begins (or up to a fifth of a
    second later, if somebody else began just then), `end` the one at which its last word ends.
    """

    segment: Segment
    text: str
    start: int
    end: int
    part: int = 1
    parts: int = 1


class _Onset(NamedTuple):
    """Somebody begins, or goes on after a pause; `short` if that breaks nobody's sentence."""

    time: int
    speaker: str
    short: bool


class _Span(NamedTuple):
    """Words `first` to before `last` of a segment, from sample `start` on."""

    voice: _Voice
    start: int
    first: int
    last: int

    def order(self) -> tuple[int, bool, int, str]:
        # If two begin at once, the one that only goes on gives way.
        segment = self.voice.segment
        return self.start, self.first > 0, segment.seq, segment.id


class _Voice:
    """A segment with the times of its words in samples of the session, never running backwards.

    A segment without word times is one word, from its start to its end.
    """

    def __init__(self, segment: Segment) -> None:
        self.segment = segment
        words = segment.words or ()
        self.texts = [word.word for word in words] or [segment.text]
        self.begins = list(accumulate((_at(segment, word.start) for word in words), max))
        self.ends = [_at(segment, word.end) for word in words]
        if not words:
            self.begins, self.ends = [segment.start], [segment.end]

    def onsets(self) -> Iterator[_Onset]:
        speaker = self.segment.speaker
        yield _Onset(self.begins[0], speaker, len(self.segment.text.split()) <= INTERJECTION_WORDS)
        for index in range(1, len(self.begins)):
            if self.pauses_before(index):
                yield _Onset(self.begins[index], speaker, short=True)

    def pauses_before(self, index: int) -> bool:
        return self.begins[index] - self.ends[index - 1] >= PAUSE_SAMPLES

    def sentence_ends_before(self, index: int) -> bool:
        return index == 0 or self.texts[index - 1].rstrip(CLOSING_SIGNS).endswith(SENTENCE_ENDS)

    def cuts(self, onsets: Iterable[_Onset]) -> list[tuple[int, int]]:
        """When each part begins, with the index of its first word.

        Onsets lie after the beginning of the first word, and not after that of the last.
        """
        cuts = [(self.begins[0], 0)]
        for onset in onsets:
            if cuts[-1][0] < onset.time:
                found = self._cut(onset, cuts[-1][1])
                # A word that began just before the other has given way.
                cuts += [] if found is None else [(max(self.begins[found], onset.time), found)]
        return cuts

    def _cut(self, onset: _Onset, last: int) -> int | None:
        following = bisect_left(self.begins, onset.time, lo=last + 1)
        if self._has_just_begun(following - 1, onset.time) and following - 1 > last:
            return following - 1
        if self.pauses_before(following) and self.ends[following - 1] <= onset.time + TOLERANCE:
            return following
        places = [i for i in range(following, len(self.begins)) if self._may_cut(last, i)]
        if onset.short:
            return next(filter(self.sentence_ends_before, places), None)
        near = [i for i in places if self.begins[i] <= onset.time + CUT_WITHIN]
        return min(near or places[:1], key=self._rank, default=None)

    def _has_just_begun(self, index: int, time: int) -> bool:
        """Whether a sentence begins so shortly before a time that it may as well be after it."""
        return self.sentence_ends_before(index) and time - self.begins[index] <= TOLERANCE

    def _may_cut(self, last: int, index: int) -> bool:
        at_sentence = self.sentence_ends_before(index)
        head = index - last >= MIN_WORDS or (at_sentence and self.sentence_ends_before(last))
        return head and (at_sentence or len(self.begins) - index >= MIN_WORDS)

    def _rank(self, index: int) -> int:
        """How well a turn ends before this word; lower is better."""
        if self.sentence_ends_before(index):
            return 0
        if self.pauses_before(index):
            return 1
        return 2 if self.texts[index - 1].rstrip(CLOSING_SIGNS).endswith(CLAUSE_ENDS) else 3

    def places(self) -> list[int] | None:
        """Where each word begins in the segment's text; None if the words are not the text's.

        They are compared without spaces: signs may stand apart in one and not in the other, and not
        every language has spaces.
        """
        visible = [place for place, sign in enumerate(self.segment.text) if not sign.isspace()]
        words = ["".join(text.split()) for text in self.texts]
        if not all(words) or "".join(words) != "".join(self.segment.text.split()):
            return None
        return [visible[at] for at in accumulate(map(len, words[:-1]), initial=0)]


def turns(segments: Iterable[Segment]) -> tuple[Turn, ...]:
    """The turns of the merged transcript, in the order in which their first words begin.

    Takes n log n time, and more where speech overlaps.

    Args:
        segments: of one session, in any order, each once.
    """
    voices = [_Voice(segment) for segment in segments]
    onsets = sorted(onset for voice in voices for onset in voice.onsets())
    times = [onset.time for onset in onsets]
    spans: list[_Span] = []
    for voice in voices:
        among = onsets[bisect_right(times, voice.begins[0]) : bisect_right(times, voice.begins[-1])]
        spans += _parts(voice, [o for o in among if o.speaker != voice.segment.speaker])
    return _turns(_joined(sorted(spans, key=_Span.order)))


def _at(segment: Segment, second: float) -> int:
    return segment.start + round(second * SAMPLE_RATE)


def _parts(voice: _Voice, onsets: Sequence[_Onset]) -> list[_Span]:
    timed = onsets and voice.places() is not None
    cuts = voice.cuts(onsets) if timed else [(voice.begins[0], 0)]
    lasts = [*(first for _, first in cuts[1:]), len(voice.begins)]
    return [_Span(voice, *cut, last) for cut, last in zip(cuts, lasts, strict=True)]


def _joined(spans: Iterable[_Span]) -> list[_Span]:
    """Parts that nothing has come between become one again."""
    joined: list[_Span] = []
    for span in spans:
        if joined and joined[-1].voice is span.voice:
            joined[-1] = joined[-1]._replace(last=span.last)
        else:
            joined.append(span)
    return joined


def _turns(spans: Sequence[_Span]) -> tuple[Turn, ...]:
    totals: dict[str, int] = {}
    for span in spans:
        totals[span.voice.segment.id] = totals.get(span.voice.segment.id, 0) + 1
    made: dict[str, int] = {}
    found = []
    for span in spans:
        key = span.voice.segment.id
        made[key] = made.get(key, 0) + 1
        found.append(_turn(span, made[key], totals[key]))
    return tuple(found)


def _turn(span: _Span, part: int, parts: int) -> Turn:
    voice, segment = span.voice, span.voice.segment
    text = segment.text
    if parts > 1:
        places = [*(voice.places() or ()), len(text)]
        text = text[places[span.first] : places[span.last]].strip()
    start = span.start
    end = voice.ends[span.last - 1]
    if part == parts:
        end = max(end, segment.end)
    return Turn(segment, text, start, max(end, start + SAMPLE_RATE // 1000), part, parts)
