"""What the README says of topics, verbs, events, keys and files is so, and nothing is left out."""

from __future__ import annotations

import inspect
import json
import re
from typing import TYPE_CHECKING

import pytest
import yaml

from node.config import Config, load_config
from node.core.mqtt.messages import REQUESTS, parse
from node.core.mqtt.topics import Topics
from tests.rig.reference import BLOCK, COMMAND, README, keys, table

if TYPE_CHECKING:
    from pathlib import Path

ROOT = README.parent
TEXT = README.read_text(encoding="utf-8")
CODE = re.findall(r"(?<!`)`([^`\n]+)`(?!`)", TEXT)
"""Everything between single backticks."""

TOPICS = Topics("scribe", "pi")


def fenced(language: str) -> list[str]:
    return re.findall(rf"^ *```{language}\n(.*?)^ *```", TEXT, re.MULTILINE | re.DOTALL)


def section(title: str) -> str:
    _, _, rest = TEXT.partition(f"\n## {title}\n")
    assert rest, f"there is a section {title}"
    return rest.partition("\n## ")[0]


def first_cells(text: str) -> list[str]:
    """The code in the first column of the tables of a text."""
    rows = re.findall(r"^\| (`.*?) \|", text, re.MULTILINE)
    return [code for row in rows for code in re.findall(r"`([^`]+)`", row)]


def test_the_table_of_keys_is_that_of_the_code() -> None:
    (found,) = BLOCK.findall(TEXT)
    assert found == table(), f"run `{COMMAND}`"


def test_every_key_that_is_named_exists() -> None:
    known = {key.replace("[]", "") for key, _ in keys()}
    known |= {key.rpartition(".")[0] for key in known}
    first = "|".join(Config.model_fields)
    named = {code.partition(":")[0] for code in CODE if re.match(rf"({first})\.[\w.]+(:|$)", code)}
    assert named
    assert named - known == set()


def test_every_value_that_is_advised_is_taken(tmp_path: Path) -> None:
    """Such as `homeassistant.language: fr`."""
    advised = re.findall(r"`((?:[a-z_]+\.)+\w+: [^`]+)`", TEXT)
    assert advised
    for line in advised:
        key, value = line.split(": ")
        *sections, last = key.split(".")
        file = tmp_path / "node.yaml"
        opened = "".join(f"{{{name}: " for name in [*sections, last])
        file.write_text(opened + value + "}" * (len(sections) + 1))
        load_config(file)


def test_the_yaml_of_the_readme_is_yaml() -> None:
    blocks = fenced("yaml")
    assert blocks
    for block in blocks:
        document = yaml.safe_load(block)
        assert isinstance(document, dict)
        if set(document) <= set(Config.model_fields):
            Config.model_validate(document)


def requests_of_the_readme() -> list[tuple[str, str]]:
    """Verb and payload of each request that is written out."""
    shell = re.findall(r"-t scribe/pi/request/(\S+) -m '([^']+)'", TEXT)
    french = re.findall(r"`scribe/pi/request/(\S+)`\s+`(\{.+?\})`", TEXT)
    assert shell
    assert french
    return [*shell, *french]


@pytest.mark.parametrize(("verb", "payload"), requests_of_the_readme())
def test_a_request_of_the_readme_is_one(verb: str, payload: str) -> None:
    assert parse(verb, json.loads(payload))


def test_the_verbs_are_those_of_the_code_with_their_fields() -> None:
    rows = re.findall(r"^\| `([a-z]+/[a-z]+)` \|(.*)\|$", section("MQTT"), re.MULTILINE)
    assert {verb for verb, _ in rows} == set(REQUESTS)
    for verb, said in rows:
        fields = set(REQUESTS[verb].model_fields) - {"transaction"}
        said_fields = set(re.findall(r"(?<!\[\{)`(\w+)`", said))
        assert said_fields == fields, verb


def topics_of_the_code() -> set[str]:
    """Every topic, with the README's names for what varies."""
    found = set()
    for name, member in inspect.getmembers(Topics):
        if name.startswith("_") or name in {"base", "node", "root", "subscriptions", "parse"}:
            continue
        if isinstance(member, property):
            found.add(getattr(TOPICS, name))
        elif [*inspect.signature(member).parameters][1:] in (["mic"], ["verb"]):
            found.add(getattr(TOPICS, name)(f"<{[*inspect.signature(member).parameters][1]}>"))
    return {f"T{topic.removeprefix(TOPICS.root)}" for topic in found}


def test_the_topics_are_those_of_the_code() -> None:
    said = {code.split()[0] for code in CODE if re.match(r"T/[^…]+$", code)}
    said = {re.sub(r"/(request|response)/\w+/\w+$", r"/\1/<verb>", topic) for topic in said}
    assert said == topics_of_the_code()


def test_the_topics_of_the_examples_exist() -> None:
    known = topics_of_the_code()
    named = set(re.findall(r"\bscribe/pi(/[^\s`'\")]+)", TEXT))
    assert named
    for topic in named:
        general = re.sub(r"^/mic/[^/]+/", "/mic/<mic>/", topic)
        general = re.sub(r"^/request/\w+/\w+$", "/request/<verb>", general)
        assert f"T{general}" in known, topic


def events_of_the_code() -> set[str]:
    """What every `….event(…)` of the package begins with, and every event made elsewhere."""
    files = (ROOT / "node").rglob("*.py")
    code = "".join(file.read_text(encoding="utf-8") for file in files)
    names = re.findall(r"\w\.event\(\s*([^\s,)]+)", code)
    assert [name for name in names if not re.fullmatch(r'"\w+"', name)] == []
    made = re.findall(r'"event_type": ("\w+"),', code)
    return {name.strip('"') for name in [*names, *made]} - {"segment", "transcript"}


def test_the_events_are_those_of_the_code() -> None:
    rows = section("MQTT").partition("| `event_type` |")[2].partition("\n\n")[0]
    assert set(first_cells(rows)) == events_of_the_code()


def test_every_place_that_is_named_exists() -> None:
    pattern = r"((?:config|node|tests|systemd|adapters|service|core)/[\w./-]*)"
    named = {match[1] for code in CODE if (match := re.fullmatch(pattern, code))}
    named |= set(re.findall(r"!\[.*?\]\((.+?)\)", TEXT))
    assert named
    roots = (ROOT, ROOT / "node")
    assert [name for name in named if not any((root / name).exists() for root in roots)] == []


def test_every_link_within_leads_somewhere() -> None:
    titles = re.findall(r"^#+ (.+)$", TEXT, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}
    assert set(re.findall(r"\]\(#(.+?)\)", TEXT)) <= anchors
