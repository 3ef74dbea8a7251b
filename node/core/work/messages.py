"""Work shared out over MQTT: what a node asks of a worker, and what it gets back.

A request is one line of JSON, a line break, then the sound as FLAC: 16 kHz, one channel, what the
speaker said before (`earlier`) and the utterance itself, one after the other. `head -1` shows all
but the sound. An answer is JSON. Both have a `schema`, and everything in them has a limit: anybody
whom the broker lets publish there can send anything.
"""

from __future__ import annotations

import json
import unicodedata
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)

from node.core.model import SAMPLE_RATE, Transcription, Word
from node.core.text.languages import WHISPER_LANGUAGES, check_language
from node.core.text.prior import Prior

WORK_SCHEMA = 1

MAX_HEADER_BYTES = 32 * 1024
"""Above any real header: 50 hotwords of 64 letters, 64 names, a prompt and 12 s of text."""

MAX_ANSWER_BYTES = 256 * 1024
"""Above any real answer: Whisper writes at most 224 tokens, twice that where a loop is halved."""

MAX_CLIP = 29 * SAMPLE_RATE
"""Samples of the longest utterance: `vad.hard_cap_s` is 28 at most, and the tail of a pause that
runs at that moment is kept."""

MAX_WORD = 256
"""Characters of a word; longer ones are cut. Engines repeat a letter sometimes."""

MAX_EARLIER = 13 * SAMPLE_RATE
"""Samples of earlier speech: more never fits in a window with an utterance."""

MAX_WORK_BYTES = 1024 * 1024 - 1024
"""Largest request. Sound that FLAC cannot compress has 0.9 MB in 29 s."""

LEAST_PACKET = 128 * 1024
"""Smallest packet that a broker must accept to share work out: 3 s of sound that FLAC cannot
compress, and a header."""

_Code = Annotated[str, StringConstraints(max_length=8), AfterValidator(check_language)]
_Id = Annotated[str, StringConstraints(min_length=1, max_length=200)]
_Share = Annotated[float, Field(ge=0, le=1.000001)]
"""A probability; sums of them may be a rounding error above 1."""

_Seconds = Annotated[float, Field(ge=0, le=3600)]
_Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]{1,32}$")]
_Text = Annotated[str, StringConstraints(max_length=8192)]

ErrorCode = Literal[
    "bad_request", "failed", "wrong_model", "unsupported_schema", "busy", "stopping"
]
"""Why there is no text. `bad_request`: the request is at fault, as this worker sees it.
`failed`: the worker's engine failed. The others: this worker is the wrong one, or has no room."""


class WorkError(ValueError):
    """A request or an answer is not what it should be; the text says what is wrong."""

    def __init__(self, text: str, code: ErrorCode = "bad_request") -> None:
        super().__init__(text)
        self.code = code


class _Form(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True, allow_inf_nan=False)


