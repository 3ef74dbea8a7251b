"""The main thread's dispatcher: every item of the inbox, and what time brings."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from node.adapters.broker import Acknowledged, BrokerItem, Connected, Disconnected, Message
from node.core.roster import Live
from node.core.session import State
from node.errors import EXIT_CONFIG, EXIT_FAILED, NodeError, StoreError
from node.service.conductor import nobody
from node.service.items import (
    DamageFound,
    DiskFailed,
    Flushed,
    InputsListed,
    LevelsMeasured,
    LoadChanged,
    MicBack,
    MicJoined,
    MicLost,
    MicsOpened,
    MicsRefused,
    ModelReady,
    ModelUnavailable,
    PartialText,
    ReloadRequested,
    SegmentWithdrawn,
    SoundUnreadable,
    SpeechDropped,
    StopRequested,
    Transcribed,
    UtteranceFailed,
    WorkerDied,
    WorkerItem,
)

if TYPE_CHECKING:
    from node.adapters.broker import Broker
    from node.core.roster import Roster
    from node.service.conductor import Conductor
    from node.service.eraser import Eraser
    from node.service.health import Health
    from node.service.mic_scanner import MicScanner
    from node.service.publishing.homeassistant import HomeAssistant
    from node.service.publishing.publisher import Publisher
    from node.service.publishing.retained_states import RetainedStates
    from node.service.reload import Reloader
    from node.service.requests import Requests
    from node.service.retention import Retention
    from node.service.supervision import Supervision
    from node.service.watchdog import Watchdog

log = logging.getLogger(__name__)

TICK_S = 0.5
IDLE_TICK_S = 2.0
"""The main thread looks at the time so often, in a session and without one."""

LOOK_EVERY_S = 1.5
"""How often changed hardware is looked for; what it costs is the reading of one small file."""

HEALTH_EVERY_S = 60.0

DRAIN_S = 20.0
"""How long a stopped node goes on to transcribe and to send; what is left is on the disk."""


class Dispatcher:
    """Owned by the main thread; never waits."""

    def __init__(
        self,
        *,
        roster: Roster,
        scanner: MicScanner,
        conductor: Conductor,
        broker: Broker,
        watchdog: Watchdog,
        publisher: Publisher,
        states: RetainedStates,
        eraser: Eraser,
        retention: Retention,
        health: Health,
        requests: Requests,
        home_assistant: HomeAssistant,
        reloader: Reloader,
        supervision: Supervision,
    ) -> None:
        self._roster = roster
        self._scanner = scanner
        self._conductor = conductor
        self._broker = broker
        self._watchdog = watchdog
        self._publisher = publisher
        self._states = states
        self._eraser = eraser
        self._retention = retention
        self._health = health
        self._requests = requests
        self._home_assistant = home_assistant
        self._reloader = reloader
        self._supervision = supervision
        self._look_at = 0.0
        self._online = False
        self._health_at = 0.0
        self._ending_by: float | None = None
        self.exit_status: int | None = None

    @property
    def patience_s(self) -> float:
        """How long the inbox may stay empty before the dispatcher wants to look at the time."""
        idle = self._conductor.session is None and self._ending_by is None
        tick_s = IDLE_TICK_S if idle else TICK_S
        return self._home_assistant.patience_s(time.monotonic(), tick_s)

    def handle(self, item: WorkerItem | BrokerItem) -> None:  # noqa: C901  # a table of items
        """Take one item of the inbox to where it belongs."""
        match item:
            case Message():
                self._on_message(item)
            case Acknowledged() | Connected() | Disconnected():
                self._publisher.handle(item)
                self._supervision.broker(item)
                if isinstance(item, Disconnected) and item.taken_over:
                    self._give_way()
            case MicsOpened() | MicsRefused() | Flushed():
                self._on_session(item)
            case Transcribed() | SegmentWithdrawn() | UtteranceFailed():
                self._on_text(item)
            case MicJoined() | MicLost() | MicBack() | LevelsMeasured() | SpeechDropped():
                self._on_mic(item)
            case PartialText() | LoadChanged() | DiskFailed() | SoundUnreadable() | DamageFound():
                self._on_passing(item)
            case InputsListed():
                self._scanner.on_listed(item)
            case ModelReady() | ModelUnavailable():
                self._on_model(item)
            case ReloadRequested():
                self._reload()
            case StopRequested():
                self._end()
            case WorkerDied(worker, error):
                self._on_death(worker, error)

    def _on_death(self, worker: str, error: BaseException) -> None:
        """A thread has ended: so does the process, to be restarted and to go on."""
        if isinstance(error, NodeError):
            log.critical("the %s thread has ended: %s", worker, error)
        else:
            log.critical("the %s thread has ended: this is a bug", worker, exc_info=error)
        self.exit_status = EXIT_FAILED

    def _on_message(self, item: Message) -> None:
        if self._home_assistant.takes(item, time.monotonic()):
            return
        if not self._publisher.is_own_info(item):
            self._requests.take(item)
        elif self._publisher.shows_younger_duplicate(item):
            self._give_way()

    def tick(self, now: float) -> None:
        """Do what is due at `now`, and publish the states that have changed."""
        self._look_for_changes(now)
        try:
            if (final := self._conductor.tick(now)) is not None:
                self._states.last(final)
                self._publisher.pump()
            self._eraser.tick(now)
            if self._conductor.session is None:
                self._retention.tick(now)
        except StoreError as error:  # tried again at the next tick
            self._watchdog.disk_failed(str(error))
        self._home_assistant.tick(now)
        self._states.session()
        self._states.mics()
        self._states.live(now)
        self._watchdog.watch_disk(now)
        if (stalled := self._watchdog.stalled(now, online=self._online)) is not None:
            log.critical("%s; ending, to be restarted and resumed", stalled)
            self._supervision.failed(stalled)
            self.exit_status = EXIT_FAILED
        self._supervision.tick(now)
        if self._online:
            self._publisher.pump()
            self._tick_health(now)
        if self._ending_by is not None:
            self._check_end(now)

    def _look_for_changes(self, now: float) -> None:
        """See a card that was plugged in or pulled."""
        if now >= self._look_at:
            self._look_at = now + LOOK_EVERY_S
            self._scanner.tick()

    def _tick_health(self, now: float) -> None:
        if now >= self._health_at:
            self._health_at = now + HEALTH_EVERY_S
            self._states.health(self._health.record())

    def _on_text(self, item: Transcribed | SegmentWithdrawn | UtteranceFailed) -> None:
        match item:
            case Transcribed(_, segment) if segment is not None and segment.crosstalk_of is None:
                self._publisher.pump()  # the segment itself first: it is what is waited for
                self._states.heard(segment)
            case SegmentWithdrawn(segment):
                log.info("%s was the speech of %s: withdrawn", segment.id, segment.crosstalk_of)
                self._publisher.pump()
                self._states.withdrawn(segment)
            case UtteranceFailed(_, message):
                self._publisher.event("transcription_failed", message)

    def _on_session(self, item: MicsOpened | MicsRefused | Flushed) -> None:
        match item:
            case MicsOpened():
                self._conductor.on_opened(item)
                self._requests.resume()
            case MicsRefused():
                self._conductor.on_refused(item)
                self._requests.resume()
            case Flushed():
                self._conductor.on_flushed(item)

    def _on_mic(self, item: MicJoined | MicLost | MicBack | LevelsMeasured | SpeechDropped) -> None:
        match item:
            case SpeechDropped(mic_or_none, reason):
                self._publisher.event("speech_dropped", reason, mic_or_none)
            case MicLost(mic, reason):
                self._roster.set_connected(mic, connected=False)
                self._publisher.event("mic_lost", f"{mic}: {reason}", mic)
            case MicJoined(mic, sample_rate) | MicBack(mic, sample_rate):
                self._roster.set_connected(mic, connected=True)
                self._roster.set_live(mic, Live(recording=True, sample_rate=sample_rate))
                if isinstance(item, MicBack):
                    self._publisher.event("mic_back", f"{mic} delivers again", mic, good=True)
            case LevelsMeasured(dbfs, dropped_s, lags_s):
                self._health.dropped_s, self._health.lags_s = dropped_s, lags_s
                self._supervision.heard(time.monotonic())
                for mic, level in dbfs.items():
                    rate = self._roster.live(mic).sample_rate
                    self._roster.set_live(mic, Live(True, level, rate))

    def _on_passing(
        self, item: PartialText | LoadChanged | DiskFailed | SoundUnreadable | DamageFound
    ) -> None:
        match item:
            case PartialText(payload):
                self._states.partial(payload)
            case LoadChanged():
                self._on_load(item)
            case DiskFailed(reason):
                self._watchdog.disk_failed(reason)
            case SoundUnreadable(mic, message):
                self._publisher.event("sound_unreadable", message, mic)
            case DamageFound(message):
                self._publisher.event("data_damaged", message)

    def _on_load(self, item: LoadChanged) -> None:
        """`T/health` says it at once, `T/event` where it is beyond what can be given up."""
        self._health_at = 0.0
        if item.event == "overloaded":
            advice = "a smaller transcription.model or fewer mics would help; no text is lost"
            self._publisher.event("overloaded", f"{item.message}; {advice}")
        elif item.event == "recovered":
            self._publisher.event("recovered", "what is said is written at once again", good=True)

    def _on_model(self, item: ModelReady | ModelUnavailable) -> None:
        """Say how things stand; the node goes online once the model is known to be there or not."""
        notice: str | None = None
        match item:
            case ModelReady(notice):
                if notice:
                    log.warning("%s", notice)
                if self._online:
                    self._publisher.event("model_ready", "the model is loaded", good=True)
                self._conductor.on_model_ready()
            case ModelUnavailable(reason):
                if reason != self._conductor.model_problem:  # it tries again and again
                    self._publisher.event("model_unavailable", reason)
                self._conductor.on_model_unavailable(reason)
        self._states.info(notice)
        if not self._online:
            self._online = True
            self._broker.start()
            self._supervision.up()

    def _reload(self) -> None:
        self._supervision.reloading()
        self._publisher.event("configuration", self._reloader.reload())
        self._scanner.renew()
        self._supervision.up()

    def _give_way(self) -> None:
        """Two nodes under one id would throw each other out for ever: the older one ends."""
        reason = (
            "another node has connected under this node's id; give each its own node.id."
            " This one ends: what it has heard is kept, and is transcribed at its next start"
        )
        log.critical("%s", reason)
        self._supervision.failed(reason)
        self.exit_status = EXIT_CONFIG

    def _end(self) -> None:
        """Asked to stop: end a running session, let it drain within its bound. Twice: at once."""
        if self._ending_by is not None:
            self.exit_status = 0
            return
        self._ending_by = time.monotonic() + DRAIN_S
        self._supervision.ending()

    def _check_end(self, now: float) -> None:
        assert self._ending_by is not None
        if self._conductor.state is State.RECORDING:
            self._conductor.stop(None, nobody)
        busy = self._conductor.state in {State.STARTING, State.STOPPING}
        unsent = self._publisher.connected and not self._publisher.drained()
        if now >= self._ending_by or not (busy or unsent):
            self.exit_status = 0
