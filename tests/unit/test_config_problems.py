from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TypeAlias

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from node.config import Config, load_config
from node.errors import ConfigError
from tests.unit import anything

Case: TypeAlias = tuple[str | bytes, str]

WRONG_KIND: list[Case] = [
    ("mqtt:\n  port: no", '2: mqtt.port: must be a whole number, not "no"'),
    ("mqtt:\n  keepalive_s: 1:30", '2: mqtt.keepalive_s: must be a whole number, not "1:30"'),
    ("mqtt:\n  port: 1e3", '2: mqtt.port: must be a whole number, not "1e3"'),
    ("mqtt:\n  port: " + 5000 * "9", "2: mqtt.port: must be a whole number, "),
    ("mqtt:\n  port: 70000", '2: mqtt.port: must be at most 65535, not "70000"'),
    ("mqtt: {keepalive_s: 4}", '1: mqtt.keepalive_s: must be at least 5, not "4"'),
    ("vad: {start_threshold: .nan}", "1: vad.start_threshold: must be a number, "),
    ("vad: {start_threshold: nan}", "1: vad.start_threshold: must be a number, "),
    ("session: {resume: 1:30}", '1: session.resume: must be true or false, not "1:30"'),
    ("crosstalk: {mode: on}", "1: crosstalk.mode: must be 'drop', 'tag' or 'off', not \"on\""),
    ("mqtt: {protocol: 3.1}", "1: mqtt.protocol: must be '5' or '3.1.1', not \"3.1\""),
    ("mqtt: {transport: ws}", "1: mqtt.transport: must be 'tcp' or 'websockets'"),
    *(
        (f"mqtt: {{websocket_path: {path}}}", '1: mqtt.websocket_path: must begin with "/"')
        for path in ("mqtt", '"/a b"', "/é", '""')
    ),
    (
        "mqtt: {protocol: 3.1.1}\ntranscription:\n  where: broker",
        '3: transcription.where: "broker" needs MQTT 5; set mqtt.protocol: "5", or where: here',
    ),
    (
        "mqtt: {protocol: 3.1.1}\ntranscription: {where: auto}",
        '2: transcription.where: "auto" needs MQTT 5',
    ),
    (
        "transcription: {where: broker, partials: true}",
        "1: transcription.partials: need a model on this machine; set where: auto",
    ),
    ("transcription: {where: there}", "1: transcription.where: must be 'here', 'broker' or 'auto'"),
    ("worker: {slots: 0}", "1: worker.slots: must be at least 1"),
    ("worker: {id: Attic}", "1: worker.id: must be 1 to 32 characters"),
    ("transcription: {beam_size: 11}", "1: transcription.beam_size: must be at most 10"),
    ("transcription: {window: half}", "1: transcription.window: must be 'fit' or 'full'"),
    ("transcription: {hotwords: ['']}", "1: transcription.hotwords[0]: must not be empty"),
    ("transcription: {initial_prompt: ''}", "1: transcription.initial_prompt: must not be empty"),
    ("storage: {max_spool_mb: 9}", "1: storage.max_spool_mb: must be at least 10"),
    ("storage: {keep_days: 0}", "1: storage.keep_days: must be at least 1"),
    ("storage: {keep_sessions: 0}", "1: storage.keep_sessions: must be at least 1"),
]
WRONG_SHAPE: list[Case] = [
    ("- a\n- b", '1: must have sections such as "mqtt:" at its top level'),
    ("hello", '1: must have sections such as "mqtt:" at its top level'),
    ("\nmqtt: localhost", '2: mqtt: must hold keys, indented below it, not "localhost"'),
    ("mqtt: {host: [a]}", "1: mqtt.host: must be text, not a list"),
    ("mqtt: {host: {a: b}}", "1: mqtt.host: must be text, not keys and values"),
    ("mqtt: {host: ''}", "1: mqtt.host: must not be empty"),
    ("mqtt: {password_file: []}", "1: mqtt.password_file: must be a path, not a list"),
    ("audio: {rates: 16000}", "1: audio.rates: must be a list, such as [a, b], not "),
    ("audio: {rates: []}", "1: audio.rates: must not be an empty list"),
    ("audio:\n  devices:\n    -\n", "3: audio.devices[0]: must hold keys, indented below it, "),
    ("audio:\n  devices:\n  - mic: x", "3: audio.devices[0].device: is missing; add it"),
]
WRONG_KEY: list[Case] = [
    ("\nmqtt:\n  prot: 1", '3: mqtt.prot: unknown key, did you mean "port"?'),
    ("mqtt:\n tls:\n  on: 1", "3: mqtt.tls.on: unknown key; the keys here are enabled, ca_"),
    ("mqtt:\n  zzz:", "2: mqtt.zzz: unknown key; the keys here are host, tls, transport, "),
    ("mqqt: {}", '1: mqqt: unknown key, did you mean "mqtt"?'),
    (
        "audio:\n  devices:\n  - {mic: x, device: y, rat: 1}",
        "3: audio.devices[0].rat: unknown key, ",
    ),
    ("mqtt:\n  port: 1\n  port: 2", "3: mqtt.port: is already on line 2; keep one of them"),
    ("mqtt: {}\n\nmqtt: {}", "3: mqtt: is already on line 1; keep one of them"),
    ("mqtt:\n  [a]: 1", "2: mqtt: has a list or mapping as a key; use a word"),
]
WRONG_NAME: list[Case] = [
    ("node: {id: Rez de Chaussée}", '1: node.id: must be 1 to 32 characters of a-z, 0-9, "_" '),
    ("node: {id: all}", '1: node.id: "all" is reserved for the group of all nodes; choose '),
    ("node: {id: work}", '1: node.id: "work" is reserved for the topics of work; choose '),
    ("node: {id: worker}", '1: node.id: "worker" is reserved for the topics of workers; '),
    ("node: {id: " + 33 * "a" + "}", "1: node.id: must be 1 to 32 characters"),
    ("mqtt: {host: mqtt://b}", "1: mqtt.host: must be only a host name or address, "),
    ("mqtt: {host: 'b:1883'}", "1: mqtt.host: must not include the port; set mqtt.port"),
    ("mqtt: {host: '[::1]:1883'}", "1: mqtt.host: must not include the port; set mqtt.port"),
    ("mqtt: {host: '[b]'}", '1: mqtt.host: "[b]" is not an IPv6 address in brackets'),
    ("mqtt: {host: '[::1]x'}", '1: mqtt.host: "[::1]x" is not an IPv6 address in brackets'),
    (
        "mqtt:\n  host: [fe80::1]",
        "2: mqtt.host: must be text, not a list; write an IPv6 address wi",
    ),
    ("mqtt: {host: a..b}", '1: mqtt.host: "a..b" is not a host name: each part between dots has'),
    ("mqtt: {host: " + 64 * "a" + "}", '1: mqtt.host: "aaaa'),
    ("storage: {path: ''}", "1: storage.path: must not be empty"),
    ("mqtt: {username: u, password_file: ''}", "1: mqtt.password_file: must not be empty"),
    ("audio: {rates: [7999]}", "1: audio.rates[0]: must be at least 8000, not "),
    ("transcription: {hotwords: [" + 51 * "a," + "]}", "1: transcription.hotwords: must have at "),
    ("transcription: {initial_prompt: " + 1001 * "a" + "}", "1: transcription.initial_prompt: mu"),
    ("'': 1", '1: "": unknown key; the keys here are '),
    ("mqtt: {host: a}".encode("utf-16-be"), "1: has zero bytes, as in UTF-16; save the file as "),
    ("mqtt: {base_topic: a/+}", '1: mqtt.base_topic: must not contain the MQTT wildcards "+"'),
    ("mqtt: {base_topic: 'a#'}", '1: mqtt.base_topic: must not contain the MQTT wildcards "+"'),
    ("mqtt: {base_topic: /a}", '1: mqtt.base_topic: must not start or end with "/" or '),
    ("mqtt: {base_topic: a/}", '1: mqtt.base_topic: must not start or end with "/" or '),
    ("mqtt: {base_topic: a//b}", '1: mqtt.base_topic: must not start or end with "/" or '),
    ("mqtt: {base_topic: $SYS}", '1: mqtt.base_topic: must not start with "$": such topics'),
    ("mqtt: {base_topic: ''}", "1: mqtt.base_topic: must have 1 to 64 characters"),
    ("mqtt: {base_topic: " + 65 * "a" + "}", "1: mqtt.base_topic: must have 1 to 64 char"),
    ("audio: {devices: [{mic: A/b, device: x}]}", "1: audio.devices[0].mic: must be 1 to 64"),
    (
        "transcription: {language: fr-FR}",
        '1: transcription.language: "fr-FR" is not a language',
    ),
    ("transcription: {languages: [en, auto]}", '1: transcription.languages[1]: "auto" is not '),
    ("time_zone: Europe/Pari", '1: time_zone: "Europe/Pari" is not a time zone of this sys'),
    ("time_zone: ../etc", '1: time_zone: "../etc" is not a time zone of this system'),
    ("time_zone: Europe", '1: time_zone: "Europe" is not a time zone of this system'),
]
WRONG_TOGETHER: list[Case] = [
    ("vad:\n  stop_threshold: 0.6", "2: vad.stop_threshold: must be at most vad.start_thresho"),
    ("vad:\n  soft_cap_s: 28", "1: vad.hard_cap_s: must be above vad.soft_cap_s (28), not 28"),
    ("vad: {hard_cap_s: 29}", "1: vad.hard_cap_s: must be at most 28"),
    ("mqtt:\n tls:\n  ca_file: ca.pem", "3: mqtt.tls.ca_file: is set but TLS is off; set "),
    (
        "mqtt:\n tls:\n  enabled: true\n  cert_file: node.pem",
        "2: mqtt.tls.key_file: cert_file and key_file go together; give both or neither",
    ),
    (
        "mqtt:\n tls:\n  enabled: true\n  key_file: node.key",
        "4: mqtt.tls.key_file: cert_file and key_file go together; give both or neither",
    ),
    (
        "mqtt: {protocol: 3.1.1, password_file: p}",
        "1: mqtt.password_file: MQTT 3.1.1 has no password without a user; set mqtt.username",
    ),
    ("audio:\n  source: files", "1: audio.files: is empty; list {mic, file} or set audio.sou"),
    (
        "audio:\n  files:\n  - {mic: x, file: a.wav}",
        "2: audio.files: are not played; set audio.source: files or remove them",
    ),
    (
        "audio:\n  devices:\n  - {mic: x, device: a}\n  - mic: x\n    device: b",
        '4: audio.devices[1].mic: "x" is already the id of another microphone; choose another',
    ),
    (
        "audio:\n source: files\n devices: [{mic: x, device: a}]\n files: [{mic: x, file: a.wav}]",
        '4: audio.files[0].mic: "x" is already the id of another microphone; choose another',
    ),
]
WRONG_FILE: list[Case] = [
    ("mqtt: {tls: {enabled: true, ca_file: no.pem}}", "1: mqtt.tls.ca_file: there is no file "),
    ("audio: {source: files, files: [{mic: x, file: .}]}", "1: audio.files[0].file: there is "),
    ("storage: {path: ~nobody-of-this-name/x}", '1: storage.path: "~nobody-of-this-name/x": '),
]
WRONG_YAML: list[Case] = [
    ("mqtt:\n\tport: 1", "2: is not valid YAML: a tab stands here; indent with spaces"),
    ("mqtt:\n  host: a: b", "2: is not valid YAML: mapping values are not allowed here; check"),
    ("mqtt: {\n", "2: is not valid YAML: while parsing a flow "),
    ("a: 1\n---\nb: 2", "2: is not valid YAML: expected a single document in the stream: "),
    ("mqtt: &a {}\nvad: *a", "2: aliases (*name) are not allowed; write the value out"),
    ("\nmqtt: !secret x", "2: the tag '!secret' is not allowed; write only the value"),
    ("mqtt: !!python/object:os.system x", "1: the tag 'tag:yaml.org,2002:python/object:os."),
    ("\nmqtt:\n  host: \x07", "3: contains the character U+0007; remove it"),
    ('mqtt:\n  host: "a\\0"', "2: mqtt.host: contains the character U+0000; remove it"),
    ('mqtt:\n  host: "\\ud800"', "2: mqtt.host: contains the character U+D800; remove it"),
    ('mqtt:\n  host: "\\UFFFFFFFF"', "2: is not valid YAML: an escape or number is out"),
    ("mqtt:\n  ho\u00a0st: a", "2: mqtt: contains the character U+00A0; remove it"),
    ("x: " + 100 * "[", "1: is nested more than 16 levels deep"),
    (b"mqtt:\n  host: caf\xe9", "2: is not UTF-8; save the file as UTF-8"),
    ("a: 1".encode("utf-16"), "1: is not UTF-8; save the file as UTF-8"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("config")
    for name in ("a.wav", "ca.pem", "node.pem", "node.key"):
        (made / name).touch()
    return made


@pytest.fixture(autouse=True)
def _in_the_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


def refusals(content: str | bytes) -> tuple[str, ...]:
    path = Path("node.yaml")
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    try:
        load_config(path)
    except ConfigError as error:
        return error.problems
    return ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *WRONG_KIND,
        *WRONG_SHAPE,
        *WRONG_KEY,
        *WRONG_NAME,
        *WRONG_TOGETHER,
        *WRONG_FILE,
        *WRONG_YAML,
    ],
)
def test_a_problem_names_its_line_and_key(text: str | bytes, expected: str) -> None:
    (problem,) = refusals(text)
    assert problem.startswith(f"node.yaml:{expected}")


