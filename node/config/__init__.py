"""The configuration, and how its file is read.

`config/node.yaml` shows every key with its default. Models are frozen and refuse unknown keys. An
empty key keeps its default. Relative paths start from the folder of the file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from pydantic import BaseModel, ValidationError, model_validator

from node.config.sections import (
    AudioConfig,
    CrosstalkConfig,
    DeviceConfig,
    FileConfig,
    HomeAssistantConfig,
    MetricsConfig,
    MqttConfig,
    NodeConfig,
    Section,
    SessionConfig,
    StorageConfig,
    TlsConfig,
    VadConfig,
    WorkerConfig,
    section,
)
from node.config.transcription import TranscriptionConfig
from node.config.values import TimeZone, default_node_id
from node.config.wording import misplaced, validation_problems
from node.config.yaml_lines import format_path, parse
from node.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from node.config.yaml_lines import Problem

__all__ = [
    "AudioConfig",
    "Config",
    "CrosstalkConfig",
    "DeviceConfig",
    "FileConfig",
    "HomeAssistantConfig",
    "MetricsConfig",
    "MqttConfig",
    "NodeConfig",
    "SessionConfig",
    "StorageConfig",
    "TlsConfig",
    "TranscriptionConfig",
    "VadConfig",
    "WorkerConfig",
    "default_node_id",
    "load_config",
]

MAX_FILE_BYTES = 64 * 1024  # several times the commented default; PyYAML is slow


class Config(Section):
    """The whole configuration, by section."""

    node: NodeConfig = section()
    """Who this node is."""
    mqtt: MqttConfig = section()
    """The broker and how to reach it."""
    audio: AudioConfig = section()
    """Sources of sound."""
    vad: VadConfig = section()
    """Voice activity detection: where utterances start and end."""
    crosstalk: CrosstalkConfig = section()
    """Speech that a microphone picks up from its neighbours."""
    transcription: TranscriptionConfig = section()
    """The speech model."""
    session: SessionConfig = section()
    """Recording sessions."""
    storage: StorageConfig = section()
    """What is kept on disk."""
    homeassistant: HomeAssistantConfig = section()
    """Home Assistant discovery."""
    metrics: MetricsConfig = section()
    """Figures for Prometheus."""
    worker: WorkerConfig = section()
    """This machine as a worker: only `scribe-node worker` reads this section."""
    time_zone: TimeZone | None = None
    """Time zone (IANA name) for times of day in transcripts; the system's if not set."""

    @model_validator(mode="after")
    def _check_where(self) -> Self:
        """Refuse what sharing work out cannot do."""
        where = self.transcription.where
        if where != "here" and self.mqtt.protocol != "5":
            text = f'"{where}" needs MQTT 5; set mqtt.protocol: "5", or where: here'
            raise misplaced(text, "transcription", "where")
        if where == "broker" and self.transcription.partials:
            text = "need a model on this machine; set where: auto, or remove partials"
            raise misplaced(text, "transcription", "partials")
        return self

    def with_changes(
        self,
        *,
        mqtt_host: str | None = None,
        mqtt_port: int | None = None,
        storage_path: Path | None = None,
    ) -> Config:
        """Return a copy with the given values replaced; they are not validated."""
        mqtt = {"host": mqtt_host, "port": mqtt_port}
        storage = {"path": storage_path}
        return self.model_copy(
            update={"mqtt": _changed(self.mqtt, mqtt), "storage": _changed(self.storage, storage)}
        )


def _changed(section: BaseModel, changes: dict[str, Any]) -> BaseModel:
    return section.model_copy(update={k: v for k, v in changes.items() if v is not None})


def load_config(path: Path) -> Config:
    """Read the configuration from the YAML file `path`.

    Raises:
        ConfigError: The file has problems, listed as `FILE:LINE: key.path: what to do`.
    """
    document = parse(_read_text(path))
    problems = list(document.problems)
    try:
        config = Config.model_validate(document.data, context={"folder": path.absolute().parent})
    except ValidationError as error:
        problems += validation_problems(error, Config, document)
    if problems:
        raise ConfigError([_line(path, p) for p in sorted(problems, key=lambda p: p.line)])
    return config


def _read_text(path: Path) -> str:
    try:
        if path.is_fifo():
            raise ConfigError([f"{path}: is a pipe, which can be read only once; give a file"])
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        text = f"{path}: cannot be read: {error.strerror}; give another file with --config"
        raise ConfigError([text]) from error
    if len(content) > MAX_FILE_BYTES:
        raise ConfigError([f"{path}: is larger than {MAX_FILE_BYTES // 1024} KiB; shorten it"])
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError([f"{path}:{line}: is not UTF-8; save the file as UTF-8"]) from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise ConfigError([f"{path}:{line}: has zero bytes, as in UTF-16; save the file as UTF-8"])
    return text


def _line(path: Path, problem: Problem) -> str:
    key = f"{format_path(problem.path)}: " if problem.path else ""
    return f"{path}:{problem.line}: {key}{problem.text}"
