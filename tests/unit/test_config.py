from __future__ import annotations

import os
import re
import socket
from pathlib import Path
from typing import Any, get_args

import pytest
from faster_whisper.tokenizer import _LANGUAGE_CODES
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from node.config import Config, MqttConfig, default_node_id, load_config
from node.config.values import default_worker_id
from node.core.text.languages import WHISPER_LANGUAGES
from node.errors import ConfigError

SHIPPED = Path(__file__).parents[2] / "config"


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.wav", "alice.wav", "ca.pem", "node.pem", "node.key"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)


def load(text: str) -> Config:
    path = Path("node.yaml")
    path.write_text(text)
    return load_config(path)


def problems(text: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load(text)
    return caught.value.problems


def value_at(config: Any, key: str) -> Any:
    for step in key.split("."):
        config = getattr(config, step)
    return config


def sections(model: type[BaseModel]) -> list[type[BaseModel]]:
    """Return `model` and every model in its fields."""
    found = [model]
    for field in model.model_fields.values():
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                found += sections(kind)
    return found


@pytest.mark.parametrize("text", ["", "\n", "# nothing\n", "---\n", "~", "{}", "\ufeff", "mqtt:\n"])
def test_an_empty_file_or_section_means_the_defaults(text: str) -> None:
    assert load(text) == Config()


@pytest.mark.parametrize(
    ("text", "key", "expected"),
    [
        ("node: {id: 12}", "node.id", "12"),
        ("node: {id: 007}", "node.id", "007"),
        ("node: {id: }", "node.id", default_node_id(socket.gethostname())),
        ("mqtt: {port: 1884}", "mqtt.port", 1884),
        ("mqtt: {tls: {enabled: true}}", "mqtt.port", 8883),
        ("mqtt: {tls: {enabled: on}, port: 1883}", "mqtt.port", 1883),
        ("mqtt: {transport: websockets}", "mqtt.port", 80),
        ("mqtt: {transport: websockets, tls: {enabled: true}}", "mqtt.port", 443),
        ("mqtt: {transport: websockets, port: 9001}", "mqtt.port", 9001),
        ("mqtt: {transport: tcp}", "mqtt.websocket_path", "/mqtt"),
        ("mqtt: {websocket_path: '/ws?a=b'}", "mqtt.websocket_path", "/ws?a=b"),
        ("mqtt: {host: '::1'}", "mqtt.host", "::1"),
        ("mqtt: {protocol: 5}", "mqtt.protocol", "5"),
        ("mqtt: {protocol: 3.1.1}", "mqtt.protocol", "3.1.1"),
        ("mqtt: {username: 1234}", "mqtt.username", "1234"),
        ("mqtt: {base_topic: home/scribe}", "mqtt.base_topic", "home/scribe"),
        ("crosstalk: {mode: off}", "crosstalk.mode", "off"),
        ("crosstalk: {mode: 'off'}", "crosstalk.mode", "off"),
        ("storage: {keep_audio: yes}", "storage.keep_audio", True),
        ("storage: {}", "storage.keep_days", None),
        ("storage: {keep_days: 30}", "storage.keep_days", 30),
        ("vad: {soft_cap_s: 10}", "vad.soft_cap_s", 10.0),
        ("vad: {soft_cap_s: 1e1}", "vad.soft_cap_s", 10.0),
        ("transcription: {language: no}", "transcription.language", "no"),
        ("transcription: {languages: []}", "transcription.languages", ()),
        ("transcription: {languages: [no, en]}", "transcription.languages", ("no", "en")),
        ("transcription: {model: small}", "transcription.model_folder", None),
        ("time_zone: Europe/Paris", "time_zone", "Europe/Paris"),
        ("audio: {devices: [{mic: x, device: hw:0}]}", "audio.source", "portaudio"),
        ("audio: {source: files, files: [{mic: x, file: a.wav}]}", "audio.source", "files"),
    ],
)
def test_text_is_read_as_its_key_asks(text: str, key: str, expected: object) -> None:
    assert value_at(load(text), key) == expected


def test_relative_paths_start_from_the_folder_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.chdir("/")
    path = tmp_path / "node.yaml"
    path.write_text(
        "mqtt: {password_file: ~/secret}\nstorage: {path: store}\ntranscription: {model: ./m}\n"
        "audio: {proc_root: /p, source: files, files: [{mic: x, file: a.wav}]}"
    )
    config = load_config(path)
    assert config.mqtt.password_file == Path("/home/someone/secret")
    assert config.storage.path == tmp_path / "store"
    assert config.transcription.model_folder == tmp_path / "m"
    assert config.audio.proc_root == Path("/p")
    assert config.audio.files[0].file == tmp_path / "a.wav"
    assert Config().storage.path == Path("/home/someone/.local/share/scribe-node")


def test_a_home_that_is_not_there_is_told_under_the_key_that_needs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", lambda uid: {}[uid])
    (problem,) = problems("")
    assert problem.startswith(
        'node.yaml:1: storage.path: "~/.local/share/scribe-node": there is no'
    )


@pytest.mark.parametrize(
    ("hostname", "expected"),
    [
        ("raspberrypi", "raspberrypi"),
        ("Salle-3.example.org", "salle-3-example-org"),
        ("Rez de Chaussée", "rez-de-chaussee"),
        ("under_score", "under_score"),
        ("", "node"),
        ("日本", "node"),
        ("ALL", "node"),
        ("Worker", "node"),
        (31 * "a" + "-b", 31 * "a"),
    ],
)
def test_the_host_name_becomes_a_node_id(hostname: str, expected: str) -> None:
    assert default_node_id(hostname) == expected


@pytest.mark.parametrize(
    ("hostname", "expected"),
    [("Attic.example", "attic-example"), ("worker", "worker"), ("", "worker")],
)
def test_the_host_name_becomes_a_worker_id(hostname: str, expected: str) -> None:
    assert default_worker_id(hostname) == expected


@given(st.text(alphabet="aL1-_. éßł日İ\0", max_size=40))
@settings(max_examples=50, deadline=None, database=None)
def test_any_host_name_gives_a_valid_node_id(hostname: str) -> None:
    config = Config.model_validate({"node": {"id": default_node_id(hostname)}})
    assert config.node.id != "all"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"secret", "secret"),
        (b"secret\n", "secret"),
        (b"secret\r\n", "secret"),
        (b"secret\r\n\r\n", "secret"),
        (b"\xef\xbb\xbfsecret\r\n", "secret"),
        (b" s\xc3\xa9 \n\n", " sé "),
    ],
)
def test_the_password_is_what_stands_in_the_line(content: bytes, expected: str) -> None:
    Path("p").write_bytes(content)
    config = load("mqtt: {username: u, password_file: p}")
    assert config.mqtt.read_password() == expected
    assert "secret" not in repr(config)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "cannot be read: No such file"),
        (b"\xff", "is not UTF-8 text"),
        ("secret".encode("utf-16"), "is not UTF-8 text"),
        (b"\n", "is empty"),
        (b"\xef\xbb\xbf\r\n", "is empty"),
        (b"user\nsecret\n", "has several lines"),
        (b"user\rsecret", "has several lines"),
    ],
)
def test_a_bad_password_file_is_named_with_its_key(content: bytes | None, why: str) -> None:
    if content is not None:
        Path("p").write_bytes(content)
    with pytest.raises(ConfigError, match=rf"^mqtt\.password_file: /.*/p {why}"):
        load("mqtt: {username: u, password_file: p}").mqtt.read_password()


