"""What the threads tell the main thread: every item of its one inbox."""

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
class WorkerDied:
    """A thread has ended that must not; the process ends and is restarted."""

    worker: str
    error: BaseException


@dataclass(frozen=True, slots=True)
class InputsListed:
    """The names of the inputs that PortAudio lists just now."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ModelReady:
    """Speech can be transcribed. `notice` is what the model says of its own limits."""

    notice: str | None


@dataclass(frozen=True, slots=True)
class ModelUnavailable:
    """No model could be loaded; it is tried again."""

    reason: str


@dataclass(frozen=True, slots=True)
class MicsOpened:
    """Every mic of the new session delivers, at its rate; recording begins with `Listener.go`."""

    session_id: str
    sample_rates: dict[str, int]


@dataclass(frozen=True, slots=True)
class MicsRefused:
    """The session cannot begin: these mics do not deliver, each for its reason. None is open."""

    session_id: str
    reasons: dict[str, str]


@dataclass(frozen=True, slots=True)
class MicJoined:
    """A mic that was added to the running session delivers for the first time."""

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
    """Sound level of each recording mic in dBFS, the seconds of sound lost so far, and by how much
    each mic hears later than the earliest one, where that is known.
    """

    dbfs: dict[str, float]
    dropped_s: float
    lags_s: dict[str, float | None]


@dataclass(frozen=True, slots=True)
class Flushed:
    """The recording is over and its last utterance waits for the engine; `end` is in samples."""

    session_id: str
    end: int


@dataclass(frozen=True, slots=True)
class Transcribed:
    """An utterance is done; `segment` is None where nothing was said in it."""

    session_id: str
    segment: Segment | None


@dataclass(frozen=True, slots=True)
class SegmentWithdrawn:
    """A segment was another mic's speech; `crosstalk_of` names whose. The outbox says it."""

    segment: Segment


@dataclass(frozen=True, slots=True)
class PartialText:
    """More words are certain of an utterance that is still being spoken."""

    payload: PartialPayload


@dataclass(frozen=True, slots=True)
class LoadChanged:
    """More or less is given up to keep up; `event` says so where somebody must know."""

    event: Literal["overloaded", "recovered"] | None
    message: str


@dataclass(frozen=True, slots=True)
class UtteranceFailed:
    """The engine failed twice on an utterance; its audio is kept."""

    session_id: str
    message: str


@dataclass(frozen=True, slots=True)
class SoundUnreadable:
    """The disk does not give the sound of an utterance; it is tried again."""

    mic: str
    message: str


@dataclass(frozen=True, slots=True)
class DamageFound:
    """Something that was read back makes no sense; it is set aside, and the rest goes on."""

    message: str


@dataclass(frozen=True, slots=True)
class DiskFailed:
    """The disk refuses; what it should keep waits in memory and is tried again."""

    reason: str


@dataclass(frozen=True, slots=True)
class SpeechDropped:
    """Speech could not be kept; `mic` is None where it was no longer of one mic."""

    mic: str | None
    reason: str


WorkerItem = (
    StopRequested
    | ReloadRequested
    | WorkerDied
    | InputsListed
    | ModelReady
    | ModelUnavailable
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
