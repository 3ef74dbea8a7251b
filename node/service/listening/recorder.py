"""Records a session: turns what the room hears into utterances and passes them to a sink.

The service's sink is the spool, on the disk; `transcribe` keeps them in memory.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from node.core.room.endpointing import Audio, Ended, Started, Withdrawn
from node.core.room.room import REMEMBERED_UTTERANCES

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from node.adapters.vad import Silero
    from node.core.model import Assignment
    from node.core.room.endpointing import Event
    from node.core.room.room import MicEvents, Mode, Room


class Begun(Protocol):
    """A sink's handle for an utterance, which begins at sample `start` of the session."""

    @property
    def start(self) -> int: ...


B = TypeVar("B", bound=Begun)


class UtteranceSink(Protocol[B]):
    """Where utterances go; called by the thread that owns the recorder.

    Each one begun is later ended or discarded; one that has ended may still be withdrawn.
    """

    def begin(
        self, session_id: str, mic: str, speaker: str, language: str | None, at: tuple[int, int]
    ) -> B | None:
        """Begin an utterance; return None if there is no room for it.

        `at` holds the first sample of the sound to keep, and that of the speech in it.
        """

    def append(self, spoken: B, samples: npt.NDArray[np.int16], more: int) -> None:
        """Add sound to it, int16 at 16 kHz; at least `more` samples follow."""

    def end(self, spoken: B, ended: Ended) -> None:
        """End it; in mode "tag" `ended` may say that another mic's speaker said it."""

    def discard(self, spoken: B) -> None:
        """Discard it: it has ended and was another mic's speech."""

    def withdraw(self, spoken: B, other: str, *, keep: bool) -> None:
        """Withdraw it: it ended as its mic's own, but was the speech of the mic `other`.

        `keep` says whether to transcribe it all the same, if that is still to be done.
        """


class Recorder(Generic[B]):
    """Owned by one thread, in the service the listener's; one for each session.

    Every assignment must name a speaker; without a language, Whisper detects it. The room also
    hears a muted mic (not `enabled`), to recognise its voice in other mics, but nothing of it is
    written.
    """

    def __init__(
        self, session_id: str, room: Room, silero: Silero, sink: UtteranceSink[B], mode: Mode
    ) -> None:
        self._session_id = session_id
        self._room = room
        self._silero = silero
        self._sink = sink
        self._keeps_crosstalk = mode == "tag"
        self._assignments: dict[str, Assignment] = {}
        self._open: dict[str, B] = {}
        self._ended: dict[str, deque[B]] = {}

    def join(self, mic: str, assignment: Assignment, position: int = 0) -> None:
        """Add a mic, whose first sample is at `position` or later."""
        self._room.add(mic, self._silero.detector(), position)
        self._assignments[mic] = assignment
        self._ended[mic] = deque(maxlen=REMEMBERED_UTTERANCES)

    def assign(self, mic: str, assignment: Assignment) -> None:
        """Change a mic's assignment; muting or unmuting it ends its open utterance."""
        if assignment.enabled != self._assignments[mic].enabled:
            self._write(self._room.flush(mic))
        self._assignments[mic] = assignment

    def hear(
        self, mic: str, position: int, samples: npt.NDArray[np.int16], slipped: int = 0
    ) -> None:
        """Take samples of a mic at 16 kHz; the first is at `position`.

        To correct its clock, `slipped` of them were doubled (+) or left out (-).
        """
        self._write(self._room.skip_to(mic, position))
        self._write(self._room.feed(mic, samples, slipped))

    def begin_stream(self, mic: str, position: int) -> None:
        """Expect a mic's first stream, or another one after `pause`, from `position` on."""
        self._write(self._room.begin_stream(mic, position))

    def pause(self, mic: str) -> None:
        """End a mic's open utterance: no more sound follows for now."""
        self._write(self._room.flush(mic))

    def close(self, mic: str) -> int:
        """End a mic's open utterance for good; return the sample at which its sound ends."""
        self.pause(mic)
        return self._room.position(mic)

    @property
    def busy(self) -> bool:
        """Whether somebody is speaking, or may be about to."""
        return self._room.busy

    def level_dbfs(self, mic: str) -> float:
        """Return the level of a mic since the last call, in dBFS."""
        return self._room.level_dbfs(mic)

    def lags_s(self) -> dict[str, float | None]:
        """Return the delay of each mic against the earliest, in seconds; None if not yet known."""
        return self._room.lags_s()

    def _write(self, heard: MicEvents) -> None:
        for mic, event in heard:
            if isinstance(event, Withdrawn):  # even if the mic has been muted since
                self._withdraw(mic, event)
            elif self._assignments[mic].enabled:
                self._note(mic, event)

    def _withdraw(self, mic: str, withdrawn: Withdrawn) -> None:
        for spoken in self._ended[mic]:
            if spoken.start == withdrawn.start:
                self._sink.withdraw(spoken, withdrawn.other, keep=self._keeps_crosstalk)

    def _note(self, mic: str, event: Event) -> None:
        match event:
            case Started(start, speech):
                assignment = self._assignments[mic]
                assert assignment.speaker is not None
                spoken = self._sink.begin(
                    self._session_id, mic, assignment.speaker, assignment.language, (start, speech)
                )
                if spoken is not None:
                    self._open[mic] = spoken
            case Audio(samples, more) if mic in self._open:
                self._sink.append(self._open[mic], samples, more)
            case Ended() if mic in self._open:
                spoken = self._open.pop(mic)
                if event.crosstalk_of is None or self._keeps_crosstalk:
                    self._sink.end(spoken, event)
                    self._ended[mic].append(spoken)
                else:
                    self._sink.discard(spoken)
