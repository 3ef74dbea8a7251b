"""What other threads report: kept for later questions, and published if users should know."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from node.core.roster import Live

if TYPE_CHECKING:
    from node.core.roster import Roster
    from node.service.health import Health
    from node.service.items import (
        AnswersDropped,
        DamageFound,
        LevelsMeasured,
        LoadChanged,
        MicBack,
        MicJoined,
        MicLost,
        SoundUnreadable,
        SpeechDropped,
        UtteranceFailed,
        WorkerUseless,
    )
    from node.service.publishing.publisher import Publisher
    from node.service.supervision import Supervision


class Reports:
    """Owned by the main thread; one method for each kind of report."""

    def __init__(
        self, *, roster: Roster, health: Health, publisher: Publisher, supervision: Supervision
    ) -> None:
        self._roster = roster
        self._health = health
        self._publisher = publisher
        self._supervision = supervision

    def on_mic_joined(self, item: MicJoined | MicBack) -> None:
        self._roster.set_connected(item.mic, connected=True)
        self._roster.set_live(item.mic, Live(recording=True, sample_rate=item.sample_rate))

    def on_mic_back(self, item: MicBack) -> None:
        self.on_mic_joined(item)
        self._publisher.event("mic_back", f"{item.mic} is back", item.mic, good=True)

    def on_mic_lost(self, item: MicLost) -> None:
        self._roster.set_connected(item.mic, connected=False)
        self._publisher.event("mic_lost", f"{item.mic}: {item.reason}", item.mic)

    def on_levels(self, item: LevelsMeasured) -> None:
        self._health.dropped_s, self._health.lags_s = item.dropped_s, item.lags_s
        self._supervision.heard(time.monotonic())
        for mic, level in item.dbfs.items():
            self._roster.set_live(mic, Live(True, level, self._roster.live(mic).sample_rate))

    def on_load(self, item: LoadChanged) -> None:
        """Publish `T/health` at once, and an event when the node is overloaded or no longer is."""
        self._health.hasten()
        if item.event == "overloaded":
            advice = "use a smaller transcription.model or fewer mics; no text is lost"
            self._publisher.event("overloaded", f"{item.message}; {advice}")
        elif item.event == "recovered":
            self._publisher.event(
                "recovered", "transcription keeps up with speech again", good=True
            )

    def on_worker_useless(self, item: WorkerUseless) -> None:
        self._publisher.event("worker_useless", item.problem)

    def on_answers_dropped(self, item: AnswersDropped) -> None:
        message = f"{item.count} messages of workers were dropped: too many came at once"
        self._publisher.event("answers_dropped", f"{message}; what is not answered is sent again")

    def on_speech_dropped(self, item: SpeechDropped) -> None:
        self._publisher.event("speech_dropped", item.reason, item.mic)

    def on_sound_unreadable(self, item: SoundUnreadable) -> None:
        self._publisher.event("sound_unreadable", item.message, item.mic)

    def on_utterance_failed(self, item: UtteranceFailed) -> None:
        self._publisher.event("transcription_failed", item.message)

    def on_damage(self, item: DamageFound) -> None:
        self._publisher.event("data_damaged", item.message)
