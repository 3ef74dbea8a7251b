"""What Docker, Compose and Home Assistant's Supervisor read, checked by their documented rules."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from faster_whisper.utils import available_models

from node import __version__
from node.config import load_config
from node.service.lifecycle import DRAIN_S

ROOT = Path(__file__).parents[2]
ADDON = ROOT / "config/home-assistant/addon"
DOCKERFILES = {"image": ROOT / "Dockerfile", "addon": ADDON / "Dockerfile"}

ADDON_KEYS = {
    "name": str,
    "version": str,
    "slug": str,
    "description": str,
    "arch": list,
    "homeassistant": str,
    "startup": str,
    "init": bool,
    "timeout": int,
    "services": list,
    "audio": bool,
    "hassio_api": bool,
    "map": list,
    "backup_exclude": list,
    "options": dict,
    "schema": dict,
}
"""Those we use, of the keys in Home Assistant's "App configuration"; an unknown key is dropped."""

SCHEMA_ELEMENT = re.compile(
    r"(?:bool|email|url|port|device(?:\(subsystem=[a-z]+\))?|(?:str|password)(?:\(\d*,\d*\))?"
    r"|int(?:\(-?\d*,-?\d*\))?|float(?:\(-?[\d.]*,-?[\d.]*\))?|match\(.*\)|list\(.+\))\??"
)


def read(file: Path) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return document


CONFIG = read(ADDON / "config.yaml")
NODE = read(ROOT / "compose.yaml")["services"]["node"]


def test_the_add_on_has_only_documented_keys_of_their_types() -> None:
    assert {key: type(value) for key, value in CONFIG.items()} == ADDON_KEYS
    assert CONFIG["version"] == __version__
    assert re.fullmatch(r"[-_.A-Za-z0-9]+", CONFIG["slug"])
    assert set(CONFIG["arch"]) == {"aarch64", "amd64"}, "those the speech engine is made for"
    assert CONFIG["startup"] in {"initialize", "system", "services", "application", "once"}
    assert DRAIN_S + 10 <= CONFIG["timeout"] <= 300
    for service in CONFIG["services"]:
        assert re.fullmatch(r"(mqtt|mysql):(provide|want|need)", service)
    for folder in CONFIG["map"]:
        assert re.fullmatch(r"(share|media|ssl|backup|data)(:(ro|rw))?", folder)


def elements(schema: Any) -> list[str]:
    """Return every type that a schema names, at any depth."""
    if isinstance(schema, str):
        return [schema]
    inner = schema.values() if isinstance(schema, dict) else schema
    return [element for one in inner for element in elements(one)]


def test_the_schema_of_the_options_is_one_and_the_defaults_fit_it() -> None:
    schema, options = CONFIG["schema"], CONFIG["options"]
    assert [one for one in elements(schema) if not SCHEMA_ELEMENT.fullmatch(one)] == []
    assert set(options) == set(schema), "every option has a default, so nothing must be typed"
    for key, value in options.items():
        if isinstance(schema[key], list):
            assert isinstance(value, list)
            pattern = schema[key][0]
            assert all(re.match(pattern[len("match(") : -1], one) for one in value)
        else:
            assert value in schema[key][len("list(") : -1].split("|")


def test_the_models_of_the_options_are_models() -> None:
    models = CONFIG["schema"]["model"][len("list(") : -1].split("|")
    assert set(models) <= set(available_models())


@pytest.mark.parametrize("language", ["en", "fr"])
def test_every_option_is_explained(language: str) -> None:
    translated = read(ADDON / f"translations/{language}.yaml")
    assert set(translated) == {"configuration"}
    assert set(translated["configuration"]) == set(CONFIG["schema"])
    for said in translated["configuration"].values():
        assert set(said) == {"name", "description"}


def test_the_repository_has_what_the_store_needs() -> None:
    repository = read(ROOT / "repository.yaml")
    assert set(repository) <= {"name", "url", "maintainer"}
    assert repository["name"]


@pytest.mark.parametrize("file", DOCKERFILES.values(), ids=DOCKERFILES)
def test_an_image_installs_what_is_locked_and_looks_after_itself(file: Path) -> None:
    stages = re.split(r"^FROM ", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert len(stages) == 3
    _, build, last = stages
    assert "--require-hashes --only-binary :all:" in build
    assert "pip install" not in last
    assert re.search(r"^HEALTHCHECK .*\\\n +CMD .*status.*> /dev/null", last, re.MULTILINE)
    assert re.search(r'^ENTRYPOINT \["/usr/bin/tini", "--"', last, re.MULTILINE)
    assert "STOPSIGNAL SIGTERM" in last
    assert not re.search(r"gcc|build-essential|python3-dev|python3-venv", last)


def test_the_image_runs_as_another_user_than_root() -> None:
    last = (ROOT / "Dockerfile").read_text(encoding="utf-8").rpartition("FROM ")[2]
    assert re.findall(r"^USER (.+)$", last, re.MULTILINE) == ["scribe-node"]


def test_nothing_is_left_out_that_the_image_copies() -> None:
    copied = {
        source
        for line in re.findall(
            r"^COPY (?!--from)(.+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE
        )
        for source in shlex.split(line)[:-1]
    }
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    admitted = {line[1:] for line in ignored if line.startswith("!")}
    assert "*" in ignored
    assert {Path(source).parts[0] for source in copied} == admitted
    assert all((ROOT / source).exists() for source in copied)


def test_compose_gives_the_node_no_more_than_it_needs() -> None:
    assert NODE["read_only"] is True
    assert NODE["cap_drop"] == ["ALL"]
    assert NODE["security_opt"] == ["no-new-privileges:true"]
    assert NODE["group_add"] == ["audio"]
    assert NODE["device_cgroup_rules"] == ["c 116:* rw"]
    assert not {"privileged", "cap_add", "network_mode", "ports", "user"} & set(NODE)
    broker = read(ROOT / "compose.yaml")["services"]["mosquitto"]
    assert all(port.startswith("127.0.0.1:") for port in broker["ports"])


def test_compose_lets_the_node_stop_as_the_unit_does() -> None:
    unit = (ROOT / "systemd/scribe-node.service").read_text(encoding="utf-8")
    (seconds,) = re.findall(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)
    assert NODE["stop_grace_period"] == f"{seconds}s"
    (limit,) = re.findall(r"^MemoryMax=(\d+)M$", unit, re.MULTILINE)
    assert NODE["mem_limit"] == f"{limit}m"
    (tasks,) = re.findall(r"^TasksMax=(\d+)$", unit, re.MULTILINE)
    assert NODE["pids_limit"] == int(tasks)


def test_what_compose_mounts_exists_and_configures_the_node() -> None:
    services = read(ROOT / "compose.yaml")["services"].values()
    volumes = [volume.split(":") for service in services for volume in service["volumes"]]
    files = [ROOT / source for source, *_ in volumes if source.startswith("./")]
    assert files
    assert all(file.is_file() for file in files)
    config = load_config(ROOT / "config/container/node.yaml")
    assert config.mqtt.host in read(ROOT / "compose.yaml")["services"]
    assert config.node.id == "scribe", "a container has a new host name each time"
    assert [target for source, target, *_ in volumes if source == "storage"] == [
        str(config.storage.path)
    ]
