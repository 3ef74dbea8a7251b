"""The composition root: what exists, who owns what, in what order it starts and stops.

Threads: the main thread runs `Node.run` and owns everything in this file; the listener owns the
microphones, the transcriber the model, paho's thread nothing. They speak to the main thread
through one inbox, and to each other through the store and, of speech that goes on, `Speaking`.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from functools import partial
from typing import TYPE_CHECKING

from node.adapters.announced import AnnouncedTopics
from node.adapters.broker import Acknowledged, Broker
from node.adapters.store import Store
from node.adapters.transcripts import TranscriptFolder
from node.adapters.whisper import Engine
from node.core.mqtt.topics import Topics
from node.core.roster import Roster
from node.service.admission import Admission
from node.service.archive import Archive
from node.service.conductor import Conductor
from node.service.dispatcher import Dispatcher
from node.service.eraser import Eraser
from node.service.health import Health, SystemMetrics
from node.service.inbox import Inbox
from node.service.inventory import Inventory
from node.service.items import DamageFound, ReloadRequested, StopRequested
from node.service.listening.listener import Listener
from node.service.listening.spool import Spool
from node.service.mic_scanner import MicScanner
from node.service.publishing.broker_advice import anonymous_warning, connection_advice
from node.service.publishing.homeassistant import HomeAssistant
from node.service.publishing.publisher import Publisher
from node.service.publishing.retained_states import RetainedStates
from node.service.recovery import Recovery
from node.service.reload import Reloader
from node.service.requests import Requests, Verbs
from node.service.retention import Retention
from node.service.settings import (
    broker_settings,
    discovery,
    endpointing,
    engine_settings,
    zone,
)
from node.service.supervision import Supervision
from node.service.transcribing.elsewhere import Registry
from node.service.transcribing.transcriber import Transcriber
from node.service.watchdog import Watchdog

if TYPE_CHECKING:
    from pathlib import Path

    from node.adapters.systemd import Notifier
    from node.config import Config

log = logging.getLogger(__name__)

JOIN_S = 3.0
"""How long a thread may take to end; the transcriber's utterance at hand is on the disk."""

GOODBYE_S = 2.0


