"""Turns the configuration into the settings of each adapter."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from node import __version__
from node.adapters.broker import BrokerSettings
from node.adapters.hardware import digest as short_digest
from node.adapters.hardware import hardware_id
from node.adapters.tls import tls_context
from node.adapters.weights import SHA256, WEIGHTS, digest
from node.adapters.whisper import EngineSettings
from node.config.zone import local_zone
from node.core.mqtt.discovery import Discovery
from node.core.room.endpointing import Endpointing

if TYPE_CHECKING:
    from datetime import tzinfo

    from node.config import Config
    from node.core.mqtt.topics import Topics
    from node.core.work.messages import ModelId


WITHOUT_WORKERS = {
    "here": "",
    "broker": "speech waits on the disk",
    "auto": "all speech is transcribed here",
}
"""What becomes of speech while no worker is there, by `transcription.where`."""


def engine_settings(config: Config) -> EngineSettings:
    transcription = config.transcription
    return EngineSettings(
        model=transcription.model,
        folder=transcription.model_folder,
        download_root=config.storage.path / "models",
        compute_type=transcription.compute_type,
        languages=transcription.languages,
        threads=transcription.threads,
        beam_size=transcription.beam_size,
        window=transcription.window,
        word_timestamps=transcription.word_timestamps,
        hotwords=transcription.hotwords,
        initial_prompt=transcription.initial_prompt,
    )


def worker_engine_settings(config: Config) -> EngineSettings:
    """Return the settings of a worker's engine: nodes say what else they want with each request."""
    return replace(engine_settings(config), hotwords=(), initial_prompt=None)


def broker_settings(config: Config, client: str | None = None) -> BrokerSettings:
    """Return how to connect to the broker, as this node or as another `client`.

    Raises:
        ConfigError: the password file or a certificate cannot be read.
    """
    mqtt = config.mqtt
    tls = mqtt.tls
    return BrokerSettings(
        host=mqtt.host,
        port=mqtt.port,
        # Unique to this node: the broker disconnects one of two clients with the same id. rumqttd
        # takes none with a slash.
        client_id=f"{mqtt.base_topic}/{client or config.node.id}".replace("/", ":"),
        protocol=mqtt.protocol,
        keepalive_s=mqtt.keepalive_s,
        username=mqtt.username,
        password=mqtt.read_password(),
        tls=tls_context(tls.ca_file, tls.cert_file, tls.key_file) if tls.enabled else None,
        tls_ca_file=tls.ca_file,
        websocket_path=mqtt.websocket_path if mqtt.transport == "websockets" else None,
    )


def wanted_model(config: Config) -> ModelId:
    """Return the model that workers must have, as well as this machine can know it.

    That reads the weights if they are in a folder here. Otherwise the hashes of official models are
    built in; of other models only the name is known.
    """
    from node.core.work.messages import ModelId  # noqa: PLC0415 -- only to share work out

    name, folder = config.transcription.model_name, config.transcription.model_folder
    if folder is None:
        return ModelId(name=name, sha256=SHA256.get(name, {}).get(WEIGHTS))
    try:
        return ModelId(name=name, sha256=digest(folder / WEIGHTS))
    except OSError:  # the folder need not be on this machine
        return ModelId(name=name)


def discovery(config: Config, topics: Topics) -> Discovery | None:
    """Return how to announce the node to Home Assistant, or None if that is off."""
    home_assistant = config.homeassistant
    if not home_assistant.enabled:
        return None
    hardware = hardware_id(config.audio.sys_root) or short_digest(topics.root.encode())
    return Discovery(
        topics, home_assistant.discovery_prefix, hardware, home_assistant.language, __version__
    )


def endpointing(config: Config) -> Endpointing:
    return Endpointing(**config.vad.model_dump())


def zone(config: Config) -> tzinfo:
    """Return the time zone of transcripts."""
    return ZoneInfo(config.time_zone) if config.time_zone else local_zone()
