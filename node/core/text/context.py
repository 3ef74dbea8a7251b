"""What a speaker said just before: sound and text that help Whisper with what comes next.

Whisper hears 30 s at a time and was trained on sentences in context; it is worst at a short
utterance alone in silence. So the encoder gets the speaker's last utterances in front of the next
one, where there would only be padding, and the decoder goes on from their text.

Wrong text in front breeds wrong text. So only utterances without any doubt are remembered, a
doubtful one erases the speaker's whole past, and a text that repeats what stands before it is not
believed (see `echoes`).
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import TYPE_CHECKING

from node.core.model import SAMPLE_RATE
from node.core.text.hallucination import keys
from node.core.text.languages import CLOSING_SIGNS, SENTENCE_ENDS, UNSPACED

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

    from node.core.model import Transcription

Speaker = tuple[str, str, str]
"""Session, microphone and the person's name."""

MAX_AGE_S = 60.0
"""Seconds from the end of an utterance to the beginning of one that it may help."""

MAX_LENGTH_S = 12.0
"""Seconds of sound remembered of one speaker: more never fits in a window with what comes next."""

LEARNED = 0.45
FORGET = 0.3
"""Confidence from which a text may help with the next, and below which nothing before it may. Texts
in between are passed over. Of 0.4 to 0.6 and 0 to 0.4, tried on commands of two voices, these gave
slightly fewer errors than others: one wrong word in the context causes two more."""

MAX_SPEAKERS = 16
"""Speakers remembered at once, at most 0.4 MB each: leftovers of old sessions go."""

LEAD_WORDS = 10
"""Fewest words of earlier text that the decoder goes on from. It takes them one by one, which costs
as much as writing them; the encoder hears all that fits. Using all of the text was no better."""

ECHO_SHARE = 0.8
ECHO_WORDS = 2
"""A text of at least `ECHO_WORDS` words may be the decoder's echo and not the speaker's words if
this share of it is one piece of the text before it; so may a text with such a piece of `ECHO_RUN`
words."""

ECHO_RUN = 5


@dataclass(frozen=True, slots=True)
class Earlier:
    """An utterance that was understood: int16 samples at 16 kHz, of shape (n,), and its text."""

    samples: npt.NDArray[np.int16]
    text: str
    language: str


@dataclass(slots=True)
class _Past:
    """What a speaker said last; unused until `wanted` more utterances are in this language."""

    language: str
    wanted: int = 1
    utterances: list[tuple[int, Earlier]] = field(default_factory=list)

    @property
    def samples(self) -> int:
        return sum(len(earlier.samples) for _, earlier in self.utterances)


class Contexts:
    """What each speaker of each session said last. Owned by the thread that transcribes."""

    def __init__(self) -> None:
        self._said: OrderedDict[Speaker, _Past] = OrderedDict()

    def of(self, speaker: Speaker, start: int) -> tuple[Earlier, ...]:
        """What to hear before an utterance that begins at sample `start` of its session.

        Consecutive utterances in one language, the oldest first.
        """
        said = self._said.get(speaker)
        if said is None or said.wanted > 0:
            return ()
        oldest = start - MAX_AGE_S * SAMPLE_RATE
        return tuple(earlier for end, earlier in said.utterances if oldest <= end <= start)

    def learn(
        self, speaker: Speaker, end: int, samples: npt.NDArray[np.int16], heard: Transcription
    ) -> None:
        """Take in what was heard of an utterance that ended at sample `end` of its session.

        A doubtful text, or none, erases all that was said before. So does another language; and as
        someone who changes it once may do so again, two utterances in the new one are needed before
        they help.
        """
        if heard.doubtful or heard.confidence < FORGET:
            self._said.pop(speaker, None)
        if heard.doubtful or heard.confidence < LEARNED:
            return
        said = self._said.setdefault(speaker, _Past(heard.language))
        if said.language != heard.language:
            said = self._said[speaker] = _Past(heard.language, wanted=2)
        said.utterances.append((end, Earlier(samples, heard.text, heard.language)))
        said.wanted = max(0, said.wanted - 1)
        while said.samples > MAX_LENGTH_S * SAMPLE_RATE:
            said.utterances.pop(0)
        self._said.move_to_end(speaker)
        while len(self._said) > MAX_SPEAKERS:
            self._said.popitem(last=False)

    def forget_speaker(self, speaker: Speaker) -> None:
        """Part of what was learned was not said by them: all of it may be wrong."""
        self._said.pop(speaker, None)

    def forget(self, session_id: str) -> None:
        """Keep nothing of a session: it is being erased."""
        for speaker in [speaker for speaker in self._said if speaker[0] == session_id]:
            del self._said[speaker]


def newest_fitting(earlier: Sequence[Earlier], room: int) -> list[Earlier]:
    """The last utterances whose sound fits into `room` samples, in their order."""
    kept: list[Earlier] = []
    for utterance in reversed(earlier):
        room -= len(utterance.samples)
        if room < 0:
            break
        kept.insert(0, utterance)
    return kept


def gone_on_from(earlier: Sequence[Earlier]) -> list[Earlier]:
    """The last of those heard, with words enough for the decoder to go on from."""
    kept: list[Earlier] = []
    words = 0
    for utterance in reversed(earlier):
        if words >= LEAD_WORDS:
            break
        spaced = utterance.language not in UNSPACED
        words += len(keys(utterance.text, spaced=spaced))
        kept.insert(0, utterance)
    return kept


def as_sentence(text: str, *, spaced: bool = True) -> str:
    """Return a text that begins with a capital letter and ends with a sign that it is over.

    An utterance is over because its speaker was silent for a second, but Whisper often leaves the
    sign out, and then the capital too. The decoder goes on in the middle of a sentence, where
    "étant" is likelier than the command "éteins". The sign avoids 5 of 38 errors in 192 words of
    French commands, and none of 12 in 127 words of English ones; the capital avoids one or none of
    31 to 33, as the processor rounds.
    """
    if not spaced:
        return text
    text = text[:1].upper() + text[1:]
    if text.rstrip(f"{CLOSING_SIGNS} ").endswith(SENTENCE_ENDS):
        return text
    return f"{text.rstrip(' ,;:-')}."


def echoes(text: str, before: str, *, spaced: bool = True) -> bool:
    """Whether most of a text is one piece of the text before it."""
    words, past = keys(text, spaced=spaced), keys(before, spaced=spaced)
    if len(words) < ECHO_WORDS:
        return False
    matcher = SequenceMatcher(None, words, past, autojunk=False)
    longest = matcher.find_longest_match().size
    return longest >= min(ECHO_SHARE * len(words), ECHO_RUN)
