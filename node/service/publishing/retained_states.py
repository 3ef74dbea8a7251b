"""The retained states: what a new subscriber finds in the topic tree."""

from __future__ import annotations

import logging
import math
from collections import deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from node import __version__
from node.core.model import SAMPLE_RATE, Segment, at_sample, iso, started_at_of
from node.core.text.transcript import LIVE_LINES, merge, plain
from node.core.text.turns import turns

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import tzinfo

    from node.adapters.store import Erasure
    from node.config import Config
    from node.core.deadlines import Deadlines
    from node.core.model import Session
    from node.core.mqtt.payloads import (
        FinalPayload,
        HealthPayload,
        InfoPayload,
        LastWordsPayload,
        LivePayload,
        SessionPayload,
    )
    from node.core.mqtt.topics import Topics
    from node.core.roster import Roster
    from node.core.session import State
    from node.service.conductor import Conductor
    from node.service.items import PartialText, SegmentWithdrawn, Transcribed
    from node.service.publishing.publisher import Publisher

    Circumstances = tuple[State, list[tuple[str, str | None, bool]]]

log = logging.getLogger(__name__)

LIVE_EVERY_S = 2.0

LIVE_MEMORY = 3 * LIVE_LINES
"""Segments kept for the live text; one that arrives after this many others is not shown live."""

HEALTH_EXPIRY_S = 180


