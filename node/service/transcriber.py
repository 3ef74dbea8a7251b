"""The transcriber thread: it owns the engine and turns waiting utterances into segments."""

from __future__ import annotations

import json
import logging
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from node.core.model import SAMPLE_RATE, Heard, Segment, at_sample
from node.core.prior import LanguagePrior
from node.errors import ModelError, StoreError
from node.service.items import (
    DiskFailed,
    ModelReady,
    ModelUnavailable,
    Transcribed,
    UtteranceFailed,
)
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

DISK_RETRY_S = 1.0

DEADLINE_S = 60.0
DEADLINE_RTF = 20.0
"""An utterance may take a minute and twenty times its length; after that the engine hangs.

Whisper base needs 2.5 s a window on a Raspberry Pi 5; this leaves room for `large` on a Pi 4.
"""

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
        name_hotwords: bool = False,
    ) -> None:
        self._engine = engine
        self._sessions = sessions
        self._utterances = utterances
        self._topics = topics
        self._post = post
        self._wake = threading.Event()
        self._quit = threading.Event()
        self._worker = Worker("transcriber", self._run, post)
        self._deadline: float | None = None
        self._name_hotwords = name_hotwords
        self._languages = LanguagePrior()
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

    @property
    def overdue_s(self) -> float:
        """Seconds by which the utterance at hand has passed its deadline; 0 where all is well."""
        deadline = self._deadline
        return 0.0 if deadline is None else max(0.0, time.monotonic() - deadline)

    # The transcriber thread runs everything below.

    def _run(self) -> None:
        if not self._load():
            return
        while not self._quit.is_set():
            self._wake.clear()
            try:
                utterance = self._utterances.next()
                if utterance is None:
                    self._wake.wait()
                else:
                    self._attempt(utterance)
            except StoreError as error:
                # Nothing is lost: the audio stays until its segment is committed.
                self._post(DiskFailed(str(error)))
                self._quit.wait(DISK_RETRY_S)

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
        names = self._names(utterance.session_id)
        if not self._utterances.attempt(utterance):
            self._give_up(utterance, "the process has died of it again and again")
            return
        began = time.monotonic()
        self._deadline = began + DEADLINE_S + DEADLINE_RTF * utterance.duration_s
        try:
            heard = self._engine.transcribe(
                self._utterances.audio(utterance),
                utterance.language,
                prior=self._languages.of(utterance.mic, utterance.speaker),
                hotwords=names,
            )
        except Exception as error:
            log.exception("transcribing %s failed", utterance.id)
            if utterance.attempts + 1 < MAX_ATTEMPTS:
                self._utterances.retry(utterance)
            else:
                self._give_up(utterance, repr(error))
            return
        finally:
            self._deadline = None
            self._utterances.survived(utterance)
        self._measure(utterance, time.monotonic() - began)
        if utterance.crosstalk_of is None:
            self._languages.learn(utterance.mic, utterance.speaker, heard)
        self._finish(utterance, heard)

    def _names(self, session_id: str) -> str | None:
        """The speakers of a session, where they are to be hotwords."""
        session = self._sessions.get(session_id) if self._name_hotwords else None
        return ", ".join(dict.fromkeys(session.speakers.values())) if session else None

    def _give_up(self, utterance: Utterance, reason: str) -> None:
        kept = self._utterances.fail(utterance, reason)
        message = f"{utterance.mic}: an utterance could not be transcribed ({reason}); see {kept}"
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
        """Seconds from the end of its speech to now."""
        zero = self._sessions.zero(utterance.session_id)
        if zero is not None:
            return time.monotonic() - zero - utterance.spoken[1] / SAMPLE_RATE
        late = datetime.now(UTC) - at_sample(started_at, utterance.spoken[1])
        return max(0.0, late.total_seconds())

    def _measure(self, utterance: Utterance, took_s: float) -> None:
        rtf = took_s / max(utterance.duration_s, 0.1)
        self.rtf = rtf if self.rtf is None else RTF_MEMORY * self.rtf + (1 - RTF_MEMORY) * rtf


def _segment(utterance: Utterance, heard: Heard, seq: int, latency_s: float) -> Segment:
    start, end = utterance.spoken
    return Segment(
        id=utterance.id,
        session_id=utterance.session_id,
        seq=seq,
        mic=utterance.mic,
        speaker=utterance.speaker,
        start=start,
        end=end,
        text=heard.text,
        language=heard.language,
        language_probability=heard.language_probability,
        confidence=heard.confidence,
        words=heard.words_after((start - utterance.start) / SAMPLE_RATE),
        replayed=utterance.recovered,
        latency_s=latency_s,
        crosstalk_of=utterance.crosstalk_of,
    )
