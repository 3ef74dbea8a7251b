"""What waits for the engine: what comes next, and what to give up if too much waits."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import takewhile
from typing import TYPE_CHECKING

from node.core.model import SAMPLE_RATE, at_sample
from node.core.overload import Load, Overload
from node.service.items import LoadChanged

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from node.adapters.store import Sessions, Utterance, Utterances
    from node.service.items import ThreadItem

FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0
"""Wait before reading a sound again; doubles from the first to the second value."""

SHORTEST_PAUSE_S = 0.1

PATIENCE_S = 600.0
"""A sound that cannot be read for this long is given up, so that its session can end."""

MAX_TOGETHER = 4
"""Short utterances to decode at once: two take 1.5 times as long as one, four 2.5 times
(`python -m tests.bench.backlog`); with more, the first would wait too long."""


@dataclass(frozen=True, slots=True)
class _Postponed:
    """Monotonic times since and until which an utterance is postponed."""

    since: float
    until: float


class Backlog:
    """Owned by the transcriber thread; others may read `load`."""

    def __init__(
        self,
        *,
        sessions: Sessions,
        utterances: Utterances,
        shares_window: Callable[[float], bool],
        post: Callable[[ThreadItem], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sessions = sessions
        self._utterances = utterances
        self._shares_window = shares_window
        self._post = post
        self._clock = clock
        self._overload = Overload()
        self._apart: set[str] = set()
        self._kept_here: set[str] = set()
        self._postponed: dict[str, _Postponed] = {}
        self._replayed_next = False

    @property
    def load(self) -> Load:
        """How much quality is given up to keep up."""
        return self._overload.load

    @property
    def beam_size(self) -> int | None:
        """Beam size that replaces the configured one; None to keep that."""
        return 1 if self.load >= Load.BEAM_1 else None

    def weigh(self, rtf: float | None, without: Collection[str] = ()) -> None:
        """Measure how much current speech waits, and decide what to give up.

        `without` are the ids of utterances that do not wait for this machine.

        Waiting counts from when an utterance was captured: neither the pause that ends it nor a
        full disk is load.
        """
        now, (oldest, backlog_s) = self._clock(), self._utterances.queue(without)
        since = self._utterances.captured_at(oldest) if oldest else None
        lag_s = 0.0 if since is None else now - since
        before = self.load
        event = self._overload.look(now, backlog_s=backlog_s, lag_s=lag_s, rtf=rtf)
        if self.load is not before:
            message = f"{backlog_s:.0f} s of speech are waiting, the oldest for {lag_s:.0f} s"
            self._post(LoadChanged(event, message))

    def next(self, without: Collection[str] = ()) -> list[Utterance]:
        """Return what has waited longest, with what can be decoded together with it, if anything.

        `without` are the ids of utterances that are in other hands, or done.

        Oldest first is fair between microphones: somebody who speaks without a pause does not
        overtake what others said earlier. Speech from an earlier process, which is late anyway,
        takes turns with current speech, so that neither keeps the other waiting for long.
        """
        found = self._look(MAX_TOGETHER, without)
        if not found:
            return []
        if self.load >= Load.TOGETHER:
            together = list(takewhile(self._goes_together, found))
            if together:
                return together
        self._apart.discard(found[0].id)
        return found[:1]

    def some(self, most: int, without: Collection[str]) -> list[Utterance]:
        """Return the first that wait, at most `most`, each to be transcribed by itself."""
        return self._look(most, without)

    def _look(self, most: int, without: Collection[str]) -> list[Utterance]:
        found = self._utterances.next(
            most, replayed_first=self._replayed_next, without={*self._left_alone(), *without}
        )
        if found:
            self._replayed_next = not found[0].recovered
        return found

    def put_off_all(self) -> None:
        """Mark all current speech that waits as late: nobody could have it sooner."""
        while (oldest := self._utterances.queue()[0]) is not None:
            self._utterances.put_off(oldest)

    def set_apart(self, utterances: Iterable[Utterance]) -> None:
        """Hand these out one by one, to find the one that fails."""
        self._apart.update(utterance.id for utterance in utterances)

    def keep_here(self, utterance: Utterance) -> None:
        """Note that no worker can transcribe an utterance: it stays on this machine."""
        self._kept_here.add(utterance.id)

    def is_kept_here(self, utterance: Utterance) -> bool:
        return utterance.id in self._kept_here

    def postpone(self, utterance: Utterance) -> bool:
        """Leave an utterance whose sound cannot be read alone for a while, longer each time.

        Returns:
            Whether it is worth another try: False after `PATIENCE_S`.
        """
        now = self._clock()
        earlier = self._postponed.get(utterance.id)
        if earlier is None:
            self._utterances.put_off(utterance)
            self._postponed[utterance.id] = _Postponed(now, now + FIRST_WAIT_S)
            return True
        waited_s = now - earlier.since
        self._postponed[utterance.id] = replace(
            earlier, until=now + min(LONGEST_WAIT_S, max(FIRST_WAIT_S, waited_s))
        )
        return waited_s < PATIENCE_S

    def is_postponed(self, utterance: Utterance) -> bool:
        """Return whether its sound could not be read at the last attempt."""
        return utterance.id in self._postponed

    def done(self, utterance: Utterance) -> None:
        """Forget an utterance that no longer waits."""
        self._postponed.pop(utterance.id, None)
        self._kept_here.discard(utterance.id)

    def pause_s(self) -> float | None:
        """Return the seconds until a postponed utterance is due; None if there is none."""
        if not self._postponed:
            return None
        next_at = min(each.until for each in self._postponed.values())
        return max(SHORTEST_PAUSE_S, next_at - self._clock())

    def _left_alone(self) -> set[str]:
        now = self._clock()
        return {key for key, each in self._postponed.items() if each.until > now}

    def lag_s(self, utterance: Utterance) -> float:
        """Return the seconds from the end of its speech to now."""
        zero = self._sessions.zero(utterance.session_id)
        if zero is not None:
            return time.monotonic() - zero - utterance.spoken[1] / SAMPLE_RATE
        session = self._sessions.get(utterance.session_id)
        if session is None:
            return 0.0
        late = datetime.now(UTC) - at_sample(session.started_at, utterance.spoken[1])
        return max(0.0, late.total_seconds())

    def _goes_together(self, utterance: Utterance) -> bool:
        return (
            utterance.id not in self._apart
            and self._shares_window(utterance.duration_s)
            and not self._utterances.tried(utterance)
        )
