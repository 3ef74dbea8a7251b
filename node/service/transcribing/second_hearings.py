"""Garbled utterances that workers hear once more, in their raw sound."""

from __future__ import annotations

from typing import TYPE_CHECKING

from node.service.transcribing.away import Heard
from node.service.transcribing.segments import surer, whole_clip

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from node.service.transcribing.away import Away, Outcome
    from node.service.transcribing.backlog import Backlog


class SecondHearings:
    """What was heard first, until the second text is there or will not come. Owned by one thread.

    Nothing is lost with the second text: then the first one counts.
    """

    def __init__(self, away: Away, backlog: Backlog) -> None:
        self._away = away
        self._backlog = backlog
        self._first: dict[str, Heard] = {}

    def begin(self, heard: Heard, raw: npt.NDArray[np.int16] | None, now: float) -> bool:
        """Send what was heard once more, if that may help; return whether it is on its way."""
        whole = whole_clip(heard.clip, raw, heard.text)
        if whole is None:
            return False
        beam_size = self._backlog.beam_size
        if self._away.send(heard.utterance, whole, beam_size, now, again=True) is not None:
            return False
        self._first[heard.utterance.id] = heard
        return True

    def end(self, outcome: Outcome) -> Heard | None:
        """Return what counts, now that a second hearing is over; None if it was none."""
        first = self._first.pop(outcome.utterance.id, None)
        if first is None or not isinstance(outcome, Heard):
            return first
        clip, text = surer((first.clip, first.text), (outcome.clip, outcome.text))
        engine_s = first.engine_s + outcome.engine_s
        return Heard(first.utterance, clip, text, first.seconds, engine_s)

    def forget(self, key: str) -> None:
        """Forget an utterance that nobody wants any more."""
        self._first.pop(key, None)

    def end_all(self) -> list[Heard]:
        """Return what was heard of those that will not be heard again: the workers are away."""
        found = list(self._first.values())
        self._first.clear()
        return found
