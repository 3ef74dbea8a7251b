"""Which utterances go to workers, and when: all, or those that this machine cannot keep up with."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from node.core.model import Transcription
from node.core.overload import Load
from node.core.work.help import Help
from node.service.items import AnswersDropped, WorkersChanged, WorkerUseless
from node.service.transcribing.away import Failed, Heard, Returned
from node.service.transcribing.second_hearings import SecondHearings
from node.service.transcribing.segments import speaker_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    import numpy as np
    import numpy.typing as npt

    from node.adapters.store import Utterance
    from node.adapters.whisper import Clip
    from node.service.items import ThreadItem
    from node.service.transcribing.away import Away, Outcome
    from node.service.transcribing.backlog import Backlog
    from node.service.transcribing.results import Results

OUTAGE_S = 10.0
"""How long workers may be away before that is said. Without a model here, what waits is then marked
as late: it is no load, so no quality is given up for it."""

LOOKED_AT = 64
"""Waiting utterances to look at for one whose speaker has no other away."""

LOOK_S = 2.0
"""How often to look while workers are away or help is wanted."""


class Sharing:
    """Owned by the transcriber thread.

    Args:
        away: what is at the workers.
        backlog: what waits.
        results: takes what is heard.
        read: returns an utterance's clip, or None if that cannot be had now.
        raw: returns its raw sound, if it may be heard in that too.
        helps: whether this machine transcribes too, and workers only help.
        post: reports to the main thread.
    """

    def __init__(
        self,
        *,
        away: Away,
        backlog: Backlog,
        results: Results,
        read: Callable[[Utterance], Clip | None],
        raw: Callable[[Utterance], npt.NDArray[np.int16] | None],
        helps: bool,
        post: Callable[[ThreadItem], None],
    ) -> None:
        self._away = away
        self._backlog = backlog
        self._results = results
        self._read = read
        self._raw = raw
        self._again = SecondHearings(away, backlog)
        self._help = Help() if helps else None
        self._post = post
        self._said: str | None = None

    @property
    def hands(self) -> int:
        """How many engines work on what waits."""
        return max(1, self._away.workers) if self._help is None or self._away.ids else 1

    @property
    def elsewhere(self) -> Collection[str]:
        """Ids of utterances that are no load of this machine, which would keep up without them."""
        return () if self._help is None else self._taken()

    def go_on(self) -> None:
        """Take in what has come back, and send what may go.

        Raises:
            StoreError: the disk fails; the next call goes on.
        """
        now = time.monotonic()
        # What was heard goes first: to give up writes to the disk, which may fail.
        for outcome in sorted(self._away.go_on(now), key=lambda each: isinstance(each, Failed)):
            self._take(outcome, now)
        self._results.store()
        self._watch(now)
        if self._asks(now):
            self._send_some(now)

    def left_here(self) -> list[Utterance]:
        """Return what to transcribe on this machine: what nobody else has."""
        if not self._away.ids:
            return self._backlog.next(self._results.order.finished)
        now, found = time.monotonic(), self._backlog.some(LOOKED_AT, self._taken())
        return [utterance for utterance in found if not self._is_busy(utterance, now)][:1]

    def forget(self, session_id: str) -> None:
        """Forget everything of an erased session."""
        for key in self._away.ids:
            if key.startswith(f"{session_id}/"):
                self.cancel(key)

    def cancel(self, key: str) -> None:
        """Forget an utterance that nobody wants any more."""
        self._away.cancel(key)
        self._again.forget(key)

    def pause_s(self) -> float | None:
        """Return the seconds until there is something to do, if nothing arrives before."""
        soon = self._away.next_s(time.monotonic())
        waits = self._away.problem is not None or self._backlog.load is not Load.NORMAL
        return soon if not waits else min(LOOK_S, LOOK_S if soon is None else soon)

    def _take(self, outcome: Outcome, now: float) -> None:
        if isinstance(outcome, Returned) and self._help is not None:
            self._help.unanswered(now)
        if (counts := self._again.end(outcome)) is not None:
            self._heard(counts)
            return
        match outcome:
            case Heard(utterance):
                if not self._again.begin(outcome, self._raw(utterance), now):
                    self._heard(outcome)
            case Failed(utterance, reason):
                if self._help is None:
                    self._results.give_up(utterance, reason)
                else:
                    self._backlog.keep_here(utterance)

    def _heard(self, heard: Heard) -> None:
        self._results.measure(heard.seconds, heard.engine_s)
        self._results.heard(heard.utterance, heard.clip, heard.text)

    def _watch(self, now: float) -> None:
        """Say whether workers are there, and deal with it if they are not."""
        absent_s = self._away.absent_s(now)
        for useless in self._away.news():
            self._post(WorkerUseless(useless))
        if dropped := self._away.dropped():
            self._post(AnswersDropped(dropped))
        problem = self._away.problem if absent_s >= OUTAGE_S else self._away.silence
        if problem != self._said and (absent_s == 0 or problem is not None):
            self._said = problem
            self._post(WorkersChanged(problem))
        if absent_s > 0 and (self._help is not None or absent_s >= OUTAGE_S):
            self._away.cancel_all()  # each keeps its turn: no text overtakes its speaker's others
            for heard in self._again.end_all():
                self._heard(heard)
        if absent_s >= OUTAGE_S and self._help is None:
            self._backlog.put_off_all()

    def _asks(self, now: float) -> bool:
        if self._away.problem is not None:
            return False
        return self._help is None or self._help.look(now, self._backlog.load)

    def _taken(self) -> set[str]:
        return self._away.ids | self._results.order.finished

    def _is_busy(self, utterance: Utterance, now: float) -> bool:
        """Return whether an utterance has to wait for what its speaker said before.

        That helps to understand it, unless there is so much to do that it is left out anyway.
        """
        if self._backlog.load >= Load.TOGETHER:
            return False
        return self._results.order.is_behind(utterance.id, speaker_of(utterance), now)

    def _send_some(self, now: float) -> None:
        for _ in range(2):  # current speech and late speech take turns
            if self._away.room == 0:
                break
            for utterance in self._sendable(now):
                if (clip := self._read(utterance)) is not None:
                    self._send(utterance, clip, now)
        self._results.store()

    def _send(self, utterance: Utterance, clip: Clip, now: float) -> None:
        self._results.begin(utterance)
        if len(clip.samples) == 0:  # the power failed as it began
            nothing = Transcription("", clip.language or "", 0.0, 0.0)
            self._results.heard(utterance, clip, nothing)
            return
        failed = self._away.send(utterance, clip, self._backlog.beam_size, now)
        if failed is not None:
            self._take(failed, now)

    def _sendable(self, now: float) -> Iterator[Utterance]:
        """Yield what may go, one at a time: each that goes may keep the next of its speaker."""
        for utterance in self._backlog.some(LOOKED_AT, self._taken()):
            if self._away.room == 0:
                return
            if not (self._is_busy(utterance, now) or self._backlog.is_kept_here(utterance)):
                yield utterance
