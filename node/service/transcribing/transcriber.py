"""The transcriber thread: owns the engine and turns waiting utterances into segments."""

from __future__ import annotations

import json
import logging
import queue
import threading
import time
from typing import TYPE_CHECKING

from node.core.overload import Load
from node.errors import HubError, ModelError, StoreError
from node.service.items import (
    DiskFailed,
    ModelReady,
    ModelUnavailable,
    SoundUnreadable,
    Transcribed,
    UtteranceFailed,
)
from node.service.transcribing.backlog import Backlog
from node.service.transcribing.partials import Partials, Speaking
from node.service.transcribing.segments import Recogniser, segment_of
from node.service.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    import numpy.typing as npt

    from node.adapters.store import Sessions, Utterance, Utterances
    from node.adapters.whisper import Clip, Engine
    from node.core.model import Segment, Transcription
    from node.core.mqtt.topics import Topics
    from node.core.text.context import Speaker
    from node.service.items import WorkerItem
    from node.service.transcribing.partials import OpenUtterance

    Samples = npt.NDArray[np.int16]

log = logging.getLogger(__name__)

MODEL_RETRY_S = 30.0
"""Wait before trying again to load a model."""

MAX_ATTEMPTS = 2
"""An utterance on which the engine fails is tried once more, then set aside."""

DISK_RETRY_S = 1.0

DEADLINE_S = 60.0
DEADLINE_RTF = 20.0
"""An utterance may take a minute plus twenty times its length; beyond that the engine hangs.

Whisper base needs 2.5 s a window on a Raspberry Pi 5; this leaves room for `large` on a Pi 4.
"""

LONGEST_S = 28.0
"""Longest utterance in seconds (`vad.hard_cap_s`)."""

LOOK_S = 1.0
"""How often to check a load that is not normal while nothing waits."""

RTF_MEMORY = 0.9
"""Weight of the past in the running real-time factor: about the last ten utterances count."""