class Node:
    """One running Scribe Node. `run` is called once."""

    def __init__(self, config: Config, config_file: Path, notifier: Notifier) -> None:
        self._config = config
        self._notifier = notifier
        self._inbox = Inbox()
        self._topics = Topics(config.mqtt.base_topic, config.node.id)
        self._store = Store(
            config.storage.path,
            keep_audio=config.storage.keep_audio,
            report=lambda what: self._inbox.put(DamageFound(what)),
        )
        self._roster = Roster()
        self._inventory = Inventory(config.audio, self._store.sessions.know_mics)
        self._scanner = MicScanner(self._inventory, self._roster, self._inbox.put)
        self._make_threads(config)
        self._make_session(config)
        self._make_voice(config)
        self._make_memory(config)
        self._make_watch()
        self._make_dispatcher(config, config_file)

    def _make_threads(self, config: Config) -> None:
        """The listener hears, the transcriber writes; the store lies between them."""
        self._transcriber = Transcriber(
            engine=Engine(engine_settings(config)),
            sessions=self._store.sessions,
            utterances=self._store.utterances,
            topics=self._topics,
            post=self._inbox.put,
            name_hotwords=config.transcription.name_hotwords,
            partials=config.transcription.partials,
            fetch=Registry(config.transcription.model, config.storage.path / "models").fetch,
        )
        self._listener = Listener(
            inventory=self._inventory,
            spool=Spool(
                utterances=self._store.utterances,
                audio=self._store.audio,
                max_mb=config.storage.max_spool_mb,
                captured=self._transcriber.captured,
                misheard=self._transcriber.misheard,
                topics=self._topics,
                speaking=self._transcriber.speaking,
                post=self._inbox.put,
            ),
            endpointing=endpointing(config),
            crosstalk=config.crosstalk.mode,
            post=self._inbox.put,
        )

    def _make_session(self, config: Config) -> None:
        self._machine = SystemMetrics(config.storage.path, config.audio.sys_root)
        self._recovery = Recovery(self._store.sessions, self._store.utterances)
        self._archive = Archive(
            sessions=self._store.sessions,
            traces=self._store.traces,
            folder=TranscriptFolder(config.storage.path),
            topics=self._topics,
            zone=zone(config),
        )
        self._conductor = Conductor(
            roster=self._roster,
            sessions=self._store.sessions,
            utterances=self._store.utterances,
            archive=self._archive,
            listener=self._listener,
            recovery=self._recovery,
            admission=Admission(self._roster, self._inventory, self._machine),
            default_language=config.transcription.language,
        )

    def _make_voice(self, config: Config) -> None:
        """Everything that is said on MQTT."""
        settings = broker_settings(config)
        advice = partial(connection_advice, settings)
        self._broker = Broker(settings, self._topics.status, self._inbox.deliver, advice)
        self._publisher = Publisher(self._broker, self._topics, self._store.outbox)
        self._states = RetainedStates(
            config=config,
            topics=self._topics,
            publisher=self._publisher,
            roster=self._roster,
            conductor=self._conductor,
            zone=zone(config),
        )
        self._home_assistant = HomeAssistant(
            discovery=discovery(config, self._topics),
            announced=AnnouncedTopics(config.storage.path / "homeassistant.json"),
            publisher=self._publisher,
            roster=self._roster,
        )
        self._health = Health(
            machine=self._machine,
            transcriber=self._transcriber,
            utterances=self._store.utterances,
            outbox=self._store.outbox,
            damage=self._store.damage,
            publisher=self._publisher,
        )

    def _make_memory(self, config: Config) -> None:
        """What is kept of sessions, and how it goes."""
        self._eraser = Eraser(
            traces=self._store.traces,
            audio=self._store.audio,
            archive=self._archive,
            states=self._states,
            publisher=self._publisher,
            forget=self._transcriber.forget,
        )
        self._retention = Retention(
            traces=self._store.traces,
            storage=config.storage,
            erase=self._eraser.erase,
            publisher=self._publisher,
        )

    def _make_watch(self) -> None:
        """What sees that a part of the node, or all of it, has stalled."""
        self._watchdog = Watchdog(
            listener=self._listener,
            transcriber=self._transcriber,
            broker=self._broker,
            publisher=self._publisher,
            machine=self._machine,
            ballast=self._store.ballast,
        )
        self._supervision = Supervision(
            notifier=self._notifier,
            conductor=self._conductor,
            roster=self._roster,
            watchdog=self._watchdog,
        )

    def _make_dispatcher(self, config: Config, config_file: Path) -> None:
        """Everything that is asked for, and everything that happens."""
        verbs = Verbs(
            roster=self._roster,
            scanner=self._scanner,
            sessions=self._store.sessions,
            archive=self._archive,
            conductor=self._conductor,
            health=self._health.record,
            erase=self._eraser.erase,
        )
        requests = Requests(
            topics=self._topics,
            verbs=verbs,
            conductor=self._conductor,
            publisher=self._publisher,
            refused=self._states.refused,
        )
        self._dispatcher = Dispatcher(
            roster=self._roster,
            scanner=self._scanner,
            conductor=self._conductor,
            broker=self._broker,
            watchdog=self._watchdog,
            supervision=self._supervision,
            publisher=self._publisher,
            states=self._states,
            eraser=self._eraser,
            retention=self._retention,
            health=self._health,
            requests=requests,
            home_assistant=self._home_assistant,
            reloader=Reloader(
                config_file, config, self._inventory, self._listener, self._conductor
            ),
        )

    def run(self) -> int:
        """Serve until told to stop; gives the exit status.

        Raises:
            StoreError: the storage folder cannot be used.
        """
        os.umask(0o077)  # whatever the folder allows: what people say is for this user alone
        damage = self._store.open()
        try:
            if damage is not None:
                self._publisher.event("database_damaged", damage)
            if (problem := anonymous_warning(self._config.mqtt)) is not None:
                log.warning("mqtt: %s", problem)
            self._recover()
            self._take_signals()
            self._listener.start()
            self._transcriber.start()
            log.info("loading the model %s", self._config.transcription.model)
            return self._serve()
        finally:
            self._close()

    def _recover(self) -> None:
        """Take up where the last process left off, however it ended."""
        self._eraser.complete()
        self._home_assistant.load()
        remembered = self._store.sessions.remembered_mics()
        self._roster.restore(remembered)
        self._inventory.recall(remembered)
        self._scanner.begin()
        waiting = self._store.utterances.recover()
        if waiting:
            log.warning("%d utterances of an interrupted run wait to be transcribed", waiting)
        self._recovery.look(resume=self._config.session.resume)
        if (newest := self._recovery.newest) is not None:
            self._states.resume(newest, self._store.sessions.segments(newest.id))
        if (last := self._archive.last()) is not None:
            self._states.last(last)

    def _take_signals(self) -> None:
        """Handlers only put an item into the inbox."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._inbox.put(StopRequested()))
        signal.signal(signal.SIGHUP, lambda *_: self._inbox.put(ReloadRequested()))

    def _serve(self) -> int:
        while self._dispatcher.exit_status is None:
            if (item := self._inbox.take(self._dispatcher.patience_s)) is not None:
                self._dispatcher.handle(item)
            self._dispatcher.tick(time.monotonic())
            if dropped := self._inbox.dropped():
                message = f"{dropped} commands of a burst were dropped; send them again"
                self._publisher.event("commands_dropped", message)
        return self._dispatcher.exit_status

    def _close(self) -> None:
        """The start, reversed."""
        self._transcriber.stop(JOIN_S)
        self._listener.stop(JOIN_S)
        if self._publisher.connected:
            self._say_goodbye()
        self._broker.stop()
        self._store.close()

    def _say_goodbye(self) -> None:
        """Wait until `offline` is acknowledged: a connection closed cleanly sends no will."""
        self._publisher.say_goodbye()
        deadline = time.monotonic() + GOODBYE_S
        while not self._publisher.has_said_goodbye:
            left = deadline - time.monotonic()
            if left <= 0:
                log.warning("the broker has not acknowledged `offline`; its last will says it")
                return
            if isinstance(item := self._inbox.take(left), Acknowledged):
                self._publisher.handle(item)
