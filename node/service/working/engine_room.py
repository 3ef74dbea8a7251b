"""The worker's engine and its thread: one job at a time."""

from __future__ import annotations

import logging
import queue
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from node.adapters.flac import FlacError
from node.adapters.weights import WEIGHTS, digest
from node.adapters.whisper import folder_of
from node.core.work.messages import ErrorPart, ModelId, result_of
from node.errors import ModelError
from node.service.service_thread import ServiceThread
from node.service.transcribing import transcriber
from node.service.transcribing.package_registry import load_or_fetch
from node.service.working.jobs import Finished, Tuning, clip_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from node.adapters.whisper import Engine, EngineSettings
    from node.service.items import ThreadDied
    from node.service.transcribing.package_registry import Fetch
    from node.service.working.jobs import Job

log = logging.getLogger(__name__)

MODEL_RETRY_S = 30.0
"""Wait before trying again to load a model."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The model is loaded; `notice` warns of its limits, if it has any."""

    model: ModelId
    notice: str | None


@dataclass(frozen=True, slots=True)
class NotReady:
    """The model could not be loaded; it is tried again."""

    reason: str


@dataclass(frozen=True, slots=True)
class Done:
    """A job is over; `heard` is None if its node no longer waits."""

    job: Job
    heard: Finished | None


class EngineRoom:
    """Public methods are for the main thread, which gives one job at a time."""

    def __init__(
        self,
        engine: Engine,
        settings: EngineSettings,
        name: str,
        fetch: Fetch,
        post: Callable[[Ready | NotReady | Done | ThreadDied], None],
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._name = name
        self._fetch = fetch
        self._post = post
        self._jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._thread = ServiceThread("engine", self._run, post)  # type: ignore[arg-type]  # only ThreadDied
        self._deadline: float | None = None

    def start(self) -> None:
        self._thread.start()

    def give(self, job: Job) -> None:
        self._jobs.put(job)

    @property
    def overdue_s(self) -> float:
        """Seconds by which the engine has missed its deadline; 0 if it has not."""
        deadline = self._deadline
        return 0.0 if deadline is None else max(0.0, time.monotonic() - deadline)

    # The engine's thread runs everything below.

    def _run(self) -> None:
        self._load()
        tuning = Tuning(self._engine, self._settings)
        while True:
            job = self._jobs.get()
            self._post(Done(job, self._work(job, tuning)))

    def _load(self) -> None:
        """Load the model, trying until it succeeds; the thread ends with the process."""
        while True:
            try:
                load_or_fetch(self._engine, self._fetch, lambda what: self._post(NotReady(what)))
                weights = digest(folder_of(self._settings) / WEIGHTS)
            except (ModelError, OSError) as error:
                self._post(NotReady(str(error)))
                time.sleep(MODEL_RETRY_S)
            else:
                model = ModelId(name=self._name, sha256=weights)
                self._post(Ready(model, self._engine.notice))
                return

    def _work(self, job: Job, tuning: Tuning) -> Finished | None:
        began = time.monotonic()
        if job.is_late(began):
            return None
        self._deadline = began + transcriber.DEADLINE_S + transcriber.DEADLINE_RTF * job.seconds
        try:
            beam_size = job.work.request.beam_size
            result = result_of(
                tuning.of(job.work).transcribe(clip_of(job.work), beam_size=beam_size)
            )
        except FlacError as error:
            return Finished(0.0, error=ErrorPart(code="bad_request", message=str(error)))
        except Exception as error:
            log.exception("transcribing failed")
            took_s = time.monotonic() - began
            message = f"its engine failed ({type(error).__name__})"
            return Finished(took_s, error=ErrorPart(code="failed", message=message))
        finally:
            self._deadline = None
        return Finished(time.monotonic() - began, result=result)
