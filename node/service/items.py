"""What other threads and signals report to the main thread, through its one inbox."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from node.core.model import Segment
    from node.core.mqtt.payloads import PartialPayload


@dataclass(frozen=True, slots=True)
class StopRequested:
    """The operator wants the process to end (SIGTERM, Ctrl-C)."""


@dataclass(frozen=True, slots=True)
class ReloadRequested:
    """The operator has changed the configuration (SIGHUP)."""


@dataclass(frozen=True, slots=True)
class ThreadDied:
    """A thread has failed; the process ends and is restarted."""

    thread: str
    error: BaseException


@dataclass(frozen=True, slots=True)
class InputsListed:
    """PortAudio has listed its inputs, by name."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ModelReady:
    """The model is loaded. `notice` warns of its limits, if it has any."""

    notice: str | None


@dataclass(frozen=True, slots=True)
class ModelUnavailable:
    """The model could not be loaded; the transcriber tries again."""

    reason: str


@dataclass(frozen=True, slots=True)
class WorkersChanged:
    """Whether workers are there to share work with; `problem` says why not."""

    problem: str | None


@dataclass(frozen=True, slots=True)
class AnswersDropped:
    """More answers and statuses of workers came at once than the transcriber could take."""

    count: int


@dataclass(frozen=True, slots=True)
class WorkerUseless:
    """A worker is online that cannot be used."""

    problem: str


@dataclass(frozen=True, slots=True)
class MicsOpened:
    """Every mic of the new session delivers; recording begins with `Listener.go`. Rates in Hz."""

    sample_rates: dict[str, int]


@dataclass(frozen=True, slots=True)
class MicsRefused:
    """The session cannot begin: these mics do not deliver. All are closed; reasons by mic."""

    reasons: dict[str, str]


@dataclass(frozen=True, slots=True)
class MicJoined:
    """A mic that joined the running session delivers for the first time."""

    mic: str
    sample_rate: int


@dataclass(frozen=True, slots=True)
class MicLost:
    mic: str
    reason: str


@dataclass(frozen=True, slots=True)
class MicBack:
    mic: str
    sample_rate: int


@dataclass(frozen=True, slots=True)
class LevelsMeasured:
    """Level of each recording mic in dBFS, sound lost so far in seconds, and how many seconds each
    mic lags behind the earliest one (None: not known yet).
    """

    dbfs: dict[str, float]
    dropped_s: float
    lags_s: dict[str, float | None]


@dataclass(frozen=True, slots=True)
class Flushed:
    """The recording is over and its last utterance has ended; `end` is in samples."""

    session_id: str
    end: int


@dataclass(frozen=True, slots=True)
class Transcribed:
    """An utterance is done; `segment` is None if nothing was said in it."""

    segment: Segment | None


@dataclass(frozen=True, slots=True)
class SegmentWithdrawn:
    """A segment was the speech of the mic in `crosstalk_of`; its event is in the outbox already."""

    segment: Segment


@dataclass(frozen=True, slots=True)
class PartialText:
    """More words are certain in an utterance that is still being spoken."""

    payload: PartialPayload


@dataclass(frozen=True, slots=True)
class LoadChanged:
    """The node gives up more or less quality to keep up; `event` is set if users should know."""

    event: Literal["overloaded", "recovered"] | None
    message: str


@dataclass(frozen=True, slots=True)
class UtteranceFailed:
    """An utterance could not be transcribed; its sound is kept, if there is any."""

    message: str


@dataclass(frozen=True, slots=True)
class SoundUnreadable:
    """The disk cannot read the sound of an utterance; the transcriber tries again."""

    mic: str
    message: str


@dataclass(frozen=True, slots=True)
class DamageFound:
    """Stored data is damaged; it is set aside, and the rest goes on."""

    message: str


@dataclass(frozen=True, slots=True)
class DiskFailed:
    """The disk refuses; what it should store waits in memory and is tried again."""

    reason: str


@dataclass(frozen=True, slots=True)
class SpeechDropped:
    """Speech could not be kept; `mic` is None if the loss is not one mic's alone."""

    mic: str | None
    reason: str


ThreadItem = (
    StopRequested
    | ReloadRequested
    | ThreadDied
    | InputsListed
    | ModelReady
    | ModelUnavailable
    | WorkersChanged
    | WorkerUseless
    | AnswersDropped
    | MicsOpened
    | MicsRefused
    | MicJoined
    | MicLost
    | MicBack
    | LevelsMeasured
    | Flushed
    | Transcribed
    | SegmentWithdrawn
    | PartialText
    | LoadChanged
    | UtteranceFailed
    | SoundUnreadable
    | DamageFound
    | DiskFailed
    | SpeechDropped
)