@pytest.mark.parametrize(
    ("mode", "private"), [(0o600, True), (0o640, True), (0o644, False), (0o602, False)]
)
def test_a_password_file_open_to_others_is_noticed(mode: int, *, private: bool) -> None:
    Path("p").touch()
    Path("p").chmod(mode)
    assert MqttConfig(password_file=Path("p")).password_file_is_private() is private


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("'[::1]'", "::1"),
        ("'[fe80::1%eth0]'", "fe80::1%eth0"),
        ("'[::ffff:192.0.2.1]'", "::ffff:192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("broker.lan", "broker.lan"),
    ],
)
def test_an_address_may_stand_in_brackets(host: str, address: str) -> None:
    assert load(f"mqtt: {{host: {host}}}").mqtt.host == address


def test_no_password_file_means_no_password() -> None:
    assert MqttConfig().read_password() is None
    assert MqttConfig().password_file_is_private()
    assert MqttConfig(password_file=Path("missing")).password_file_is_private()
    assert MqttConfig(password_file=Path("/tmp")).password_file_is_private()  # noqa: S108 -- a folder; nobody is told to lock it


def test_a_password_written_into_the_file_is_not_repeated() -> None:
    (problem,) = problems("mqtt: {password: hunter2}")
    assert "password_file" in problem
    assert "hunter2" not in problem


