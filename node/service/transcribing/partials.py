"""Text of speech before it ends, made in time that nothing else needs.

A pass over unfinished speech begins only if it will be over before any final text can be due. An
utterance ends with a pause (`vad.hangover_ms`), and while its speaker is heard, the whole pause is
still to come: a pass may take that long. A speaker who has fallen silent may be near the end; no
pass begins then.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from node.adapters.whisper import Clip
from node.core.model import SAMPLE_RATE, at_sample, iso
from node.core.pace import FIXED_S, Pace
from node.core.text.agreement import Agreement
from node.service.items import PartialText

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    import numpy.typing as npt

    from node.adapters.store import Sessions, Utterance, Utterances
    from node.adapters.whisper import Engine
    from node.core.mqtt.payloads import PartialPayload
    from node.core.text.prior import LanguagePrior
    from node.service.items import ThreadItem

    Samples = npt.NDArray[np.int16]

log = logging.getLogger(__name__)

EVERY_S = 1.0
"""Time between passes over an utterance, and from its beginning to the first."""

LOOK_S = 0.5
"""How often to check whether somebody has begun to speak."""

PRACTICE_S = 3.0
"""Length of sound in a trial pass: enough to learn the pace, and short on slow machines."""

TRIAL_S = 0.8
"""Longest trial, estimated from what its sound took before. Even the shortest utterance that starts
during it (0.25 s of speech and a pause of 1 s) ends later, so a trial delays no text. Slower
machines get no partial texts."""

SOON_S = 0.05
"""How often to check whether a speaker who has fallen silent goes on."""


@dataclass(frozen=True, slots=True)
class OpenUtterance:
    """An utterance that is being spoken; its sound so far is in the spool.

    Its speech begins at sample `speech`; `heard` samples have arrived. Before the monotonic time
    `ready_from` endpointing cannot end it: that much silence has still to be heard.
    """

    utterance: Utterance
    speech: int
    heard: int
    ready_from: float


class Speaking:
    """The utterances being spoken now: the listener reports, the transcriber asks. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[str, OpenUtterance] = {}

    def heard(self, utterance: Utterance, speech: int, heard: int, more: int) -> None:
        """Note another piece of an utterance in the spool; at least `more` samples follow."""
        spoken = OpenUtterance(utterance, speech, heard, time.monotonic() + more / SAMPLE_RATE)
        with self._lock:
            self._open[utterance.id] = spoken

    def ended(self, utterance: Utterance) -> None:
        with self._lock:
            self._open.pop(utterance.id, None)

    def goes_on(self, utterance: Utterance) -> bool:
        """Return whether it is still being spoken."""
        with self._lock:
            return utterance.id in self._open

    def utterances(self) -> list[OpenUtterance]:
        """Return those of all mics, in the order in which they began."""
        with self._lock:
            return list(self._open.values())


class Partials:
    """Owned by the transcriber thread."""

    def __init__(
        self,
        engine: Engine,
        sessions: Sessions,
        utterances: Utterances,
        speaking: Speaking,
        post: Callable[[ThreadItem], None],
    ) -> None:
        self._engine = engine
        self._sessions = sessions
        self._utterances = utterances
        self._speaking = speaking
        self._post = post
        self._pace = Pace()
        self._agreements: dict[str, Agreement] = {}
        self._due: dict[str, float] = {}
        self._lesson: tuple[Samples, str] | None = None

    def utterances(self) -> list[OpenUtterance]:
        """Return what is being spoken; call it before looking at the backlog, to miss nothing."""
        return self._speaking.utterances()

    def step(self, unfinished: Sequence[OpenUtterance], languages: LanguagePrior) -> float:
        """Make a pass if one is due and there is time; return the seconds until the next look.

        Call it when nothing waits for the engine.
        """
        now = time.monotonic()
        self._forget(unfinished)
        if not unfinished:
            self._practise(now)
            return LOOK_S
        for spoken in unfinished:
            self._due.setdefault(spoken.utterance.id, now + EVERY_S - spoken.heard / SAMPLE_RATE)
        due = [spoken for spoken in unfinished if self._due[spoken.utterance.id] <= now]
        spare_s = min(spoken.ready_from for spoken in unfinished) - now
        for spoken in sorted(due, key=lambda spoken: self._due[spoken.utterance.id]):
            if self._pace.expect(spoken.heard / SAMPLE_RATE) <= spare_s:
                self._pass(spoken, languages)
                return 0.0
        return SOON_S if due else min(LOOK_S, *(at - now for at in self._due.values()))

    def remember(self, samples: Samples, language: str, took_s: float) -> None:
        """Keep a finished utterance for a trial pass once nobody speaks, to learn the pace."""
        seconds = len(samples) / SAMPLE_RATE
        trial_s = took_s * (FIXED_S + min(seconds, PRACTICE_S)) / (FIXED_S + seconds)
        self._lesson = (samples, language) if trial_s <= TRIAL_S else None

    def forget_lesson(self) -> None:
        """Drop the sound kept for a trial: it may have been erased."""
        self._lesson = None

    def _practise(self, now: float) -> None:
        """Learn how long passes take: without that, none is made over speech."""
        lesson, self._lesson = self._lesson, None
        if lesson is None or not self._pace.is_old(now):
            return
        samples, language = lesson[0][: round(PRACTICE_S * SAMPLE_RATE)], lesson[1]
        try:
            self._engine.draft(Clip(samples, language))
        except Exception:  # nothing is lost: it has been transcribed
            log.exception("a trial pass failed")
        else:
            self._pace.saw(now, len(samples) / SAMPLE_RATE, time.monotonic() - now)

    def _pass(self, spoken: OpenUtterance, languages: LanguagePrior) -> None:
        utterance, began = spoken.utterance, time.monotonic()
        self._due[utterance.id] = began + EVERY_S
        prior = languages.of(utterance.mic, utterance.speaker)
        try:
            samples = self._utterances.audio(utterance)
            text = self._engine.draft(Clip(samples, utterance.language, prior=prior))
        except FileNotFoundError:  # it has just turned out to be another mic's speech
            return
        except Exception:  # the final text has its own attempts and reports
            log.exception("a pass over unfinished speech of %s failed", utterance.mic)
            self._due[utterance.id] = math.inf
            return
        now = time.monotonic()
        self._pace.saw(now, len(samples) / SAMPLE_RATE, now - began)
        agreement = self._agreements.setdefault(utterance.id, Agreement())
        if agreement.hear(text) and self._speaking.goes_on(utterance):
            self._say(spoken, agreement.text)

    def _say(self, spoken: OpenUtterance, text: str) -> None:
        utterance = spoken.utterance
        session = self._sessions.get(utterance.session_id)
        if session is None:
            return
        payload: PartialPayload = {
            "session_id": utterance.session_id,
            "mic": utterance.mic,
            "speaker": utterance.speaker,
            "text": text,
            "start": iso(at_sample(session.started_at, spoken.speech)),
        }
        self._post(PartialText(payload))

    def _forget(self, unfinished: Sequence[OpenUtterance]) -> None:
        running = {spoken.utterance.id for spoken in unfinished}
        for ended in self._due.keys() - running:
            self._due.pop(ended)
            self._agreements.pop(ended, None)
