"""The sections of the configuration: their keys, defaults and checks."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from node.config.values import (
    ExistingFile,
    Host,
    MicId,
    NodeId,
    Port,
    ResolvedPath,
    SampleRate,
    Text,
    Topic,
    WebPath,
    WorkerId,
    default_node_id,
    default_worker_id,
)
from node.config.wording import misplaced
from node.core.mqtt.discovery import NameLanguage  # noqa: TC001 -- pydantic looks it up
from node.errors import ConfigError

MAX_MICS = 64
"""Also the limit of a request; each microphone takes a process."""


def section() -> Any:
    # Validated from an empty mapping, so that a bad default is reported under its section.
    return Field(default_factory=dict)


class Section(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        validate_default=True,
        use_attribute_docstrings=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _empty_keeps_default(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        known = cls.model_fields
        return {key: value for key, value in data.items() if value is not None or key not in known}


class NodeConfig(Section):
    id: NodeId = Field(default_factory=lambda: default_node_id(socket.gethostname()))
    """Name of this node in topics; must be unique on the broker."""


class TlsConfig(Section):
    enabled: bool = False
    """Encrypt the connection to the broker."""
    ca_file: ExistingFile | None = None
    """PEM file of the authority that signed the broker's certificate; the system's if not set."""
    cert_file: ExistingFile | None = None
    """PEM file of this node's certificate, if the broker asks for one."""
    key_file: ExistingFile | None = None
    """PEM file of the private key for `cert_file`."""

    @field_validator("ca_file", "cert_file", "key_file")
    @classmethod
    def _check_enabled(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value is not None and info.data.get("enabled") is False:
            raise ValueError("is set but TLS is off; set mqtt.tls.enabled: true or remove it")
        return value

    @field_validator("key_file")
    @classmethod
    def _check_pair(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if "cert_file" in info.data and (value is None) != (info.data["cert_file"] is None):
            raise ValueError("cert_file and key_file go together; give both or neither")
        return value


def default_port(mqtt: dict[str, Any]) -> int:
    """Return the port registered for how MQTT is carried, given the keys before `port`."""
    encrypted = "tls" in mqtt and mqtt["tls"].enabled
    if mqtt.get("transport") == "websockets":
        return 443 if encrypted else 80
    return 8883 if encrypted else 1883


class MqttConfig(Section):
    host: Host = "localhost"
    """Host name or address of the broker."""
    tls: TlsConfig = section()
    """Encryption of the connection."""
    transport: Literal["tcp", "websockets"] = "tcp"
    """How MQTT is carried: `websockets` for a broker behind a web server or proxy."""
    websocket_path: WebPath = "/mqtt"
    """Path of the broker's WebSocket, with `transport: websockets`."""
    port: Port = Field(default_factory=default_port)
    """TCP port of the broker; by default 1883, or 8883 with TLS; with WebSockets 80 or 443."""
    base_topic: Topic = "scribe"
    """First level or levels of every topic."""
    protocol: Literal["5", "3.1.1"] = "5"
    """MQTT version."""
    keepalive_s: int = Field(default=30, ge=5, le=600)
    """Seconds of silence after which the connection is probed."""
    username: Text | None = None
    """User name for the broker; anonymous if not set."""
    password_file: ResolvedPath | None = None
    """File that holds the password; a systemd credential with the same name takes precedence."""

    @field_validator("password_file")
    @classmethod
    def _check_username(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        anonymous = "username" in info.data and info.data["username"] is None
        if value is not None and anonymous and info.data.get("protocol") == "3.1.1":
            raise ValueError("MQTT 3.1.1 has no password without a user; set mqtt.username")
        return value

    def read_password(self) -> str | None:
        """Return the password without trailing line breaks; None if no file is configured.

        Raises:
            ConfigError: The file cannot be read, is not UTF-8, is empty or has several lines.
        """
        if self.password_file is None:
            return None
        try:
            file = self._credential() or self.password_file
            if file.is_fifo():
                raise self._password_error("is a pipe, which can be read only once; give a file")
            content = file.read_bytes().decode("utf-8-sig")
        except OSError as error:
            raise self._password_error(f"cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise self._password_error("is not UTF-8 text") from error
        password = content.rstrip("\r\n")
        if not password:
            raise self._password_error("is empty; write the password to it")
        if "\n" in password or "\r" in password:
            raise self._password_error("has several lines; it must contain only the password")
        return password

    def _credential(self) -> Path | None:
        """Return the systemd credential with the same name as the password file, if any."""
        assert self.password_file is not None
        credential = Path(os.environ.get("CREDENTIALS_DIRECTORY", "")) / self.password_file.name
        return credential if credential.is_absolute() and credential.is_file() else None

    def password_file_is_private(self) -> bool:
        """Return whether only owner and group have access; True if there is no such file."""
        file = self.password_file
        try:
            return not (file and file.is_file() and file.stat().st_mode & stat.S_IRWXO)
        except OSError:
            return True  # read_password reports what is wrong

    def _password_error(self, text: str) -> ConfigError:
        return ConfigError([f"mqtt.password_file: {self.password_file} {text}"])


class DeviceConfig(Section):
    mic: MicId
    """Id of the microphone in topics: a-z, 0-9, "_" and "-"."""
    device: Text
    """Name of the input in PortAudio or ALSA, or a part of it that matches no other."""
    rate: SampleRate | None = None
    """Sample rate in Hz; the first of `audio.rates` that works if not set."""


class FileConfig(Section):
    mic: MicId
    """Id of the microphone in topics: a-z, 0-9, "_" and "-"."""
    file: ExistingFile
    """Audio file played in real time as if the microphone heard it."""
    loop: bool = False
    """Start again at the end of the file."""


class AudioConfig(Section):
    source: Literal["portaudio", "files"] = "portaudio"
    """Where sound comes from: `portaudio` for microphones, `files` to play files instead."""
    devices: tuple[DeviceConfig, ...] = Field(default=(), max_length=MAX_MICS)
    """Inputs opened by name, in addition to USB microphones."""
    files: tuple[FileConfig, ...] = Field(default=(), max_length=MAX_MICS)
    """Files played with `source: files`."""
    proc_root: ResolvedPath = Path("/proc")
    """Mount point of the kernel's process file system."""
    sys_root: ResolvedPath = Path("/sys")
    """Mount point of the kernel's device file system."""
    rates: Annotated[tuple[SampleRate, ...], Field(min_length=1)] = (16000, 48000, 44100, 32000)
    """Sample rates in Hz, in the order tried; 16000 needs no resampling for the model."""

    @field_validator("files")
    @classmethod
    def _check_source(
        cls, value: tuple[FileConfig, ...], info: ValidationInfo
    ) -> tuple[FileConfig, ...]:
        source = info.data.get("source")
        if source == "files" and not value:
            raise ValueError("is empty; list {mic, file} or set audio.source: portaudio")
        if source == "portaudio" and value:
            raise ValueError("are not played; set audio.source: files or remove them")
        return value

    @field_validator("devices", "files")
    @classmethod
    def _check_mics_differ(
        cls, value: tuple[DeviceConfig | FileConfig, ...], info: ValidationInfo
    ) -> tuple[DeviceConfig | FileConfig, ...]:
        seen = {item.mic for item in info.data.get("devices", ())}
        for index, item in enumerate(value):
            if item.mic in seen:
                text = f'"{item.mic}" is already the id of another microphone; choose another'
                raise misplaced(text, index, "mic")
            seen.add(item.mic)
        return value


class VadConfig(Section):
    start_threshold: float = Field(default=0.5, ge=0.05, le=0.95)
    """Speech probability at which an utterance starts."""
    stop_threshold: float = Field(default=0.35, ge=0.01, le=0.95)
    """Speech probability below which an utterance can end; at most `start_threshold`."""
    min_speech_ms: int = Field(default=250, ge=30, le=2000)
    """Utterances with fewer milliseconds of speech are dropped as noise. Speech of twice the
    `start_threshold` counts twice."""
    hangover_ms: int = Field(default=1000, ge=100, le=5000)
    """Milliseconds without speech that end an utterance."""
    pre_roll_ms: int = Field(default=300, ge=0, le=2000)
    """Milliseconds of sound kept from before the start of an utterance."""
    soft_cap_s: float = Field(default=20, ge=1, le=28)
    """Seconds after which an utterance is cut at its longest pause; below `hard_cap_s`."""
    hard_cap_s: float = Field(default=28, ge=1, le=28)
    """Seconds after which an utterance is always cut; Whisper hears at most 30 s at a time."""

    @field_validator("stop_threshold")
    @classmethod
    def _check_thresholds(cls, value: float, info: ValidationInfo) -> float:
        start = info.data.get("start_threshold", value)
        if value > start:
            raise ValueError(f"must be at most vad.start_threshold ({start:g}), not {value:g}")
        return value

    @field_validator("hard_cap_s")
    @classmethod
    def _check_caps(cls, value: float, info: ValidationInfo) -> float:
        soft = info.data.get("soft_cap_s", 0)
        if value <= soft:
            raise ValueError(f"must be above vad.soft_cap_s ({soft:g}), not {value:g}")
        return value


class CrosstalkConfig(Section):
    mode: Literal["drop", "tag", "off"] = "drop"
    """What to do with another microphone's speech: leave it out, mark it, or keep it."""


class SessionConfig(Section):
    resume: bool = False
    """Continue a session that a crash or power cut interrupted."""


class StorageConfig(Section):
    path: ResolvedPath = Path("~/.local/share/scribe-node")
    """Folder for transcripts, the database and sound waiting to be transcribed."""
    keep_audio: bool = False
    """Keep the sound of sessions after it is transcribed."""
    max_spool_mb: int = Field(default=2048, ge=10)
    """Most megabytes of sound on disk."""
    keep_days: int | None = Field(default=None, ge=1, le=36500)
    """Days after which a finished session is removed without a trace; never if not set."""
    keep_sessions: int | None = Field(default=None, ge=1)
    """How many of the newest finished sessions to keep; all if not set."""


class WorkerConfig(Section):
    id: WorkerId = Field(default_factory=lambda: default_worker_id(socket.gethostname()))
    """Name of this worker in topics; must be unique among the workers on the broker."""
    slots: int = Field(default=2, ge=1, le=16)
    """Requests it takes at a time: one is transcribed, the others wait."""


class MetricsConfig(Section):
    enabled: bool = False
    """Serve metrics for Prometheus; needs the package of the extra `metrics`."""
    host: Host = "127.0.0.1"
    """Address to serve them on; anybody who can reach it can read them."""
    port: Port = 9464
    """TCP port to serve them on."""


class HomeAssistantConfig(Section):
    enabled: bool = False
    """Announce the node to Home Assistant."""
    discovery_prefix: Topic = "homeassistant"
    """Home Assistant's discovery topic."""
    language: NameLanguage = "en"
    """Language of entity names."""
