"""The transcriber thread: owns the engine and turns waiting utterances into segments."""

from __future__ import annotations

import logging
import queue
import threading
import time
from typing import TYPE_CHECKING

from node.core.overload import Load
from node.errors import ModelError, StoreError
from node.service.items import (
    DiskFailed,
    ModelReady,
    ModelUnavailable,
    SoundUnreadable,
    Transcribed,
)
from node.service.service_thread import ServiceThread
from node.service.transcribing.backlog import Backlog
from node.service.transcribing.package_registry import load_or_fetch
from node.service.transcribing.partials import Partials, Speaking
from node.service.transcribing.results import Results
from node.service.transcribing.segments import Recogniser

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    import numpy.typing as npt

    from node.adapters.store import Sessions, Utterance, Utterances
    from node.adapters.whisper import Clip, Engine
    from node.core.mqtt.topics import Topics
    from node.core.text.context import Speaker
    from node.service.items import ThreadItem
    from node.service.transcribing.away import Away
    from node.service.transcribing.package_registry import Fetch
    from node.service.transcribing.partials import OpenUtterance
    from node.service.transcribing.sharing import Sharing

    Samples = npt.NDArray[np.int16]

log = logging.getLogger(__name__)

MODEL_RETRY_S = 30.0
"""Wait before trying again to load a model."""

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


