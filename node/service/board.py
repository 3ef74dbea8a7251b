"""The retained states: what a newcomer to the topic tree finds there."""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from node import __version__
from node.core.model import SAMPLE_RATE, Segment, at_sample, iso, started_at_of
from node.core.transcript import LIVE_LINES, merge, plain
from node.core.turns import turns

if TYPE_CHECKING:
    from datetime import tzinfo

    from node.adapters.store import Erasure
    from node.config import Config
    from node.core.payloads import (
        FinalPayload,
        HealthPayload,
        InfoPayload,
        LastWordsPayload,
        LivePayload,
        PartialPayload,
        SessionPayload,
    )
    from node.core.roster import Roster
    from node.core.session import State
    from node.core.topics import Topics
    from node.service.conductor import Conductor
    from node.service.publisher import Publisher

    Circumstances = tuple[State, list[tuple[str, str | None, bool]]]

LIVE_EVERY_S = 2.0

LIVE_MEMORY = 3 * LIVE_LINES
"""Segments remembered for the live text; one that comes later than so many is not shown live."""

HEALTH_EXPIRY_S = 180


class Board:
    """Publishes every state where it has changed. Owned by the main thread."""

    def __init__(
        self,
        *,
        config: Config,
        topics: Topics,
        publisher: Publisher,
        roster: Roster,
        conductor: Conductor,
        zone: tzinfo,
    ) -> None:
        self._config = config
        self._topics = topics
        self._publisher = publisher
        self._roster = roster
        self._conductor = conductor
        self._zone = zone
        self._started_at = iso(datetime.now(UTC))
        self._mics: set[str] = set()
        self._recent: deque[Segment] = deque(maxlen=LIVE_MEMORY)
        self._words_of: dict[str, str] = {}
        self._forgotten: set[str] = set()
        self._refusal: tuple[str, Circumstances] | None = None
        self._live_at = 0.0
        self._live_is_old = False

    def info(self, notice: str | None) -> None:
        transcription = self._config.transcription
        folder = transcription.model_folder
        unavailable = self._conductor.model_problem is not None
        info: InfoPayload = {
            "schema": 1,
            "version": __version__,
            "node": self._config.node.id,
            "model": folder.name if folder else transcription.model,
            "model_state": "unavailable" if unavailable else "ready",
            "model_notice": self._conductor.model_problem or notice,
            "languages": list(transcription.languages),
            "sample_rate": SAMPLE_RATE,
            "started_at": self._started_at,
            "features": _features(self._config),
        }
        self._publisher.state(self._topics.info, info)

    def session(self) -> None:
        conductor = self._conductor
        session = conductor.session
        payload: SessionPayload = {
            "state": conductor.state.value,
            "session_id": session.id if session else None,
            "title": session.title if session else None,
            "started_at": iso(session.started_at) if session else None,
            "speakers": session.speakers if session else {},
            "segments_total": conductor.segments_total if session else 0,
            "backlog_s": round(conductor.backlog_s(), 1),
            "message": conductor.message or self._problem(),
            "problem": self._problem(),
            "finishing": conductor.finishing,
        }
        self._publisher.state(self._topics.session, payload)

    def refused(self, reason: str) -> None:
        """A start by the switch was refused; shown for as long as things stand as they do."""
        self._refusal = (reason, self._circumstances())

    def _problem(self) -> str | None:
        if self._refusal is not None and self._refusal[1] != self._circumstances():
            self._refusal = None
        return self._conductor.model_problem or (self._refusal[0] if self._refusal else None)

    def _circumstances(self) -> Circumstances:
        mics = [(m["mic"], m["speaker"], m["connected"]) for m in self._roster.payloads()]
        return self._conductor.state, mics

    def mics(self) -> None:
        """`T/mics` and one state a mic; the states of mics that are gone are taken back."""
        payloads = self._roster.payloads()
        self._publisher.state(self._topics.mics, {"mics": payloads})
        for mic in payloads:
            self._publisher.state(self._topics.mic_state(mic["mic"]), mic)
        present = {mic["mic"] for mic in payloads}
        for gone in self._mics - present:
            self._publisher.clear(self._topics.mic_state(gone))
            self._publisher.clear(self._topics.mic_last_words(gone))
        self._mics = present

    def health(self, health: HealthPayload) -> None:
        self._publisher.state(self._topics.health, health, expiry_s=HEALTH_EXPIRY_S)

    def last(self, transcript: FinalPayload) -> None:
        self._publisher.state(self._topics.last, transcript)

    def partial(self, partial: PartialPayload) -> None:
        """What is being said, to be seen by those who watch just now."""
        self._publisher.fleeting(self._topics.partial(partial["mic"]), partial)

    def heard(self, segment: Segment) -> None:
        """A segment is to be seen: as last words, and in the live text of the session shown."""
        if segment.session_id in self._forgotten:  # erased between its commit and this moment
            return
        self._last_words(segment)
        session = self._conductor.session
        if session is None or session.id != segment.session_id:
            return
        if self._recent and self._recent[-1].session_id != segment.session_id:
            self._recent.clear()
        self._recent.append(segment)
        self._live_is_old = True

    def _last_words(self, segment: Segment) -> None:
        session = self._conductor.active(segment.session_id)
        zero = session.started_at if session else started_at_of(segment.session_id)
        words: LastWordsPayload = {
            "session_id": segment.session_id,
            "mic": segment.mic,
            "speaker": segment.speaker,
            "text": segment.text,
            "start": iso(at_sample(zero, segment.start)),
            "language": segment.language,
        }
        for topic in (self._topics.last_words, self._topics.mic_last_words(segment.mic)):
            self._words_of[topic] = segment.session_id
            self._publisher.state(topic, words)

    def live(self, now: float) -> None:
        """Publish the live text where it is old, at most every two seconds."""
        session = self._conductor.session
        if session is None or not self._live_is_old or now - self._live_at < LIVE_EVERY_S:
            return
        if not self._recent or self._recent[-1].session_id != session.id:
            return  # it has said nothing yet
        lines = turns(merge(self._recent))[-LIVE_LINES:]
        live: LivePayload = {
            "session_id": session.id,
            "segments_total": self._conductor.segments_total,
            "text": plain(session, lines, self._zone),
            "updated_at": iso(datetime.now(UTC)),
        }
        self._words_of[self._topics.live] = session.id
        self._publisher.state(self._topics.live, live)
        self._live_at, self._live_is_old = now, False

    def forget(self, erasure: Erasure, last: FinalPayload | None) -> list[str]:
        """Let nothing retained show a session that is erased; gives the topics taken back.

        What an earlier process left on the broker is not known here, and is cleared as well.
        """
        self._forgotten.add(erasure.session_id)
        if self._recent and self._recent[-1].session_id == erasure.session_id:
            self._recent.clear()
        mics = [self._topics.mic_last_words(mic) for mic in erasure.mics]
        cleared = [
            topic
            for topic in (self._topics.live, self._topics.last_words, *mics)
            if self._words_of.get(topic, erasure.session_id) == erasure.session_id
        ]
        if last is None:
            cleared.append(self._topics.last)
        else:
            self.last(last)
        for topic in cleared:
            self._publisher.clear(topic)
        return cleared


def _features(config: Config) -> list[str]:
    features = ["retained_states", "outbox", "subtitles"]
    if config.transcription.word_timestamps:
        features.append("word_timestamps")
    if config.transcription.partials:
        features.append("partials")
    return features
