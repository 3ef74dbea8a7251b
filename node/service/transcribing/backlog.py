"""What waits for the engine: what comes next, and what is given up when too much waits."""

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
    from collections.abc import Callable, Iterable

    from node.adapters.store import Sessions, Utterance, Utterances
    from node.service.items import WorkerItem

FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0
"""From one attempt to read a sound to the next; doubled each time between these two."""

SHORTEST_PAUSE_S = 0.1

PATIENCE_S = 600.0
"""A sound that cannot be read for so long is given up: the rest of its session would never end."""

MAX_TOGETHER = 4
"""Short utterances that go through the decoder at once: two take 1.5 times as long as one, four 2.5
times (`python -m tests.bench.backlog`); of more, the first would wait too long."""


@dataclass(frozen=True, slots=True)
class _Postponed:
    """Monotonic times: since when, and until when an utterance is left alone."""

    since: float
    until: float


class Backlog:
    """Owned by the transcriber thread; `load` may be read by others."""

    def __init__(
        self,
        *,
        sessions: Sessions,
        utterances: Utterances,
        shares_window: Callable[[float], bool],
        post: Callable[[WorkerItem], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sessions = sessions
        self._utterances = utterances
        self._shares_window = shares_window
        self._post = post
        self._clock = clock
        self._overload = Overload()
        self._apart: set[str] = set()
        self._postponed: dict[str, _Postponed] = {}
        self._replayed_next = False

    @property
    def load(self) -> Load:
        """What is given up to keep up."""
        return self._overload.load

    @property
    def beam_size(self) -> int | None:
        """In place of the configured one, where that is given up."""
        return 1 if self.load >= Load.BEAM_1 else None

    def weigh(self, rtf: float | None) -> None:
        """See how much waits of what people say now, and what to give up for it.

        Counted from when it could be begun with: a long pause to end an utterance, or a disk that
        was full, is no load.
        """
        now, (oldest, backlog_s) = self._clock(), self._utterances.queue()
        since = self._utterances.captured_at(oldest) if oldest else None
        lag_s = 0.0 if since is None else now - since
        before = self.load
        event = self._overload.look(now, backlog_s=backlog_s, lag_s=lag_s, rtf=rtf)
        if self.load is not before:
            message = f"{backlog_s:.0f} s of speech wait, the oldest for {lag_s:.0f} s"
            self._post(LoadChanged(event, message))

    def next(self) -> list[Utterance]:
        """What has waited longest, with what goes through the decoder beside it; empty: nothing.

        Oldest first is fair between microphones: nobody who speaks without a pause comes before
        what others have said earlier. Speech of an earlier process, which is late in any case,
        takes turns with what people say now: neither can keep the other waiting for long.
        """
        found = self._utterances.next(
            MAX_TOGETHER, replayed_first=self._replayed_next, without=self._left_alone()
        )
        if not found:
            return []
        self._replayed_next = not found[0].recovered
        if self.load >= Load.TOGETHER:
            together = list(takewhile(self._goes_together, found))
            if together:
                return together
        self._apart.discard(found[0].id)
        return found[:1]

    def set_apart(self, utterances: Iterable[Utterance]) -> None:
        """Give these out one by one: it must be seen at which of them the engine fails."""
        self._apart.update(utterance.id for utterance in utterances)

    def postpone(self, utterance: Utterance) -> bool:
        """Its sound cannot be read: leave it alone for a while, each time for longer.

        Returns:
            Whether there is still hope of it.
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
        """Whether its sound could not be read at the last attempt."""
        return utterance.id in self._postponed

    def done(self, utterance: Utterance) -> None:
        """It does not wait any more."""
        self._postponed.pop(utterance.id, None)

    def pause_s(self) -> float | None:
        """Seconds until one that is left alone is to be tried again; None where there is none."""
        if not self._postponed:
            return None
        next_at = min(each.until for each in self._postponed.values())
        return max(SHORTEST_PAUSE_S, next_at - self._clock())

    def _left_alone(self) -> set[str]:
        now = self._clock()
        return {key for key, each in self._postponed.items() if each.until > now}

    def lag_s(self, utterance: Utterance) -> float:
        """Seconds from the end of its speech to now."""
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
