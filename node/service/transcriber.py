"""The transcriber thread: it owns the engine and turns waiting utterances into segments."""

from __future__ import annotations

import json
import logging
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from node.core.model import SAMPLE_RATE, Heard, Segment, at_sample
from node.errors import ModelError
from node.service.items import ModelReady, ModelUnavailable, Transcribed, UtteranceFailed
from node.service.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from node.adapters.store import Sessions, Utterance, Utterances
    from node.adapters.whisper import Engine
    from node.core.topics import Topics
    from node.service.items import WorkerItem

log = logging.getLogger(__name__)

MODEL_RETRY_S = 30.0
"""How often a model that could not be loaded is tried again."""

MAX_ATTEMPTS = 2
"""An utterance the engine fails on is tried once more, then set aside."""

RTF_MEMORY = 0.9
"""Weight of the past in the running real-time factor: about the last ten utterances count."""


class Transcriber:
    """Public methods are for other threads; the engine is this thread's alone."""

    def __init__(
        self,
        *,
        engine: Engine,
        sessions: Sessions,
        utterances: Utterances,
        topics: Topics,
        post: Callable[[WorkerItem], None],
    ) -> None:
        self._engine = engine
        self._sessions = sessions
        self._utterances = utterances
        self._topics = topics
        self._post = post
        self._wake = threading.Event()
        self._quit = threading.Event()
        self._worker = Worker("transcriber", self._run, post)
        self.rtf: float | None = None
        self.lag_s = 0.0

    def start(self) -> None:
        self._worker.start()

    def captured(self) -> None:
        """An utterance waits; called by the listener."""
        self._wake.set()

    def stop(self, timeout_s: float) -> bool:
        """End the thread after the utterance at hand; says whether it has ended in time.

        What still waits is on the disk, and is transcribed at the next start.
        """
        self._quit.set()
        self._wake.set()
        return self._worker.join(timeout_s)

    # The transcriber thread runs everything below.

    def _run(self) -> None:
        if not self._load():
            return
        while not self._quit.is_set():
            self._wake.clear()
            utterance = self._utterances.next()
            if utterance is None:
                self._wake.wait()
            else:
                self._attempt(utterance)

    def _load(self) -> bool:
        """Load the model, however long it takes to be there. Gives False when told to quit."""
        while not self._quit.is_set():
            try:
                self._engine.load()
            except ModelError as error:
                self._post(ModelUnavailable(str(error)))
                self._quit.wait(MODEL_RETRY_S)
            else:
                self._post(ModelReady(self._engine.notice))
                return True
        return False

    def _attempt(self, utterance: Utterance) -> None:
        try:
            began = time.monotonic()
            heard = self._engine.transcribe(self._utterances.audio(utterance), utterance.language)
        except Exception as error:
            log.exception("transcribing %s failed", utterance.id)
            self._failed(utterance, error)
            return
        self._measure(utterance, time.monotonic() - began)
        self._finish(utterance, heard)

    def _failed(self, utterance: Utterance, error: Exception) -> None:
        if utterance.attempts + 1 < MAX_ATTEMPTS:
            self._utterances.retry(utterance)
            return
        kept = self._utterances.fail(utterance, repr(error))
        message = f"{utterance.mic}: an utterance could not be transcribed ({error}); see {kept}"
        self._post(UtteranceFailed(utterance.session_id, message))

    def _finish(self, utterance: Utterance, heard: Heard) -> None:
        session = self._sessions.get(utterance.session_id)
        if session is None or not heard.text:
            self._utterances.transcribed(utterance, None)
            self._post(Transcribed(utterance.session_id, None))
            return
        self.lag_s = self._lag(utterance, session.started_at)

        def make(seq: int) -> tuple[Segment, str, str]:
            segment = _segment(utterance, heard, seq, self.lag_s)
            payload = json.dumps(segment.payload(session.started_at), ensure_ascii=False)
            return segment, self._topics.segment(utterance.mic), payload

        segment = self._utterances.transcribed(utterance, make)
        self._post(Transcribed(utterance.session_id, segment))

    def _lag(self, utterance: Utterance, started_at: datetime) -> float:
        """Seconds from the end of an utterance to now."""
        zero = self._sessions.zero(utterance.session_id)
        if zero is not None:
            return time.monotonic() - zero - utterance.end / SAMPLE_RATE
        late = datetime.now(UTC) - at_sample(started_at, utterance.end)
        return max(0.0, late.total_seconds())

    def _measure(self, utterance: Utterance, took_s: float) -> None:
        rtf = took_s / max(utterance.duration_s, 0.1)
        self.rtf = rtf if self.rtf is None else RTF_MEMORY * self.rtf + (1 - RTF_MEMORY) * rtf


def _segment(utterance: Utterance, heard: Heard, seq: int, latency_s: float) -> Segment:
    return Segment(
        id=utterance.id,
        session_id=utterance.session_id,
        seq=seq,
        mic=utterance.mic,
        speaker=utterance.speaker,
        start=utterance.start,
        end=utterance.end,
        text=heard.text,
        language=heard.language,
        language_probability=heard.language_probability,
        confidence=heard.confidence,
        words=heard.words,
        replayed=utterance.recovered,
        latency_s=latency_s,
    )