class ModelId(_Form):
    """A model by its name and the SHA-256 of its weights; None if the sender does not know that."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=128)]
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None = None


class EarlierPart(_Form):
    """An earlier utterance: its samples in the sound, its text and language."""

    samples: Annotated[int, Field(ge=1, le=MAX_EARLIER)]
    text: _Text
    language: _Code


class PriorPart(_Form):
    language: _Code
    odds: Annotated[float, Field(gt=0, le=1e6)]


class WorkRequest(_Form):
    """The first line of `<base>/work/<model>/request`; the sound follows as FLAC, 16 kHz, mono.

    `samples` is the length of the utterance, after those of `earlier`. The node gives up waiting
    after `deadline_s`. The other fields are arguments and settings of the engine.
    """

    id: _Id
    model: ModelId
    samples: Annotated[int, Field(ge=1, le=MAX_CLIP)]
    deadline_s: _Seconds = 60.0
    earlier: Annotated[list[EarlierPart], Field(max_length=64)] = []
    language: _Code | None = None
    languages: Annotated[list[_Code], Field(max_length=len(WHISPER_LANGUAGES))] = []
    prior: PriorPart | None = None
    hotwords: Annotated[str, StringConstraints(max_length=16384)] | None = None
    initial_prompt: Annotated[str, StringConstraints(max_length=1000)] | None = None
    beam_size: Annotated[int, Field(ge=1, le=10)] = 5
    window: Literal["fit", "full"] = "fit"
    words: bool = False
    overlapped: bool = False

    @property
    def total(self) -> int:
        """Samples of all the sound."""
        return sum(part.samples for part in self.earlier) + self.samples


class WordPart(_Form):
    word: Annotated[str, StringConstraints(max_length=MAX_WORD)]
    start: _Seconds
    end: _Seconds
    probability: _Share


class ResultPart(_Form):
    """What was heard; see `Transcription`."""

    text: _Text
    language: _Code | Literal[""]
    language_probability: _Share
    confidence: _Share
    words: Annotated[list[WordPart], Field(max_length=2048)] | None = None
    hidden_words: bool = False
    doubtful: bool = False


class ErrorPart(_Form):
    code: ErrorCode
    message: Annotated[str, StringConstraints(max_length=1024)]


class WorkAnswer(_Form):
    """`T/work/response`: `result` or `error`. `engine_s` is how long the worker's engine took."""

    id: _Id
    worker: _Name
    version: Annotated[str, StringConstraints(max_length=64)]
    model: ModelId
    engine_s: _Seconds = 0.0
    result: ResultPart | None = None
    error: ErrorPart | None = None


class WorkerStatus(_Form):
    """`<base>/worker/<id>/status`; a worker that is offline only says `state` and `worker`.

    `slots` is how many requests it takes at a time, `rtf` its real-time factor, `refused` how many
    requests were for another model, too large or broken, and `dropped` how many came when too many
    waited already.
    """

    state: Literal["online", "offline"]
    worker: _Name
    started_at: Annotated[str, StringConstraints(max_length=32)] = ""
    version: Annotated[str, StringConstraints(max_length=64)] = ""
    model: ModelId | None = None
    compute_type: Annotated[str, StringConstraints(max_length=32)] = ""
    threads: Annotated[int, Field(ge=0, le=1024)] = 0
    slots: Annotated[int, Field(ge=1, le=64)] = 1
    in_flight: Annotated[int, Field(ge=0, le=1024)] = 0
    rtf: Annotated[float, Field(ge=0, le=1000)] | None = None
    answered: Annotated[int, Field(ge=0)] = 0
    failed: Annotated[int, Field(ge=0)] = 0
    refused: Annotated[int, Field(ge=0)] = 0
    dropped: Annotated[int, Field(ge=0)] = 0


@dataclass(frozen=True, slots=True)
class Work:
    """A request and its sound, still in FLAC."""

    request: WorkRequest
    sound: bytes


def encode_request(work: Work) -> bytes:
    return b"\n".join((_line(work.request), work.sound))


def decode_request(payload: bytes) -> Work:
    """Return what a node asks for; the sound is not looked at yet.

    Raises:
        WorkError: it is too large, no JSON, of another schema, or a field is wrong.
    """
    if len(payload) > MAX_WORK_BYTES:
        raise WorkError(f"the request is too large: at most {MAX_WORK_BYTES} bytes")
    header, separator, sound = payload[: MAX_HEADER_BYTES + 1].partition(b"\n")
    if not separator or not sound:
        raise WorkError("the request is not a line of JSON with sound after it")
    request = _parsed(WorkRequest, header)
    if sum(part.samples for part in request.earlier) > MAX_EARLIER:
        raise WorkError("earlier: too much sound")
    return Work(request, payload[len(header) + 1 :])


def encode_answer(answer: WorkAnswer) -> bytes:
    return _line(answer)


