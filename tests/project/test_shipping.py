"""What Docker, Compose and Home Assistant's Supervisor read, checked by their documented rules."""

from __future__ import annotations

import json
import re
import shlex
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from faster_whisper.utils import available_models

from node import __version__
from node.config import load_config
from node.service.lifecycle import DRAIN_S
from tests.rig.processes import need

ROOT = Path(__file__).parents[2]
ADDON = ROOT / "config/home-assistant/addon"
STAGES = dict(
    re.findall(
        r"^FROM \S+ AS (\w+)\n(.*?)(?=^FROM |\Z)",
        (ROOT / "Dockerfile").read_text(encoding="utf-8"),
        re.MULTILINE | re.DOTALL,
    )
)

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
    "ingress": bool,
    "ingress_port": int,
    "panel_title": str,
    "panel_icon": str,
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


ADDON = ROOT / "config/home-assistant/addon"
CONFIG = read(ADDON / "config.yaml")
SERVICES = read(ROOT / "compose.yaml")["services"]
NODE, WEB, WORKER = (SERVICES[name] for name in ("node", "page", "worker"))


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


def test_the_supervisor_finds_one_add_on_and_all_that_it_builds_from(tmp_path: Path) -> None:
    """It takes each `config.*` with a slug for an add-on, and builds from that file's folder."""
    need("make")
    subprocess.run(["make", "-s", "addon", f"ADDON={tmp_path}"], cwd=ROOT, check=True)
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    configs = [f for f in files if f.stem == "config" and f.suffix in {".yaml", ".yml", ".json"}]
    documents = {file: read(file) for file in configs}  # each must be an object
    folder = tmp_path / "scribe_node"
    assert [f for f, found in documents.items() if "slug" in found] == [folder / "config.yaml"]
    admitted = {line[1:] for line in text(".dockerignore").splitlines() if line.startswith("!")}
    beside = {"config.yaml", "translations", "icon.png", "logo.png", "DOCS.md"}
    assert {f.name for f in folder.iterdir()} == {*admitted, *beside, "Dockerfile", ".dockerignore"}
    assert (tmp_path / "repository.yaml").read_bytes() == (ROOT / "repository.yaml").read_bytes()


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize(("name", "size"), [("icon.png", (128, 128)), ("logo.png", (250, 100))])
def test_the_store_has_pictures_of_its_sizes(name: str, size: tuple[int, int]) -> None:
    head = (ADDON / name).read_bytes()[:24]
    assert head[:16] == b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
    assert struct.unpack(">II", head[16:]) == size


def test_the_images_install_what_is_locked_and_look_after_themselves() -> None:
    assert [*STAGES] == ["build", "common", "node", "sound", "addon"], "the last is the add-on"
    assert "--require-hashes --only-binary :all:" in STAGES["build"]
    for lock in ("requirements.lock", "requirements-web.lock"):
        assert f"-r systemd/{lock}" in STAGES["build"]
    assert "STOPSIGNAL SIGTERM" in STAGES["common"]
    for name in ("node", "addon"):
        stage = STAGES[name]
        assert re.search(r"^HEALTHCHECK .*\\\n +CMD .*status.*> /dev/null", stage, re.MULTILINE)
        assert re.search(r'^ENTRYPOINT \["/usr/bin/tini", "--"', stage, re.MULTILINE)
        whole = STAGES["common"] + stage
        assert "pip install" not in whole
        assert not re.search(r"gcc|build-essential|python3-dev|python3-venv", whole)


def test_the_image_runs_as_another_user_than_root() -> None:
    assert re.findall(r"^USER (.+)$", STAGES["node"], re.MULTILINE) == ["scribe-node"]


def test_the_add_on_runs_its_start_and_its_page_as_another_user() -> None:
    entry = re.search(r"^ENTRYPOINT (\[.*?\])", STAGES["addon"], re.MULTILINE | re.DOTALL)
    assert entry
    command = json.loads(entry[1].replace("\\\n", " "))
    share = "/opt/scribe-node/venv/share/scribe-node/"
    assert (ROOT / command[3].removeprefix(share)) == ADDON / "start.py"
    assert command[4:] == ["--page-user", "scribe-node"]
    start = (ADDON / "start.py").read_text(encoding="utf-8")
    assert f'LISTEN = "0.0.0.0:{CONFIG["ingress_port"]}"' in start
    assert 'INGRESS = "172.30.32.2"' in start, "the address that Home Assistant documents"


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
    for service in (SERVICES["mosquitto"], WEB):
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])


def test_compose_gives_the_page_less_than_the_node() -> None:
    for key in ("image", "build", "read_only", "tmpfs", "cap_drop", "security_opt"):
        assert WEB[key] == NODE[key]
    given = {volume.split(":")[0] for volume in WEB["volumes"]}
    assert given == {"page", "./config/container/node.yaml"}
    assert set(WEB) - set(NODE) == {"command", "ports", "healthcheck"}
    assert not {"devices", "group_add", "device_cgroup_rules"} & set(WEB)


def test_compose_runs_a_worker_only_when_asked_and_with_what_it_needs() -> None:
    assert [name for name, each in SERVICES.items() if "profiles" in each] == ["worker"]
    assert WORKER["profiles"] == ["worker"]
    assert WORKER["command"] == ["worker"], "instead of `run`, to the same program"
    for key in ("image", "build", "read_only", "tmpfs", "cap_drop", "security_opt", "restart"):
        assert WORKER[key] == NODE[key]
    given = {volume.split(":")[0] for volume in WORKER["volumes"]}
    assert given == {"worker", "./config/container/node.yaml"}
    assert "depends_on" not in WORKER, "its broker is on another machine"
    assert WORKER["healthcheck"] == {"disable": True}, "the image's asks for a node"
    assert not {"devices", "group_add", "device_cgroup_rules", "ports"} & set(WORKER)


@pytest.mark.parametrize(
    ("service", "unit"), [(NODE, "scribe-node"), (WORKER, "scribe-node-worker")]
)
def test_compose_lets_a_service_stop_as_the_unit_does(service: dict[str, Any], unit: str) -> None:
    text = (ROOT / f"systemd/{unit}.service").read_text(encoding="utf-8")
    (seconds,) = re.findall(r"^TimeoutStopSec=(\d+)$", text, re.MULTILINE)
    assert service["stop_grace_period"] == f"{seconds}s"
    (limit,) = re.findall(r"^MemoryMax=(\d+)M$", text, re.MULTILINE)
    assert service["mem_limit"] == f"{limit}m"
    (tasks,) = re.findall(r"^TasksMax=(\d+)$", text, re.MULTILINE)
    assert service["pids_limit"] == int(tasks)


def test_what_compose_mounts_exists_and_configures_the_node() -> None:
    volumes = [volume.split(":") for service in SERVICES.values() for volume in service["volumes"]]
    files = [ROOT / source for source, *_ in volumes if source.startswith("./")]
    assert files
    assert all(file.is_file() for file in files)
    config = load_config(ROOT / "config/container/node.yaml")
    assert config.mqtt.host in SERVICES
    assert config.node.id == "scribe", "a container has a new host name each time"
    assert [target for source, target, *_ in volumes if source == "storage"] == [
        str(config.storage.path)
    ]
