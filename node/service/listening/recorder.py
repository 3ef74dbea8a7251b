"""Records a session: what the room hears becomes utterances in the spool."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from node.core.room.segmenter import Audio, Ended, Started, Withdrawn

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from node.adapters.vad import Silero
    from node.core.room.room import MicEvents, Mode, Room
    from node.core.room.segmenter import Event
    from node.service.listening.spool import Spoken, Spool


REMEMBERED = 64
"""Utterances of a mic that may be withdrawn: two a second for half a minute."""


@dataclass(frozen=True, slots=True)
class ActiveAssignment:
    """Who sits at a mic: what its new utterances are marked with. Not `enabled`: muted."""

    label: str
    language: str | None
    enabled: bool


class Recorder:
    """Owned by the listener thread; one for each session.

    A muted mic is still heard by the room, so that its voice in the neighbours' mics is known for
    what it is; nothing of it is written.
    """

    def __init__(
        self, session_id: str, room: Room, silero: Silero, spool: Spool, mode: Mode
    ) -> None:
        self._session_id = session_id
        self._room = room
        self._silero = silero
        self._spool = spool
        self._keeps_crosstalk = mode == "tag"
        self._assignments: dict[str, ActiveAssignment] = {}
        self._open: dict[str, Spoken] = {}
        self._ended: dict[str, deque[Spoken]] = {}

    def join(self, mic: str, assignment: ActiveAssignment) -> None:
        self._room.add(mic, self._silero.detector())
        self._assignments[mic] = assignment
        self._ended[mic] = deque(maxlen=REMEMBERED)

    def assign(self, mic: str, assignment: ActiveAssignment) -> None:
        """Change who sits at a mic. Muting ends its open utterance; unmuting begins anew."""
        if assignment.enabled != self._assignments[mic].enabled:
            self._write(self._room.flush(mic))
        self._assignments[mic] = assignment

    def hear(self, mic: str, position: int, samples: npt.NDArray[np.int16]) -> None:
        """Take samples of a mic at 16 kHz, the first of which lies at `position`."""
        self._write(self._room.skip_to(mic, position))
        self._write(self._room.feed(mic, samples))

    def pause(self, mic: str) -> None:
        """A mic is away: end what it has open."""
        self._write(self._room.flush(mic))

    def close(self, mic: str) -> int:
        """The session is over: end what a mic has open; gives the sample at which it ends."""
        self.pause(mic)
        return self._room.position(mic)

    @property
    def busy(self) -> bool:
        """Whether somebody speaks, or may be about to."""
        return self._room.busy

    def level_dbfs(self, mic: str) -> float:
        """Level of a mic since the last call, in dB below full scale."""
        return self._room.level_dbfs(mic)

    def lags_s(self) -> dict[str, float | None]:
        """Delay of each mic against the earliest one, where it is known."""
        return self._room.lags_s()

    def _write(self, heard: MicEvents) -> None:
        for mic, event in heard:
            if isinstance(event, Withdrawn):  # of what was written, be the mic muted by now or not
                self._withdraw(mic, event)
            elif self._assignments[mic].enabled:
                self._note(mic, event)

    def _withdraw(self, mic: str, withdrawn: Withdrawn) -> None:
        for spoken in self._ended[mic]:
            if spoken.start == withdrawn.start:
                self._spool.withdraw(spoken, withdrawn.other, keep=self._keeps_crosstalk)

    def _note(self, mic: str, event: Event) -> None:
        match event:
            case Started(start, speech):
                assignment = self._assignments[mic]
                spoken = self._spool.begin(
                    self._session_id, mic, assignment.label, assignment.language, (start, speech)
                )
                if spoken is not None:
                    self._open[mic] = spoken
            case Audio(samples, more) if mic in self._open:
                self._spool.append(self._open[mic], samples, more)
            case Ended() if mic in self._open:
                spoken = self._open.pop(mic)
                if event.crosstalk_of is None or self._keeps_crosstalk:
                    self._spool.end(spoken, event)
                    self._ended[mic].append(spoken)
                else:
                    self._spool.discard(spoken)