def decode_answer(payload: bytes) -> WorkAnswer:
    """Return what a worker says.

    Raises:
        WorkError: it is too large, no JSON, of another schema, or a field is wrong.
    """
    if len(payload) > MAX_ANSWER_BYTES:
        raise WorkError(f"the answer is too large: at most {MAX_ANSWER_BYTES} bytes")
    answer = _parsed(WorkAnswer, payload)
    if (answer.result is None) == (answer.error is None):
        raise WorkError("an answer has either a result or an error")
    return answer


def encode_status(status: WorkerStatus) -> bytes:
    return _line(status)


def decode_status(payload: bytes) -> WorkerStatus:
    """Return what a worker says of itself.

    Raises:
        WorkError: it is too large, no JSON, of another schema, or a field is wrong.
    """
    if len(payload) > MAX_HEADER_BYTES:
        raise WorkError("the status is too large")
    return _parsed(WorkerStatus, payload)


def id_of(payload: bytes) -> str | None:
    """Return the id of a request that is refused, for the answer; None if it has none."""
    try:
        found = _object_in(payload[: MAX_HEADER_BYTES + 1].partition(b"\n")[0]).get("id")
    except WorkError:
        return None
    return (
        found if isinstance(found, str) and 0 < len(found) <= 200 and found.isprintable() else None
    )


def result_of(heard: Transcription) -> ResultPart:
    words = None if heard.words is None else [
        WordPart(word=w.word[:MAX_WORD], start=w.start, end=w.end, probability=w.probability)
        for w in heard.words
    ]  # fmt: skip
    return ResultPart(
        text=heard.text,
        language=heard.language,
        language_probability=heard.language_probability,
        confidence=heard.confidence,
        words=words,
        hidden_words=heard.hidden_words,
        doubtful=heard.doubtful,
    )


def heard_in(result: ResultPart) -> Transcription:
    """Return what was heard, as one line."""
    words = None if result.words is None else tuple(
        Word(plain(w.word), w.start, w.end, w.probability) for w in result.words
    )  # fmt: skip
    return Transcription(
        plain(result.text),
        result.language,
        result.language_probability,
        result.confidence,
        words,
        hidden_words=result.hidden_words,
        doubtful=result.doubtful,
    )


def plain(text: str) -> str:
    """Return a worker's text as one line: it goes into logs, transcripts and terminals.

    Breaks and tabs become spaces; other control characters are left out.
    """
    return "".join(_plain(sign) for sign in text)


def _plain(sign: str) -> str:
    if unicodedata.category(sign) not in {"Cc", "Zl", "Zp"}:
        return sign
    return " " if sign.isspace() else ""


def prior_of(part: PriorPart | None) -> Prior | None:
    return None if part is None else Prior(part.language, part.odds)


def part_of(prior: Prior | None) -> PriorPart | None:
    return None if prior is None else PriorPart(language=prior.language, odds=prior.odds)


def _line(form: _Form) -> bytes:
    """Return a form as one line of JSON, its schema first."""
    body = {"schema": WORK_SCHEMA, **form.model_dump(mode="json")}
    return json.dumps(body, ensure_ascii=False, allow_nan=False).encode()


F = TypeVar("F", bound=_Form)


def _parsed(form: type[F], line: bytes) -> F:
    body = _object_in(line)
    if body.get("schema") != WORK_SCHEMA:
        given = ascii(body.get("schema"))[:16]
        raise WorkError(
            f"schema {given} is not {WORK_SCHEMA}: another version", "unsupported_schema"
        )
    try:
        return form.model_validate(body)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(str(part)[:32] for part in problem["loc"])
        raise WorkError(f"{place}: {problem['msg']}") from None


def _object_in(line: bytes) -> dict[str, Any]:
    try:
        body = json.loads(line, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise WorkError(f"it is not JSON in UTF-8: {error}") from None
    if not isinstance(body, dict):
        raise WorkError("it is no JSON object")
    return body


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number")


FORMS: dict[str, type[BaseModel]] = {
    "work-request": WorkRequest,
    "work-answer": WorkAnswer,
    "worker-status": WorkerStatus,
}
"""What nodes and workers say to each other, by the name of its schema file."""
