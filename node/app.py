"""The composition root: what exists, who owns what, in what order it starts and stops.

Threads: the main thread runs `Node.run` and owns everything in this file; the listener owns the
microphones, the transcriber the model, paho's thread nothing. They speak to the main thread
through one inbox, and to each other through the store.
"""

from __future__ import annotations

import logging
import queue
import signal
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from node.adapters.broker import (
    MAX_QUEUED_COMMANDS,
    Acknowledged,
    Broker,
    BrokerItem,
    BrokerSettings,
    Connected,
    Disconnected,
    Message,
    TlsSettings,
)
from node.adapters.store import Database, Outbox, Sessions, Utterances
from node.adapters.transcripts import TranscriptFolder
from node.adapters.whisper import Engine, EngineSettings
from node.config.zone import local_zone
from node.core.model import iso
from node.core.roster import Live, Roster
from node.core.segmenter import Endpointing
from node.core.session import State
from node.core.topics import Topics
from node.errors import EXIT_FAILED, StoreError
from node.service.archive import Archive
from node.service.board import Board
from node.service.conductor import Conductor, nobody
from node.service.health import Machine
from node.service.inventory import Inventory
from node.service.items import (
    Flushed,
    Levels,
    MicBack,
    MicLost,
    MicsOpened,
    MicsRefused,
    ModelReady,
    ModelUnavailable,
    ReloadRequested,
    StopRequested,
    Transcribed,
    UtteranceFailed,
    WorkerDied,
    WorkerItem,
)
from node.service.listener import Listener
from node.service.publisher import Publisher
from node.service.reload import Reloader
from node.service.requests import Requests
from node.service.transcriber import Transcriber
from node.service.verbs import Verbs

if TYPE_CHECKING:
    from pathlib import Path

    from node.config import Config
    from node.core.payloads import EventPayload, HealthPayload

log = logging.getLogger(__name__)

TICK_S = 0.5
IDLE_TICK_S = 2.0
"""The main thread looks at the time so often, in a session and without one."""

HEALTH_EVERY_S = 60.0

DRAIN_S = 20.0
"""How long a stopped node goes on to transcribe and to send; what is left is on the disk."""

JOIN_S = 3.0
GOODBYE_S = 2.0


