"""The shape of every JSON payload the node publishes; `config/schemas` is generated from here."""

from __future__ import annotations

from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

from node.core.overload import LoadName  # noqa: TC001  # the schemas are made from it

StateName = Literal["idle", "starting", "recording", "stopping", "error"]


class WordPayload(TypedDict):
    word: str
    start: float
    end: float
    probability: float


class SegmentPayload(TypedDict):
    """`T/mic/<mic>/segment`, and one entry of `segments` in a session's JSON file."""

    schema: Literal[1]
    event_type: Literal["segment"]
    id: str
    session_id: str
    seq: int
    mic: str
    speaker: str
    start: str
    end: str
    text: str
    language: str
    language_probability: float
    confidence: float
    words: NotRequired[list[WordPayload]]
    crosstalk_of: str | None
    replayed: bool
    latency_s: float


class SessionPayload(TypedDict):
    """`T/session`; null where there is nothing to say.

    All fields but `finishing` are about the session being recorded or, if there is none, the one
    recorded last, while it is still being written. `finishing`: the ids of all sessions that are
    recorded and still being transcribed and written, that one included.

    `group`: what a session of several nodes was started with, see `session/start`.

    `problem` is what keeps a session from starting: the model is missing, or why the last `ON` on
    `T/session/set` was refused, for as long as neither state nor mics change.
    """

    state: StateName
    session_id: str | None
    title: str | None
    group: str | None
    started_at: str | None
    speakers: dict[str, str]
    segments_total: int
    backlog_s: float
    message: str | None
    problem: str | None
    finishing: list[str]


class MicPayload(TypedDict):
    """`T/mic/<mic>/state`, and one entry of `T/mics`."""

    mic: str
    index: int
    name: str
    card: int | None
    device: str | None
    usb_port: str | None
    usb_id: str | None
    serial: str | None
    speaker: str | None
    language: str | None
    enabled: bool
    connected: bool
    recording: bool
    level_dbfs: float | None
    sample_rate: int | None


class MicsPayload(TypedDict):
    """`T/mics`, in the order of `index`."""

    mics: list[MicPayload]


class SpeakerTotals(TypedDict):
    speaker: str
    mic: str
    segments: int
    words: int
    speaking_s: float


class ClockStatePayload(TypedDict):
    """The node's clock at one moment; `max_error_ms` is worth nothing unless `synchronised`."""

    synchronised: bool
    max_error_ms: float


class ClockPayload(TypedDict):
    """The clock that `started_at` is from, as NTP knows it; null where that is not known.

    `shift_ms`: how far it was set forward during the session.
    """

    start: ClockStatePayload | None
    stop: ClockStatePayload | None
    shift_ms: float | None


class AboutPayload(TypedDict):
    """`session` in a session's JSON file, and in the answer to `transcript/get` in that format.

    `node` recorded it; null in a session of an older version.
    """

    schema: Literal[1]
    event_type: Literal["transcript"]
    session_id: str
    node: str | None
    group: str | None
    title: str | None
    started_at: str
    ended_at: str
    duration_s: float
    clock: ClockPayload
    languages: list[str]
    speakers: list[SpeakerTotals]
    segments_total: int
    file_path: str | None
    files: dict[str, str]


class FinalPayload(AboutPayload):
    """`T/transcript/final` and `T/transcript/last`."""

    text: str
    truncated: bool


class LivePayload(TypedDict):
    """`T/transcript/live`; `text` is the last 20 lines."""

    session_id: str
    segments_total: int
    text: str
    updated_at: str


class PartialPayload(TypedDict):
    """`T/mic/<mic>/partial`: the beginning of an utterance that is still being spoken.

    `text` grows until the segment with the same `start` replaces it.
    """

    session_id: str
    mic: str
    speaker: str
    text: str
    start: str


class LastWordsPayload(TypedDict):
    """`T/mic/<mic>/last_words` and, for all mics, `T/transcript/last_words`: the newest segment."""

    session_id: str
    mic: str
    speaker: str
    text: str
    start: str
    language: str


class InfoPayload(TypedDict):
    """`T/info`. `model_state` says whether speech can be transcribed, `model_notice` what limits
    it. `where` speech is transcribed: unless it is `here`, its sound leaves the machine.
    """

    schema: Literal[1]
    version: str
    node: str
    model: str
    model_state: Literal["ready", "unavailable"]
    model_notice: str | None
    where: Literal["here", "broker", "auto"]
    languages: list[str]
    sample_rate: int
    started_at: str
    features: list[str]


class HealthPayload(TypedDict):
    """`T/health`; null where this machine has no such sensor.

    `load`: what is given up while speech comes in faster than it can be written; each name includes
    all before it. `set_aside`: damaged rows of the database, and messages that the broker will
    never take, all of them kept. `mic_lag_s`: how much later each mic of the session hears than the
    earliest one, found from what they hear of each other; null if unknown.
    """

    uptime_s: float
    outbox: int
    set_aside: int
    backlog_s: float
    rtf: float | None
    lag_s: float
    load: LoadName
    dropped_s: float
    reconnects: int
    rss_mb: float
    cpu_percent: float
    temperature_c: float | None
    disk_free_mb: float
    mic_lag_s: dict[str, float | None]


class EventPayload(TypedDict):
    """`T/event`; `id` is that of the segment the event is about, as with `segment_withdrawn`."""

    event_type: str
    mic: NotRequired[str]
    id: NotRequired[str]
    message: str
    time: str


class AnswerError(TypedDict):
    code: str
    message: str
    session_id: NotRequired[str]


class Answer(TypedDict):
    """`T/response/<verb>`: `data` if `status` is ok, otherwise `error`."""

    status: Literal["ok", "error"]
    transaction: NotRequired[str | int | float]
    data: NotRequired[dict[str, Any]]
    error: NotRequired[AnswerError]


PUBLISHED: dict[str, Any] = {
    "segment": SegmentPayload,
    "session": SessionPayload,
    "mic": MicPayload,
    "mics": MicsPayload,
    "transcript": FinalPayload,
    "live": LivePayload,
    "partial": PartialPayload,
    "last-words": LastWordsPayload,
    "info": InfoPayload,
    "health": HealthPayload,
    "event": EventPayload,
    "answer": Answer,
}
"""Published payloads by the name of their schema file."""