class Transcriber:
    """Public methods are for other threads; only this thread uses the engine."""

    def __init__(
        self,
        *,
        engine: Engine,
        sessions: Sessions,
        utterances: Utterances,
        topics: Topics,
        post: Callable[[WorkerItem], None],
        name_hotwords: bool = False,
        partials: bool = False,
        fetch: Callable[[HubError, Callable[[str], None]], None] | None = None,
    ) -> None:
        self._engine = engine
        self._fetch = fetch
        self._sessions = sessions
        self._utterances = utterances
        self._topics = topics
        self._post = post
        self._wake = threading.Event()
        self._quit = threading.Event()
        self._worker = Worker("transcriber", self._run, post)
        self._deadline: float | None = None
        self._name_hotwords = name_hotwords
        self.speaking = Speaking() if partials else None
        self._partials: Partials | None = None
        if self.speaking is not None:
            self._partials = Partials(engine, sessions, utterances, self.speaking, post)
        self._recogniser = Recogniser(engine)
        self._erased: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._misheard: queue.SimpleQueue[Speaker] = queue.SimpleQueue()
        self._backlog = Backlog(
            sessions=sessions, utterances=utterances, shares_window=engine.together, post=post
        )
        self.rtf: float | None = None
        self.lag_s = 0.0

    def start(self) -> None:
        self._worker.start()

    def captured(self) -> None:
        """Wake the thread for a waiting utterance; called by the listener."""
        self._wake.set()

    def stop(self, timeout_s: float) -> bool:
        """End the thread after the current utterance; return whether it ended in time.

        What still waits is on the disk and is transcribed at the next start.
        """
        self._quit.set()
        self._wake.set()
        return self._worker.join(timeout_s)

    def forget(self, session_id: str) -> None:
        """Forget everything of an erased session."""
        self._erased.put(session_id)
        self._wake.set()

    def misheard(self, speaker: Speaker) -> None:
        """Forget what was learnt of a speaker: a segment was another's; called by the listener."""
        self._misheard.put(speaker)

    @property
    def overdue_s(self) -> float:
        """Seconds by which the engine has missed its deadline; 0 if it has not."""
        deadline = self._deadline
        return 0.0 if deadline is None else max(0.0, time.monotonic() - deadline)

    @property
    def load(self) -> Load:
        """How much quality is given up to keep up."""
        return self._backlog.load

    # The transcriber thread runs everything below.

    def _run(self) -> None:
        if not self._load_model():
            return
        while not self._quit.is_set():
            self._wake.clear()
            try:
                self._go_round()
            except StoreError as error:
                # Nothing is lost: the audio stays until its segment is stored.
                self._post(DiskFailed(str(error)))
                self._quit.wait(DISK_RETRY_S)

    def _load_model(self) -> bool:
        """Load the model, trying until it succeeds; return False when told to quit."""
        while not self._quit.is_set():
            try:
                self._load_or_fetch()
            except ModelError as error:
                self._post(ModelUnavailable(str(error)))
                self._quit.wait(MODEL_RETRY_S)
            else:
                self._post(ModelReady(self._engine.notice))
                return True
        return False

    def _load_or_fetch(self) -> None:
        """Load the model; if the hub does not deliver it, fetch it from elsewhere.

        Raises:
            ModelError: it cannot be loaded or fetched.
        """
        try:
            self._engine.load()
        except HubError as error:
            if self._fetch is None:
                raise
            self._fetch(error, lambda what: self._post(ModelUnavailable(what)))
            self._engine.load()

    def _go_round(self) -> None:
        """Do what is most urgent, or wait."""
        self._forget()
        unfinished = self._partials.utterances() if self._partials else ()
        self._backlog.weigh(self.rtf)
        waiting = self._backlog.next()
        if len(waiting) > 1:
            self._attempt_together(waiting)
        elif waiting:
            self._attempt(waiting[0])
        else:
            pauses = [self._spare_time(unfinished), self._backlog.pause_s()]
            self._wake.wait(min((each for each in pauses if each is not None), default=None))

    def _forget(self) -> None:
        """Forget what was erased or withdrawn."""
        while not self._erased.empty():
            self._recogniser.forget(self._erased.get())
            if self._partials is not None:
                self._partials.forget_lesson()
        while not self._misheard.empty():
            self._recogniser.forget_speaker(self._misheard.get())
        for utterance in self._utterances.drop_unwanted():
            self._backlog.done(utterance)
            self._post(Transcribed(utterance.session_id, None))

    def _spare_time(self, unfinished: Sequence[OpenUtterance]) -> float | None:
        """Use the time while nothing waits; return how long to wait then, None for no limit."""
        if self.load is not Load.NORMAL:
            return LOOK_S
        if self._partials is None:
            return None
        self._deadline = time.monotonic() + DEADLINE_S + DEADLINE_RTF * LONGEST_S
        try:
            return self._partials.step(unfinished, self._recogniser.languages)
        finally:
            self._deadline = None

    def _attempt_together(self, waiting: list[Utterance]) -> None:
        try:
            clips = [self._clip(each, self._utterances.audio(each)) for each in waiting]
        except OSError:  # which one it is shows when they are read one by one
            self._backlog.set_apart(waiting)
            return
        seconds = sum(utterance.duration_s for utterance in waiting)
        for utterance in waiting:
            self._utterances.attempt(utterance)
        began = time.monotonic()
        self._deadline = began + DEADLINE_S + DEADLINE_RTF * seconds
        try:
            results = self._engine.transcribe_together(clips, beam_size=self._backlog.beam_size)
        except Exception:
            log.exception(
                "transcribing %d utterances together failed; trying them one by one", len(waiting)
            )
            self._backlog.set_apart(waiting)
            return
        finally:
            self._deadline = None
            for utterance in waiting:
                self._utterances.survived(utterance)
        self._measure(seconds, time.monotonic() - began)
        for utterance, clip, heard in zip(waiting, clips, results, strict=True):
            self._take(utterance, clip, heard)

    def _sound(self, utterance: Utterance) -> Samples | None:
        """Return its samples; None if the disk cannot read them, which is dealt with here."""
        try:
            return self._utterances.audio(utterance)
        except FileNotFoundError as error:
            self._give_up(utterance, f"its sound is gone: {error}")
        except OSError as error:
            first = not self._backlog.is_postponed(utterance)
            if not self._backlog.postpone(utterance):
                self._give_up(utterance, f"the disk cannot read its sound: {error}")
            elif first:
                message = f"the disk cannot read an utterance ({error}); the node tries again"
                self._post(SoundUnreadable(utterance.mic, message))
        return None

    def _clip(self, utterance: Utterance, samples: Samples) -> Clip:
        return self._recogniser.clip(
            utterance,
            samples,
            hotwords=self._names(utterance.session_id),
            overlapped=self._utterances.overlapped(utterance),
            alone=self.load >= Load.TOGETHER,
        )

    def _attempt(self, utterance: Utterance) -> None:
        if (samples := self._sound(utterance)) is None:
            return
        clip = self._clip(utterance, samples)
        if not self._utterances.attempt(utterance):
            self._give_up(utterance, "it has crashed the process again and again")
            return
        began = time.monotonic()
        self._deadline = began + DEADLINE_S + DEADLINE_RTF * utterance.duration_s
        try:
            heard = self._recogniser.transcribe(clip, beam_size=self._backlog.beam_size)
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
        self._measure(utterance.duration_s, time.monotonic() - began)
        self._take(utterance, clip, heard)
        if self._partials is not None and heard.text:
            self._partials.remember(clip.samples, heard.language, time.monotonic() - began)

    def _take(self, utterance: Utterance, clip: Clip, heard: Transcription) -> None:
        if self._finish(utterance, heard):
            self._recogniser.learn(utterance, clip, heard)

    def _names(self, session_id: str) -> str | None:
        """Return the speakers of a session as hotwords, if the configuration says so."""
        session = self._sessions.get(session_id) if self._name_hotwords else None
        return ", ".join(dict.fromkeys(session.speakers.values())) if session else None

    def _give_up(self, utterance: Utterance, reason: str) -> None:
        kept = self._utterances.fail(utterance, reason)
        self._backlog.done(utterance)
        message = f"{utterance.mic}: an utterance could not be transcribed ({reason}); see {kept}"
        self._post(UtteranceFailed(utterance.session_id, message))

    def _finish(self, utterance: Utterance, heard: Transcription) -> bool:
        """Store what was heard; return whether it is the speaker's own, as far as is known."""
        self._backlog.done(utterance)
        session = self._sessions.get(utterance.session_id)
        if session is None or not heard.text:
            self._utterances.transcribed(utterance, None)
            self._post(Transcribed(utterance.session_id, None))
            return utterance.crosstalk_of is None
        lag_s = self._backlog.lag_s(utterance)
        if not utterance.recovered:
            self.lag_s = lag_s

        def make(seq: int) -> tuple[Segment, str, str]:
            segment = segment_of(utterance, heard, seq, lag_s)
            payload = json.dumps(segment.payload(session.started_at), ensure_ascii=False)
            return segment, self._topics.segment(utterance.mic), payload

        segment = self._utterances.transcribed(utterance, make)
        self._post(Transcribed(utterance.session_id, segment))
        return segment is not None and segment.crosstalk_of is None

    def _measure(self, seconds: float, took_s: float) -> None:
        rtf = took_s / max(seconds, 0.1)
        self.rtf = rtf if self.rtf is None else RTF_MEMORY * self.rtf + (1 - RTF_MEMORY) * rtf