class RetainedStates:
    """Publishes every state that has changed. Owned by the main thread."""

    def __init__(
        self,
        *,
        deadlines: Deadlines,
        config: Config,
        topics: Topics,
        publisher: Publisher,
        roster: Roster,
        conductor: Conductor,
        zone: tzinfo,
    ) -> None:
        self._deadlines = deadlines
        self._config = config
        self._topics = topics
        self._publisher = publisher
        self._roster = roster
        self._conductor = conductor
        self._zone = zone
        self._started_at = iso(datetime.now(UTC))
        self._mics: set[str] = set()
        self._shown: Session | None = None
        self._recent: deque[Segment] = deque(maxlen=LIVE_MEMORY)
        self._withdrawn: deque[str] = deque(maxlen=LIVE_MEMORY)
        self._last: dict[str, Segment] = {}
        self._live_of: str | None = None
        self._forgotten: set[str] = set()
        self._refusal: tuple[str, Circumstances] | None = None
        self._live_at = -math.inf

    def info(self, notice: str | None) -> None:
        transcription = self._config.transcription
        unavailable = self._conductor.model_problem is not None
        info: InfoPayload = {
            "schema": 1,
            "version": __version__,
            "node": self._config.node.id,
            "model": transcription.model_name,
            "model_state": "unavailable" if unavailable else "ready",
            "model_notice": self._conductor.model_problem or notice,
            "where": transcription.where,
            "languages": list(transcription.languages),
            "sample_rate": SAMPLE_RATE,
            "started_at": self._started_at,
            "features": _features(self._config),
        }
        self._publisher.state(self._topics.info, info)

    def recall(self, mics: Iterable[str]) -> None:
        """Clear the states of those of these mics, known to an earlier process, that are gone."""
        self._mics = set(mics)

    def settle(self) -> None:
        """Publish what has changed of the session and of the mics."""
        self._publish_session()
        self._publish_mics()

    def _publish_session(self) -> None:
        self._publisher.state(self._topics.session, self.session())

    def session(self) -> SessionPayload:
        """Return the current content of `T/session`."""
        conductor = self._conductor
        session = conductor.session
        return {
            "state": conductor.state.value,
            "session_id": session.id if session else None,
            "title": session.title if session else None,
            "group": session.group if session else None,
            "started_at": iso(session.started_at) if session else None,
            "speakers": session.speakers if session else {},
            "segments_total": conductor.segments_total(session) if session else 0,
            "backlog_s": round(conductor.backlog_s(), 1),
            "message": conductor.message or self._problem(),
            "problem": self._problem(),
            "finishing": conductor.finishing,
        }

    def refused(self, reason: str) -> None:
        """Show why a start by the switch was refused, until the circumstances change."""
        self._refusal = (reason, self._circumstances())

    def _problem(self) -> str | None:
        if self._refusal is not None and self._refusal[1] != self._circumstances():
            self._refusal = None
        return self._conductor.model_problem or (self._refusal[0] if self._refusal else None)

    def _circumstances(self) -> Circumstances:
        mics = [(m["mic"], m["speaker"], m["connected"]) for m in self._roster.payloads()]
        return self._conductor.state, mics

    def _publish_mics(self) -> None:
        """Publish `T/mics` and one state per mic; clear the states of mics that are gone."""
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

    def on_partial(self, item: PartialText) -> None:
        """Publish what is being said right now; not retained."""
        partial = item.payload
        self._publisher.fleeting(self._topics.partial(partial["mic"]), partial)

    def on_transcribed(self, item: Transcribed) -> None:
        """Show a segment as last words and in the live text of the session shown."""
        segment = item.segment
        if segment is None or segment.crosstalk_of is not None:
            return
        if segment.session_id in self._forgotten:  # erased since it was committed
            return
        if segment.id in self._withdrawn:  # withdrawn since it was committed
            return
        for topic in self._topics_of(segment):
            self._last_words(topic, segment)
        session = self._conductor.session
        if session is not None and session.id == segment.session_id:
            self._show(session, [segment])

    def on_withdrawn(self, item: SegmentWithdrawn) -> None:
        """Stop showing a segment that turned out to be another mic's speech."""
        segment = item.segment
        log.info("%s was the speech of %s: withdrawn", segment.id, segment.crosstalk_of)
        if segment.session_id in self._forgotten:
            return
        self._withdrawn.append(segment.id)
        left = [each for each in self._recent if each.id != segment.id]
        if len(left) < len(self._recent):
            self._recent = deque(left, maxlen=LIVE_MEMORY)
            self._renew_live()
        self._take_words_back(segment)

    def resume(self, session: Session, segments: Iterable[Segment]) -> None:
        """Publish the progress of an unfinished session, in case the interrupted process did not.

        Args:
            session: the newest unfinished session.
            segments: all its segments, in the order published.
        """
        segments = list(segments)
        if segments:
            self._show(session, [each for each in segments if each.crosstalk_of is None])
        for segment in segments:
            if segment.crosstalk_of is not None and segment.seq > 0:
                self._take_words_back(segment)

    def _show(self, session: Session, segments: Iterable[Segment]) -> None:
        if self._shown is None or self._shown.id != session.id:
            self._recent.clear()
        self._shown = session
        self._recent.extend(segments)
        self._renew_live()

    def _topics_of(self, segment: Segment) -> tuple[str, str]:
        return self._topics.last_words, self._topics.mic_last_words(segment.mic)

    def _take_words_back(self, segment: Segment) -> None:
        """Replace a segment shown as last words with the one before it, or with nothing."""
        for topic in self._topics_of(segment):
            if topic in self._last and self._last[topic].id != segment.id:
                continue
            known = [each for each in self._recent if topic in self._topics_of(each)]
            if known:
                self._last_words(topic, known[-1])
            else:
                self._last.pop(topic, None)
                self._publisher.clear(topic)

    def _last_words(self, topic: str, segment: Segment) -> None:
        session = self._conductor.active(segment.session_id)
        if session is None and self._shown is not None and self._shown.id == segment.session_id:
            session = self._shown
        zero = session.started_at if session else started_at_of(segment.session_id)
        words: LastWordsPayload = {
            "session_id": segment.session_id,
            "mic": segment.mic,
            "speaker": segment.speaker,
            "text": segment.text,
            "start": iso(at_sample(zero, segment.start)),
            "language": segment.language,
        }
        self._last[topic] = segment
        self._publisher.state(topic, words)

    def _renew_live(self) -> None:
        """Publish the live text, at most every two seconds."""
        self._deadlines.at(self._live_at + LIVE_EVERY_S, self._publish_live)

    def _publish_live(self, now: float) -> None:
        session = self._shown
        if session is None:
            return
        newest = turns(merge(self._recent))[-LIVE_LINES:]
        live: LivePayload = {
            "session_id": session.id,
            "segments_total": self._conductor.segments_total(session),
            "text": plain(session, newest, self._zone),
            "updated_at": iso(datetime.now(UTC)),
        }
        self._live_of = session.id
        self._publisher.state(self._topics.live, live)
        self._live_at = now

    def forget(self, erasure: Erasure, last: FinalPayload | None) -> list[str]:
        """Clear every retained state that shows an erased session; return their topics.

        What an earlier process left on the broker is unknown, so it is cleared too.
        """
        self._forgotten.add(erasure.session_id)
        if self._shown is not None and self._shown.id == erasure.session_id:
            self._shown = None
            self._recent.clear()
            self._deadlines.cancel(self._publish_live)
        shown = {topic: segment.session_id for topic, segment in self._last.items()}
        if self._live_of is not None:
            shown[self._topics.live] = self._live_of
        mics = [self._topics.mic_last_words(mic) for mic in erasure.mics]
        cleared = [
            topic
            for topic in (self._topics.live, self._topics.last_words, *mics)
            if shown.get(topic, erasure.session_id) == erasure.session_id
        ]
        self._last = {topic: each for topic, each in self._last.items() if topic not in cleared}
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
    if config.transcription.where != "here":
        features.append("sound_leaves_machine")
    return features