def test_all_problems_are_told_at_once_in_order_of_lines() -> None:
    text = (
        "mqtt:\n  port: x\n  port: y\n  tls:\n    enabled: maybe\n"
        "vad:\n  stop_threshold: 0.9\n  hangover_ms: -1\nzone: UTC\n"
    )
    lines = [int(problem.split(":")[1]) for problem in refusals(text)]
    assert lines == [2, 3, 5, 7, 8, 9]


def test_a_wrong_section_does_not_hide_its_dependents_or_invent_refusals() -> None:
    (problem,) = refusals("mqtt: {tls: {enabled: maybe}}")
    assert problem.startswith("node.yaml:1: mqtt.tls.enabled: ")


def test_a_file_that_cannot_be_read_is_named() -> None:
    for path, why in ((Path("no.yaml"), "No such file"), (Path(), "Is a directory")):
        with pytest.raises(ConfigError, match=f"{path}: cannot be read: {why}"):
            load_config(path)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    """SIGHUP reads the files again, and such a file would block the node for ever."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match=f"{tmp_path}/pipe: is a pipe, which can be read only on"):
        load_config(tmp_path / "pipe")
    config = Config.model_validate({"mqtt": {"username": "u", "password_file": tmp_path / "pipe"}})
    with pytest.raises(ConfigError, match=f"mqtt.password_file: {tmp_path}/pipe is a pipe"):
        config.mqtt.read_password()


def test_more_mics_than_can_be_recorded_are_refused() -> None:
    devices = [{"mic": f"m{number}", "device": "x"} for number in range(65)]
    (problem,) = refusals(yaml.safe_dump({"audio": {"devices": devices}}))
    assert problem == "node.yaml:2: audio.devices: must have at most 64 entries, not 65"


def test_an_oversized_file_is_refused() -> None:
    (problem,) = refusals("#" * (64 * 1024 + 1))
    assert problem == "node.yaml: is larger than 64 KiB; shorten it"


_KEYS = [*re.findall(r"(\w+)=", repr(Config())), "mic", "device", "rate", "file", "loop"]
_WORDS = ["files", "off", "a.wav", "~", "~x/", "/", "a/b", "\0", "1e999", "en"]
_FEW = settings(
    max_examples=40,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@given(st.text(alphabet="ab:-[]{}&*!%?|>'\"\\\n\t #~0U", max_size=40) | st.binary(max_size=20))
@_FEW
def test_no_text_gets_past_configerror(content: str | bytes) -> None:
    for problem in refusals(content):
        assert re.match(r"node\.yaml(:\d+)?: \S", problem)
        assert problem.isprintable()


@given(
    anything.objects(list(Config.model_fields), *_KEYS, *_WORDS) | anything.values(*_KEYS, *_WORDS)
)
@_FEW
def test_no_yaml_gets_past_configerror(tree: object) -> None:
    for problem in refusals(yaml.safe_dump(tree)):
        assert re.match(r"node\.yaml:\d+: \S", problem)
        assert problem.isprintable()
