"""From what was heard to a stored segment, in the order in which utterances were handed out."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from node.core.work.order import Order
from node.service.items import Transcribed, UtteranceFailed
from node.service.transcribing.segments import segment_of, speaker_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from node.adapters.store import Sessions, Utterance, Utterances
    from node.adapters.whisper import Clip
    from node.core.model import Segment, Transcription
    from node.core.mqtt.topics import Topics
    from node.service.items import ThreadItem
    from node.service.transcribing.backlog import Backlog
    from node.service.transcribing.segments import Recogniser

MAX_ATTEMPTS = 2
"""An utterance on which the engine fails is tried once more, then set aside."""

RTF_MEMORY = 0.9
"""Weight of the past in the running real-time factor: about the last ten utterances count."""


class Results:
    """Owned by the transcriber thread; others may read `rtf` and `lag_s`."""

    def __init__(
        self,
        *,
        sessions: Sessions,
        utterances: Utterances,
        topics: Topics,
        backlog: Backlog,
        recogniser: Recogniser,
        post: Callable[[ThreadItem], None],
    ) -> None:
        self._sessions = sessions
        self._utterances = utterances
        self._topics = topics
        self._backlog = backlog
        self._recogniser = recogniser
        self._post = post
        self.order: Order[tuple[Utterance, Clip, Transcription]] = Order()
        self.rtf: float | None = None
        self.lag_s = 0.0

    def begin(self, utterance: Utterance) -> None:
        """Hand out an utterance: its text comes after those of the utterances before it."""
        self.order.begin(utterance.id, speaker_of(utterance), time.monotonic())

    def heard(self, utterance: Utterance, clip: Clip, heard: Transcription) -> None:
        """Take what was heard in an utterance; `store` stores it when it is its turn."""
        self.order.done(utterance.id, (utterance, clip, heard))

    def store(self) -> None:
        """Store what is done and whose turn it is.

        Raises:
            StoreError: the disk fails; the next call tries again.
        """
        while (ready := self.order.ready(time.monotonic())) is not None:
            key, (utterance, clip, heard) = ready
            own = self._finish(utterance, heard)
            self.order.drop(key)
            if own:
                self._recogniser.learn(utterance, clip, heard)

    def drop(self, utterance: Utterance) -> None:
        """Forget an utterance that nobody wants any more."""
        self.order.drop(utterance.id)
        self._backlog.done(utterance)

    def forget(self, session_id: str) -> None:
        """Forget an erased session."""
        for key in self.order.unfinished():
            if key.startswith(f"{session_id}/"):
                self.order.drop(key)

    def failed(self, utterance: Utterance, reason: str) -> None:
        """Note that an engine failed on an utterance: it is tried once more, then given up."""
        if utterance.attempts + 1 < MAX_ATTEMPTS:
            self._utterances.retry(utterance)
        else:
            self.give_up(utterance, reason)

    def give_up(self, utterance: Utterance, reason: str) -> None:
        kept = self._utterances.fail(utterance, reason)
        self.drop(utterance)
        message = f"{utterance.mic}: an utterance could not be transcribed ({reason}); see {kept}"
        self._post(UtteranceFailed(message))

    def measure(self, seconds: float, took_s: float) -> None:
        """Take in how long an engine took for this much sound."""
        rtf = took_s / max(seconds, 0.1)
        self.rtf = rtf if self.rtf is None else RTF_MEMORY * self.rtf + (1 - RTF_MEMORY) * rtf

    def _finish(self, utterance: Utterance, heard: Transcription) -> bool:
        """Store what was heard; return whether it is the speaker's own, as far as is known."""
        self._backlog.done(utterance)
        session = self._sessions.get(utterance.session_id)
        if session is None or not heard.text:
            self._utterances.transcribed(utterance, None)
            self._post(Transcribed(None))
            return utterance.crosstalk_of is None
        lag_s = self._backlog.lag_s(utterance)
        if not utterance.recovered:
            self.lag_s = lag_s

        def make(seq: int) -> tuple[Segment, str, str]:
            segment = segment_of(utterance, heard, seq, lag_s)
            payload = json.dumps(segment.payload(session.started_at), ensure_ascii=False)
            return segment, self._topics.segment(utterance.mic), payload

        segment = self._utterances.transcribed(utterance, make)
        self._post(Transcribed(segment))
        return segment is not None and segment.crosstalk_of is None
