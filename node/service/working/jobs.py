"""What a worker is asked, from a message to an answer."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from node import __version__
from node.adapters import flac
from node.adapters.whisper import Clip
from node.core.model import SAMPLE_RATE
from node.core.text.context import Earlier
from node.core.work.messages import ErrorPart, WorkAnswer, prior_of

if TYPE_CHECKING:
    from node.adapters.broker import Message
    from node.adapters.whisper import Engine, EngineSettings
    from node.core.work.messages import ErrorCode, ModelId, ResultPart, Work

MAX_TUNED = 8
"""Ways of transcribing kept ready: one for each set of nodes with the same settings."""

MAX_MESSAGE = 500
"""Characters of an error's message."""


@dataclass(frozen=True, slots=True)
class Job:
    """A request that was understood; `arrived` is a monotonic time."""

    work: Work
    message: Message
    arrived: float

    @property
    def id(self) -> str:
        return self.work.request.id

    @property
    def seconds(self) -> float:
        return self.work.request.total / SAMPLE_RATE

    def is_late(self, now: float) -> bool:
        """Return whether its node has stopped waiting."""
        return now - self.arrived > self.work.request.deadline_s


class Signature:
    """Makes the answers of one worker."""

    def __init__(self, worker: str, model: ModelId) -> None:
        self._worker = worker
        self.model = model

    def answer(self, job: Job, heard: Finished) -> WorkAnswer:
        return WorkAnswer(
            id=job.id,
            worker=self._worker,
            version=__version__,
            model=self.model,
            engine_s=round(heard.engine_s, 3),
            result=heard.result,
            error=heard.error,
        )

    def refusal(self, request_id: str, code: ErrorCode, text: str) -> WorkAnswer:
        return WorkAnswer(
            id=request_id,
            worker=self._worker,
            version=__version__,
            model=self.model,
            error=ErrorPart(code=code, message=_sendable(text)),
        )


def _sendable(text: str) -> str:
    """Return the beginning of a text that may quote anything, as JSON in UTF-8 can say it."""
    return text[:MAX_MESSAGE].encode(errors="replace").decode()


class Tuning:
    """One loaded model, and the ways in which nodes want it to be used. For the engine's thread."""

    def __init__(self, engine: Engine, settings: EngineSettings) -> None:
        self._engine = engine
        self._settings = settings
        self._tuned: OrderedDict[EngineSettings, Engine] = OrderedDict()

    def of(self, work: Work) -> Engine:
        """Return the engine for a request."""
        request = work.request
        settings = replace(
            self._settings,
            languages=tuple(request.languages),
            window=request.window,
            word_timestamps=request.words,
            initial_prompt=request.initial_prompt,
        )
        if settings not in self._tuned:
            self._tuned[settings] = self._engine.tuned(settings)
        self._tuned.move_to_end(settings)
        while len(self._tuned) > MAX_TUNED:
            self._tuned.popitem(last=False)
        return self._tuned[settings]


@dataclass(frozen=True, slots=True)
class Finished:
    """What came of a job: a result or an error, and how long the engine took."""

    engine_s: float
    result: ResultPart | None = None
    error: ErrorPart | None = None


def clip_of(work: Work) -> Clip:
    """Return the utterance of a request, with what was said before.

    Raises:
        FlacError: the sound is not what the request says.
    """
    request = work.request
    samples = flac.decode(work.sound, request.total)
    ends = np.cumsum([part.samples for part in request.earlier])
    *before, own = np.split(samples, ends)
    return Clip(
        own,
        request.language,
        prior_of(request.prior),
        request.hotwords,
        overlapped=request.overlapped,
        earlier=tuple(
            Earlier(sound, part.text, part.language)
            for sound, part in zip(before, request.earlier, strict=True)
        ),
    )