class Transcriber:
    """Public methods are for other threads; only this thread uses the engine.

    Without an `engine`, everything is transcribed by the workers that `away` speaks to; with both,
    those help. `partials` need an engine.
    """

    def __init__(
        self,
        *,
        engine: Engine | None,
        sessions: Sessions,
        utterances: Utterances,
        topics: Topics,
        post: Callable[[ThreadItem], None],
        name_hotwords: bool = False,
        partials: bool = False,
        fetch: Fetch | None = None,
        away: Away | None = None,
    ) -> None:
        self._engine = engine
        self._fetch = fetch
        self._sessions = sessions
        self._utterances = utterances
        self._post = post
        self._wake = threading.Event() if away is None else away.wake
        self._quit = threading.Event()
        self._thread = ServiceThread("transcriber", self._run, post)
        self._deadline: float | None = None
        self._name_hotwords = name_hotwords
        self._recogniser = Recogniser(engine)
        self.speaking: Speaking | None = None
        self._partials: Partials | None = None
        if partials and engine is not None:
            self.speaking = Speaking()
            self._partials = Partials(engine, sessions, utterances, self.speaking, post)
        self._erased: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._misheard: queue.SimpleQueue[Speaker] = queue.SimpleQueue()
        self._backlog = Backlog(
            sessions=sessions,
            utterances=utterances,
            shares_window=engine.together if engine else _never,
            post=post,
        )
        self._results = self._keep_results(topics)
        self._away = away
        self._sharing = self._share_with(away) if away else None

    def _keep_results(self, topics: Topics) -> Results:
        return Results(
            sessions=self._sessions,
            utterances=self._utterances,
            topics=topics,
            backlog=self._backlog,
            recogniser=self._recogniser,
            post=self._post,
        )

    def _share_with(self, away: Away) -> Sharing:
        from node.service.transcribing.sharing import Sharing  # noqa: PLC0415 -- not with `here`

        return Sharing(
            away=away,
            backlog=self._backlog,
            results=self._results,
            read=self._read,
            raw=self._raw,
            helps=self._engine is not None,
            post=self._post,
        )

    def start(self) -> None:
        self._thread.start()

    def captured(self) -> None:
        """Wake the thread for a waiting utterance; called by the listener."""
        self._wake.set()

    def stop(self, timeout_s: float) -> bool:
        """End the thread after the current utterance; return whether it ended in time.

        What still waits is on the disk and is transcribed at the next start.
        """
        self._quit.set()
        self._wake.set()
        return self._thread.join(timeout_s)

    def forget(self, session_id: str) -> None:
        """Forget everything of an erased session."""
        self._erased.put(session_id)
        self._wake.set()

    def misheard(self, speaker: Speaker) -> None:
        """Forget what was learned of a speaker: a segment was another's; called by the listener."""
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

    @property
    def rtf(self) -> float | None:
        """Seconds of work for a second of speech, here or at the workers; None if not known yet."""
        return self._results.rtf

    @property
    def lag_s(self) -> float:
        """Seconds from the end of the newest text's speech to that text."""
        return self._results.lag_s

    @property
    def hears_workers(self) -> bool:
        """Whether the thread that hears workers is alive, or is not needed."""
        return self._away is None or self._away.alive()

    # The transcriber thread runs everything below.

    def _run(self) -> None:
        if self._engine is None:
            self._post(ModelReady(None))
        elif not self._load_model(self._engine):
            return
        if self._away is not None:
            self._away.start()
        try:
            self._go_round_and_round()
        finally:
            if self._away is not None:
                self._away.stop()

    def _go_round_and_round(self) -> None:
        while not self._quit.is_set():
            self._wake.clear()
            try:
                self._go_round()
            except StoreError as error:
                # Nothing is lost: the audio stays until its segment is stored.
                self._post(DiskFailed(str(error)))
                self._quit.wait(DISK_RETRY_S)

    def _load_model(self, engine: Engine) -> bool:
        """Load the model, trying until it succeeds; return False when told to quit."""
        while not self._quit.is_set():
            try:
                load_or_fetch(engine, self._fetch, lambda what: self._post(ModelUnavailable(what)))
            except ModelError as error:
                self._post(ModelUnavailable(str(error)))
                self._quit.wait(MODEL_RETRY_S)
            else:
                self._post(ModelReady(engine.notice))
                return True
        return False

    def _go_round(self) -> None:
        """Do what is most urgent, or wait."""
        self._forget()
        unfinished = self._partials.utterances() if self._partials else ()
        self._backlog.weigh(self._pace(), self._sharing.elsewhere if self._sharing else ())
        self._results.store()
        if self._sharing is not None:
            self._sharing.go_on()
        waiting = self._next()
        if len(waiting) > 1:
            self._attempt_together(waiting)
        elif waiting:
            self._attempt(waiting[0])
        else:
            self._wait(unfinished)

    def _pace(self) -> float | None:
        """Return the seconds that a second of speech will take, with all that work on it."""
        if self.rtf is None or self._sharing is None:
            return self.rtf
        return self.rtf / self._sharing.hands

    def _next(self) -> list[Utterance]:
        """Return what to transcribe here."""
        if self._engine is None:
            return []
        if self._sharing is None:
            return self._backlog.next(self._results.order.finished)
        return self._sharing.left_here()

    def _wait(self, unfinished: Sequence[OpenUtterance]) -> None:
        pauses = [self._spare_time(unfinished), self._backlog.pause_s()]
        if self._sharing is not None:
            pauses.append(self._sharing.pause_s())
        self._wake.wait(min((each for each in pauses if each is not None), default=None))

    def _forget(self) -> None:
        """Forget what was erased or withdrawn."""
        while not self._erased.empty():
            session_id = self._erased.get()
            self._recogniser.forget(session_id)
            self._results.forget(session_id)
            self._utterances.forget_raw_audio(session_id)
            if self._partials is not None:
                self._partials.forget_lesson()
            if self._sharing is not None:
                self._sharing.forget(session_id)
        while not self._misheard.empty():
            self._recogniser.forget_speaker(self._misheard.get())
        for utterance in self._utterances.drop_unwanted():
            self._results.drop(utterance)
            if self._sharing is not None:
                self._sharing.cancel(utterance.id)
            self._post(Transcribed(None))

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
        assert self._engine is not None
        try:
            clips = [self._clip(each, self._utterances.audio(each)) for each in waiting]
        except OSError:  # which one it is shows when they are read one by one
            self._backlog.set_apart(waiting)
            return
        seconds = sum(utterance.duration_s for utterance in waiting)
        for utterance in waiting:
            self._utterances.attempt(utterance)
            self._results.begin(utterance)
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
        self._results.measure(seconds, time.monotonic() - began)
        for utterance, clip, heard in zip(waiting, clips, results, strict=True):
            self._results.heard(utterance, clip, heard)
        self._results.store()

    def _sound(self, utterance: Utterance) -> Samples | None:
        """Return its samples; None if the disk cannot read them, which is dealt with here."""
        try:
            return self._utterances.audio(utterance)
        except FileNotFoundError as error:
            self._results.give_up(utterance, f"its sound is gone: {error}")
        except OSError as error:
            first = not self._backlog.is_postponed(utterance)
            if not self._backlog.postpone(utterance):
                self._results.give_up(utterance, f"the disk cannot read its sound: {error}")
                return None
            self._results.order.drop(utterance.id)  # later speech need not wait for it
            if first:
                message = f"the disk cannot read an utterance ({error}); the node tries again"
                self._post(SoundUnreadable(utterance.mic, message))
        return None

    def _read(self, utterance: Utterance) -> Clip | None:
        """Return an utterance's clip; None if the disk cannot read it, which is dealt with here."""
        samples = self._sound(utterance)
        return None if samples is None else self._clip(utterance, samples)

    def _raw(self, utterance: Utterance) -> Samples | None:
        """Return its raw sound, if there is time to hear it a second time."""
        return self._utterances.raw_audio(utterance) if self.load is Load.NORMAL else None

    def _clip(self, utterance: Utterance, samples: Samples) -> Clip:
        return self._recogniser.clip(
            utterance,
            samples,
            hotwords=self._names(utterance.session_id),
            overlapped=self._utterances.overlapped(utterance),
            alone=self.load >= Load.TOGETHER,
        )

    def _attempt(self, utterance: Utterance) -> None:
        if (clip := self._read(utterance)) is None:
            return
        if not self._utterances.attempt(utterance):
            self._results.give_up(utterance, "it has crashed the process several times")
            return
        self._results.begin(utterance)
        began = time.monotonic()
        self._deadline = began + DEADLINE_S + DEADLINE_RTF * utterance.duration_s
        try:
            raw = self._raw(utterance)
            clip, heard = self._recogniser.hear(clip, raw, beam_size=self._backlog.beam_size)
        except Exception as error:
            log.exception("transcribing %s failed", utterance.id)
            self._results.failed(utterance, repr(error))
            return
        finally:
            self._deadline = None
            self._utterances.survived(utterance)
        self._results.measure(utterance.duration_s, time.monotonic() - began)
        self._results.heard(utterance, clip, heard)
        self._results.store()
        if self._partials is not None and heard.text:
            self._partials.remember(clip.samples, heard.language, time.monotonic() - began)

    def _names(self, session_id: str) -> str | None:
        """Return the speakers of a session as hotwords, if the configuration says so."""
        session = self._sessions.get(session_id) if self._name_hotwords else None
        return ", ".join(dict.fromkeys(session.speakers.values())) if session else None


def _never(_seconds: float) -> bool:
    return False