class Node:
    """One running Scribe Node. `run` is called once."""

    def __init__(self, config: Config, config_file: Path) -> None:
        self._config = config
        self._inbox: queue.SimpleQueue[WorkerItem | BrokerItem] = queue.SimpleQueue()
        self._topics = topics = Topics(config.mqtt.base_topic, config.node.id)
        storage = config.storage.path
        zone = ZoneInfo(config.time_zone) if config.time_zone else local_zone()

        self._database = Database(storage / "scribe.db")
        self._outbox = Outbox(self._database)
        self._sessions = Sessions(self._database)
        self._utterances = Utterances(self._database, storage, keep_audio=config.storage.keep_audio)
        self._roster = Roster()
        self._inventory = Inventory(config.audio)
        self._machine = Machine(storage, config.audio.sys_root, time.monotonic)
        self._transcriber = Transcriber(
            engine=Engine(_engine_settings(config)),
            sessions=self._sessions,
            utterances=self._utterances,
            topics=topics,
            post=self._inbox.put,
        )
        self._listener = Listener(
            inventory=self._inventory,
            utterances=self._utterances,
            endpointing=Endpointing(**config.vad.model_dump()),
            captured=self._transcriber.captured,
            post=self._inbox.put,
        )
        self._archive = Archive(
            sessions=self._sessions,
            utterances=self._utterances,
            folder=TranscriptFolder(storage),
            topics=topics,
            zone=zone,
        )
        self._conductor = Conductor(
            roster=self._roster,
            sessions=self._sessions,
            utterances=self._utterances,
            archive=self._archive,
            listener=self._listener,
            default_language=config.transcription.language,
            free_mb=self._machine.disk_free_mb,
        )
        self._broker = Broker(_broker_settings(config), topics.status, self._deliver)
        self._publisher = Publisher(self._broker, topics, self._outbox)
        self._board = Board(
            config=config,
            topics=topics,
            publisher=self._publisher,
            roster=self._roster,
            conductor=self._conductor,
            zone=zone,
        )
        self._verbs = Verbs(
            roster=self._roster,
            inventory=self._inventory,
            sessions=self._sessions,
            archive=self._archive,
            conductor=self._conductor,
            health=self._health,
            deleted=lambda session_id: self._board.forget(session_id, self._archive.last()),
        )
        self._requests = Requests(
            topics=topics,
            verbs=self._verbs,
            conductor=self._conductor,
            publisher=self._publisher,
            event=self._event,
        )
        self._reloader = Reloader(
            config_file, config, self._inventory, self._listener, self._conductor
        )
        self._notice: str | None = None
        self._online = False
        self._ending_by: float | None = None
        self._exit_status: int | None = None
        self._dropped_commands = 0
        self._dropped_s = 0.0
        self._health_at = 0.0
        self._cards = ""

    def run(self) -> int:
        """Serve until told to stop; gives the exit status.

        Raises:
            StoreError: the storage folder cannot be used.
            ConfigError: the broker's password or certificates cannot be read.
        """
        self._database.open()
        try:
            self._utterances.prepare()
            self._recover()
            self._take_signals()
            self._listener.start()
            self._transcriber.start()
            log.info("loading the model %s", self._config.transcription.model)
            while self._exit_status is None:
                self._step()
            return self._exit_status
        finally:
            self._close()

    def _recover(self) -> None:
        self._roster.restore(self._sessions.remembered_mics())
        self._verbs.look_for_mics()
        self._cards = self._inventory.cards()
        waiting = self._utterances.recover()
        if waiting:
            log.warning("%d utterances of an interrupted run wait to be transcribed", waiting)
        self._conductor.recover(resume=self._config.session.resume)
        if (last := self._archive.last()) is not None:
            self._board.last(last)

    def _take_signals(self) -> None:
        """Handlers only put an item into the inbox: `SimpleQueue.put` is safe in a handler."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._inbox.put(StopRequested()))
        signal.signal(signal.SIGHUP, lambda *_: self._inbox.put(ReloadRequested()))

    def _deliver(self, item: BrokerItem) -> None:
        """Take an item from paho's thread; a flood of commands is dropped, not kept."""
        if isinstance(item, Message) and self._inbox.qsize() > MAX_QUEUED_COMMANDS:
            self._dropped_commands += 1
        else:
            self._inbox.put(item)

    def _step(self) -> None:
        """Take one item, then look at the time."""
        active = self._conductor.session is not None or self._ending_by is not None
        try:
            self._handle(self._inbox.get(timeout=TICK_S if active else IDLE_TICK_S))
        except queue.Empty:
            self._look_for_changes()
        self._tick(time.monotonic())

    def _handle(self, item: WorkerItem | BrokerItem) -> None:  # noqa: C901, PLR0912  # a table
        match item:
            case Message():
                self._requests.take(item)
            case Acknowledged():
                self._publisher.on_acknowledged(item)
            case Connected():
                log.info("connected to %s:%s", self._config.mqtt.host, self._config.mqtt.port)
                self._publisher.on_connected(item)
            case Disconnected():
                log.info("broker: %s", item.reason)
                self._publisher.on_disconnected(item)
            case Transcribed(_, segment):
                if segment is not None:
                    self._conductor.on_segment(segment)
                    self._board.heard(segment)
                    self._publisher.pump()
            case MicsOpened():
                self._conductor.on_opened(item)
                self._requests.resume()
            case MicsRefused():
                self._conductor.on_refused(item)
                self._requests.resume()
            case Flushed():
                self._conductor.on_flushed(item)
            case MicLost(mic, reason):
                self._roster.set_connected(mic, connected=False)
                self._event("mic_lost", f"{mic}: {reason}", mic)
            case MicBack(mic, rate):
                self._roster.set_connected(mic, connected=True)
                self._roster.set_live(mic, Live(recording=True, sample_rate=rate))
                self._event("mic_back", f"{mic} delivers again", mic)
            case Levels():
                self._on_levels(item)
            case ModelReady(notice):
                self._on_model(notice)
            case ModelUnavailable(reason):
                self._on_no_model(reason)
            case UtteranceFailed(_, message):
                self._event("transcription_failed", message)
            case ReloadRequested():
                self._event("configuration", self._reloader.reload())
            case StopRequested():
                self._end()
            case WorkerDied(worker, error):
                log.critical("the %s thread has ended: this is a bug", worker, exc_info=error)
                self._exit_status = EXIT_FAILED

    def _tick(self, now: float) -> None:
        try:
            if (final := self._conductor.tick(now)) is not None:
                self._board.last(final)
                self._publisher.pump()
        except StoreError as error:
            self._event("disk_failed", str(error))
        self._board.session()
        self._board.mics()
        self._board.live(now)
        if now >= self._health_at and self._online:
            self._health_at = now + HEALTH_EVERY_S
            self._board.health(self._health())
        if not self._broker.alive() and self._online:
            log.critical("the MQTT network thread has ended: this is a bug")
            self._exit_status = EXIT_FAILED
        if self._ending_by is not None:
            self._check_end(now)

    def _look_for_changes(self) -> None:
        """A card plugged in or pulled while nothing else happens."""
        if (cards := self._inventory.cards()) != self._cards:
            self._cards = cards
            self._verbs.look_for_mics()

    def _on_model(self, notice: str | None) -> None:
        if notice:
            log.warning("%s", notice)
        self._notice = notice
        self._conductor.on_model_ready()
        self._board.info(notice)
        if self._online:
            self._event("model_ready", f"{self._config.transcription.model} is loaded")
        self._go_online()

    def _on_no_model(self, reason: str) -> None:
        log.error("%s", reason)
        self._conductor.on_model_unavailable(reason)
        self._board.info(None)
        self._go_online()
        self._event("model_unavailable", reason)

    def _go_online(self) -> None:
        """Connect, once the model is loaded and warm, or known to be missing."""
        if not self._online:
            self._online = True
            self._board.session()
            self._board.mics()
            self._broker.start()

    def _on_levels(self, item: Levels) -> None:
        self._dropped_s = item.dropped_s
        for mic, level in item.dbfs.items():
            rate = self._roster.live(mic).sample_rate
            self._roster.set_live(mic, Live(recording=True, level_dbfs=level, sample_rate=rate))

    def _event(self, event_type: str, message: str, mic: str | None = None) -> None:
        log.warning("%s: %s", event_type, message)
        event: EventPayload = {
            "event_type": event_type,
            "message": message,
            "time": iso(datetime.now(UTC)),
        }
        if mic is not None:
            event["mic"] = mic
        self._publisher.say(self._topics.event, event)

    def _health(self) -> HealthPayload:
        rtf = self._transcriber.rtf
        return {
            "uptime_s": self._machine.uptime_s(),
            "outbox": len(self._outbox),
            "backlog_s": round(self._utterances.backlog_s(), 1),
            "rtf": round(rtf, 3) if rtf is not None else None,
            "lag_s": round(self._transcriber.lag_s, 2),
            "dropped_s": round(self._dropped_s, 2),
            "reconnects": max(0, self._publisher.connections - 1),
            "rss_mb": self._machine.rss_mb(),
            "cpu_percent": self._machine.cpu_percent(),
            "temperature_c": self._machine.temperature_c(),
            "disk_free_mb": self._machine.disk_free_mb(),
        }

    def _end(self) -> None:
        """Asked to stop: end a running session, let it drain within its bound."""
        if self._ending_by is not None:
            self._exit_status = 0  # asked twice: at once
            return
        self._ending_by = time.monotonic() + DRAIN_S
        if self._conductor.state is State.RECORDING:
            self._conductor.stop(None, nobody)

    def _check_end(self, now: float) -> None:
        assert self._ending_by is not None
        if self._conductor.state is State.RECORDING:  # it was starting when the end was asked for
            self._conductor.stop(None, nobody)
        busy = self._conductor.state in {State.STARTING, State.STOPPING}
        unsent = self._publisher.connected and not self._publisher.drained()
        if now >= self._ending_by or not (busy or unsent):
            self._exit_status = 0

    def _close(self) -> None:
        """The start, reversed."""
        self._transcriber.stop(JOIN_S)
        self._listener.stop(JOIN_S)
        if self._publisher.connected:
            self._say_goodbye()
        self._broker.stop()
        self._database.close()

    def _say_goodbye(self) -> None:
        """Wait until `offline` is acknowledged: a connection closed cleanly sends no will."""
        mid = self._broker.publish(self._topics.status, b"offline", retain=True)
        deadline = time.monotonic() + GOODBYE_S
        while (left := deadline - time.monotonic()) > 0:
            try:
                item = self._inbox.get(timeout=left)
            except queue.Empty:
                break
            if isinstance(item, Acknowledged) and item.mid == mid:
                return
        log.warning("the broker has not acknowledged `offline`; its last will says it instead")


def _engine_settings(config: Config) -> EngineSettings:
    transcription = config.transcription
    return EngineSettings(
        model=transcription.model,
        folder=transcription.model_folder,
        download_root=config.storage.path / "models",
        compute_type=transcription.compute_type,
        languages=transcription.languages,
        threads=transcription.threads,
        beam_size=transcription.beam_size,
        word_timestamps=transcription.word_timestamps,
    )


def _broker_settings(config: Config) -> BrokerSettings:
    mqtt = config.mqtt
    tls = mqtt.tls
    return BrokerSettings(
        host=mqtt.host,
        port=mqtt.port,
        # Every node has its own: a second one under this id is shown the door by the broker.
        client_id=f"{mqtt.base_topic}-{config.node.id}".replace("/", "-"),
        protocol=mqtt.protocol,
        keepalive_s=mqtt.keepalive_s,
        username=mqtt.username,
        password=mqtt.read_password(),
        tls=TlsSettings(tls.ca_file, tls.cert_file, tls.key_file) if tls.enabled else None,
    )