def test_an_unreadable_file_is_told_apart_from_a_missing_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may read everything
    (problem,) = problems("mqtt: {tls: {enabled: true, ca_file: ca.pem}}")
    assert problem.endswith("is not readable by this user; change its permissions")


def test_changes_leave_the_original_alone() -> None:
    config = Config()
    changed = config.with_changes(mqtt_host="b", mqtt_port=1, storage_path=Path("/s"))
    assert (changed.mqtt.host, changed.mqtt.port, changed.storage.path) == ("b", 1, Path("/s"))
    assert config.with_changes() == config == Config()
    assert changed.mqtt.base_topic == config.mqtt.base_topic


def test_the_configuration_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Config().mqtt.port = 1  # type: ignore[misc]


def test_the_languages_are_those_of_faster_whisper() -> None:
    assert frozenset(_LANGUAGE_CODES) == WHISPER_LANGUAGES


def test_the_shipped_configuration_is_the_defaults() -> None:
    assert load_config(SHIPPED / "node.yaml") == Config()


def test_the_shipped_configuration_shows_every_key() -> None:
    shown = set(re.findall(r"^[ #-]*([a-z_]+):", (SHIPPED / "node.yaml").read_text(), re.MULTILINE))
    assert {name for section in sections(Config) for name in section.model_fields} <= shown


def test_the_examples_in_the_shipped_configuration_only_need_uncommenting() -> None:
    names = (
        "id|username|password_file|ca_file|cert_file|key_file|mic|device|rate|file|loop|time_zone"
    )
    text = (SHIPPED / "node.yaml").read_text()
    text = re.sub(rf"^( *)# ([ -]*(?:{names}): )", r"\1\2", text, flags=re.MULTILINE)
    text = text.replace("source: portaudio", "source: files").replace(
        "enabled: false", "enabled: on"
    )
    config = load(text)
    assert config.node.id == "meeting-room"
    assert config.mqtt.tls.key_file == Path.cwd() / "node.key"
    assert [item.rate for item in config.audio.devices] == [48000]
    assert [item.mic for item in config.audio.files] == ["alice"]
    assert config.time_zone == "Europe/Paris"


def test_every_key_says_what_it_means() -> None:
    for section in sections(Config):
        for name, field in section.model_fields.items():
            assert field.description, f"{section.__name__}.{name}"


def test_the_demo_configuration_plays_its_three_microphones() -> None:
    config = load_config(SHIPPED / "demo" / "node.yaml")
    mics = [(item.mic, item.file.name, item.loop) for item in config.audio.files]
    names = ("mic-alice", "mic-bruno", "mic-chloe")
    assert mics == [(name, f"{name}.wav", False) for name in names]
    assert config.transcription.model_folder == SHIPPED / "demo" / "model"
