"""The running node: how it starts and stops, and its main loop.

Four threads, each the only one to touch what it owns (two more come and go: one lists inputs, one
serves metrics):

- The main thread runs `Node.run` and owns all of `service.parts`, except for the following.
- The listener thread owns the microphones and listens to them (`service.listening`).
- The transcriber thread owns the engine and turns speech into text (`service.transcribing`).
- paho's thread owns the connection to the broker (`adapters.broker`). If work is shared out, there
  is a second one, for a connection that belongs to the transcriber thread.

The others report to the main thread through one inbox. The main thread takes three steps in turn:
it passes an item to its handler, does what is due, and publishes what has changed. It waits for
nothing but the inbox.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from node.adapters.broker import Acknowledged, Connected, Disconnected, Message
from node.errors import StoreError
from node.service import items
from node.service.handlers import on, table
from node.service.parts import Parts
from node.service.publishing.broker_advice import anonymous_warning, sound_warning

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from node.adapters.systemd import Notifier
    from node.config import Config
    from node.service.handlers import Handler

log = logging.getLogger(__name__)

LOOK_EVERY_S = 0.5
IDLE_LOOK_EVERY_S = 2.0
"""How often to check what no item reports, during a session and without one. Most other regular
work runs at multiples of the latter, so that an idle node wakes up once for it."""

HARDWARE_EVERY_S = 2.0
"""How often to look for changed hardware, at the cost of reading one small file."""

DISK_EVERY_S = 4.0

JOIN_S = 3.0
"""How long a thread may take to end; the utterance being transcribed is safe on the disk."""

GOODBYE_S = 2.0


class Node:
    """One running Scribe Node. `run` is called once."""

    def __init__(self, config: Config, config_file: Path, notifier: Notifier) -> None:
        self._config = config
        self._parts = Parts(config, config_file, notifier, self._go_online)
        self._handlers = handlers(self._parts)

    def run(self) -> int:
        """Serve until told to stop; return the exit status.

        Whatever was started is stopped in reverse order, also after an error.

        Raises:
            StoreError: the storage folder cannot be used.
            ConfigError: metrics are wanted, and the package for them is not installed.
        """
        os.umask(0o077)  # whatever the folder allows: only this user may read what people say
        parts = self._parts
        with ExitStack() as stops:
            damage = parts.store.open()
            stops.callback(parts.store.close)
            if damage is not None:
                parts.publisher.event("database_damaged", damage)
            if (problem := anonymous_warning(self._config.mqtt)) is not None:
                log.warning("mqtt: %s", problem)
            self._recover()
            if parts.metrics is not None:
                parts.metrics.start()
                stops.callback(parts.metrics.stop)
            self._take_signals()
            self._start_clockwork()
            stops.callback(self._go_offline)  # it goes online once the model has been tried
            parts.listener.start()
            stops.callback(parts.listener.stop, JOIN_S)
            parts.transcriber.start()
            stops.callback(parts.transcriber.stop, JOIN_S)
            self._say_where()
            return self._serve()

    def _say_where(self) -> None:
        transcription = self._config.transcription
        if transcription.where != "broker":
            log.info("loading the model %s", transcription.model)
        if transcription.where != "here":
            log.warning("%s", sound_warning(self._config))

    def _recover(self) -> None:
        """Continue where the last process left off, even if it crashed."""
        parts = self._parts
        parts.eraser.complete()
        parts.home_assistant.load()
        remembered = parts.store.sessions.remembered_mics()
        parts.roster.restore(remembered)
        parts.inventory.recall(remembered)
        parts.states.recall(info.mic for info, _ in remembered)
        parts.scanner.begin()
        waiting = parts.store.utterances.recover()
        if waiting:
            log.warning("%d utterances of an interrupted run wait to be transcribed", waiting)
        newest = parts.conductor.recover(resume=self._config.session.resume)
        if newest is not None:
            parts.states.resume(newest, parts.store.sessions.segments(newest.id))
        if (last := parts.archive.last()) is not None:
            parts.states.last(last)

    def _take_signals(self) -> None:
        """Turn signals into items of the inbox."""
        put = self._parts.inbox.put
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: put(items.StopRequested()))
        signal.signal(signal.SIGHUP, lambda *_: put(items.ReloadRequested()))

    def _start_clockwork(self) -> None:
        """Schedule regular work; each part schedules its own one-off deadlines."""
        parts = self._parts
        parts.deadlines.every(HARDWARE_EVERY_S, parts.scanner.watch)
        parts.deadlines.every(DISK_EVERY_S, parts.watchdog.watch_disk)
        parts.retention.start()
        parts.supervision.start()

    def _serve(self) -> int:
        """Run the main loop."""
        parts = self._parts
        while parts.lifecycle.exit_status is None:
            item = parts.inbox.take(parts.deadlines.wait_s(time.monotonic()))
            if item is not None:
                self._handlers[type(item)](item)
            try:
                parts.deadlines.run(time.monotonic())
                self._settle_sessions()
            except StoreError as error:  # tried again
                parts.watchdog.disk_failed(str(error))
            self._settle()
        return parts.lifecycle.exit_status

    def _settle_sessions(self) -> None:
        """Finish and erase the sessions that are ready; called after each item and deadline.

        Raises:
            StoreError: the disk refuses; the next call tries again.
        """
        if (final := self._parts.conductor.settle()) is not None:
            self._parts.states.last(final)
        self._parts.eraser.settle()

    def _settle(self) -> None:
        """Publish what has changed, and see whether to end; called after each item and deadline."""
        parts = self._parts
        parts.requests.resume()
        parts.home_assistant.settle()
        parts.states.settle()
        parts.supervision.settle()
        parts.publisher.pump()
        if dropped := parts.inbox.dropped():
            message = f"{dropped} commands of a burst were dropped; send them again"
            parts.publisher.event("commands_dropped", message)
        parts.lifecycle.settle()
        busy = parts.lifecycle.is_busy
        parts.deadlines.every(LOOK_EVERY_S if busy else IDLE_LOOK_EVERY_S, self._look)

    def _look(self, now: float) -> None:
        """Check what no item reports: a thread or microphone that has gone silent."""
        self._parts.lifecycle.look(now)
        self._parts.supervision.look(now)

    def _go_online(self) -> None:
        """Start taking requests, once the model is loaded or known not to load."""
        self._parts.broker.start()
        self._parts.health.start()

    def _go_offline(self) -> None:
        if self._parts.publisher.connected:
            self._say_goodbye()
        self._parts.broker.stop()

    def _say_goodbye(self) -> None:
        """Publish `offline` and wait for its acknowledgement: a clean disconnect sends no will."""
        parts = self._parts
        parts.publisher.say_goodbye()
        deadline = time.monotonic() + GOODBYE_S
        while not parts.publisher.has_said_goodbye:
            left = deadline - time.monotonic()
            if left <= 0:
                log.warning("the broker has not acknowledged `offline`; the last will replaces it")
                return
            if isinstance(item := parts.inbox.take(left), Acknowledged):
                parts.publisher.on_acknowledged(item)


def handlers(parts: Parts) -> Mapping[type, Handler]:
    """Return the handler of each kind of item in the inbox."""
    by_topic = {parts.topics.info: parts.lifecycle.on_info, **parts.home_assistant.topics}

    def on_transcribed(item: items.Transcribed) -> None:
        parts.publisher.pump()  # the outbox has the segment: it goes before the states that show it
        parts.states.on_transcribed(item)

    def on_withdrawn(item: items.SegmentWithdrawn) -> None:
        parts.publisher.pump()
        parts.states.on_withdrawn(item)

    return table(
        on(Message, lambda message: by_topic.get(message.topic, parts.requests.take)(message)),
        on(Connected, parts.publisher.on_connected),
        on(Disconnected, parts.lifecycle.on_disconnected),
        on(Acknowledged, parts.publisher.on_acknowledged),
        on(items.StopRequested, parts.lifecycle.on_stop),
        on(items.ReloadRequested, parts.reloader.on_reload),
        on(items.ThreadDied, parts.lifecycle.on_thread_died),
        on(items.ModelReady, parts.lifecycle.on_model_ready),
        on(items.ModelUnavailable, parts.lifecycle.on_model_unavailable),
        on(items.WorkersChanged, parts.lifecycle.on_workers_changed),
        on(items.WorkerUseless, parts.reports.on_worker_useless),
        on(items.AnswersDropped, parts.reports.on_answers_dropped),
        on(items.InputsListed, parts.scanner.on_listed),
        on(items.MicsOpened, parts.conductor.on_opened),
        on(items.MicsRefused, parts.conductor.on_refused),
        on(items.Flushed, parts.conductor.on_flushed),
        on(items.MicJoined, parts.reports.on_mic_joined),
        on(items.MicLost, parts.reports.on_mic_lost),
        on(items.MicBack, parts.reports.on_mic_back),
        on(items.LevelsMeasured, parts.reports.on_levels),
        on(items.SpeechDropped, parts.reports.on_speech_dropped),
        on(items.PartialText, parts.states.on_partial),
        on(items.Transcribed, on_transcribed),
        on(items.SegmentWithdrawn, on_withdrawn),
        on(items.UtteranceFailed, parts.reports.on_utterance_failed),
        on(items.SoundUnreadable, parts.reports.on_sound_unreadable),
        on(items.LoadChanged, parts.reports.on_load),
        on(items.DamageFound, parts.reports.on_damage),
        on(items.DiskFailed, parts.watchdog.on_disk_failed),
    )
