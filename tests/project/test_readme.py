"""What the documents say of topics, verbs, events, keys and files is true and complete."""

from __future__ import annotations

import inspect
import json
import re
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest
import yaml

from node.config import Config, load_config
from node.core.mqtt.messages import parse
from node.core.mqtt.topics import Topics
from node.service.requests import VERBS
from tests.bench import capturing
from tests.bench.accuracy import report as accuracy
from tests.bench.fleet import __main__ as fleet
from tests.bench.markdown import put
from tests.bench.words import __main__ as words
from tests.rig.documents import (
    DOCUMENTS,
    PAGES,
    README,
    ROOT,
    anchors,
    blocks,
    dead_links,
    links,
    relative,
    text,
)
from tests.rig.picture import PICTURE, draw
from tests.rig.reference import BLOCK, COMMAND, PAGE, keys, table

if TYPE_CHECKING:
    from pathlib import Path

TEXT = "\n".join(text(file) for file in DOCUMENTS)
CODE = re.findall(r"(?<!`)`([^`\n]+)`(?!`)", TEXT)
"""Return everything between single backticks."""

MQTT = text(ROOT / "docs" / "mqtt.md")
TOPICS = Topics("scribe", "pi")
README_LINES = 250
PICTURE_BYTES = 60_000
SVG = "{http://www.w3.org/2000/svg}"
CELL = 12.2
"""Return how wide rich draws a character."""


def fenced(language: str) -> list[str]:
    return [content for kind, content in blocks(TEXT) if kind == language]


def first_cells(content: str) -> list[str]:
    """Return the code in the first column of a text's tables."""
    rows = re.findall(r"^\| (`.*?) \|", content, re.MULTILINE)
    return [code for row in rows for code in re.findall(r"`([^`]+)`", row)]


def test_the_table_of_keys_is_that_of_the_code() -> None:
    (found,) = BLOCK.findall(text(PAGE))
    assert found == table(), f"run `{COMMAND}`"


@pytest.mark.parametrize(
    ("page", "place"),
    [
        ("performance", words.PLACE),
        ("who-said-it", accuracy.PLACE),
        *(("several-nodes", place) for place in (*fleet.PLACES, capturing.PLACE)),
    ],
)
def test_the_benchmarks_find_the_places_of_their_tables(page: str, place: str) -> None:
    content = text(ROOT / "docs" / f"{page}.md")
    written = put(content, place, "| new |\n")
    assert "| new |\n<!-- end of" in written
    assert len(written.splitlines()) < len(content.splitlines())


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


def test_the_yaml_of_the_documents_is_yaml() -> None:
    blocks = fenced("yaml")
    assert blocks
    for block in blocks:
        document = yaml.safe_load(block)
        assert isinstance(document, dict)
        if set(document) <= set(Config.model_fields):
            Config.model_validate(document)


def requests_of_the_documents() -> list[tuple[str, str]]:
    """Yield verb and payload of each request that is written out."""
    shell = re.findall(r"-t scribe/pi/request/(\S+) -m '([^']+)'", TEXT)
    assert shell
    return shell


@pytest.mark.parametrize(("verb", "payload"), requests_of_the_documents())
def test_a_request_of_the_documents_is_one(verb: str, payload: str) -> None:
    assert parse(VERBS[verb].form, json.loads(payload))


def test_the_verbs_are_those_of_the_code_with_their_fields() -> None:
    rows = re.findall(r"^\| `([a-z]+/[a-z]+)` \|(.*)\|$", MQTT, re.MULTILINE)
    assert {verb for verb, _ in rows} == set(VERBS)
    for verb, said in rows:
        fields = set(VERBS[verb].form.model_fields) - {"transaction"}
        said_fields = set(re.findall(r"(?<!\[\{)`(\w+)`", said))
        assert said_fields == fields, verb


def topics_of_the_code() -> set[str]:
    """Every topic, with the documents' names for what varies."""
    found = set()
    for attribute, member in inspect.getmembers(Topics):
        if attribute[0] == "_" or attribute in {"base", "node", "root", "subscriptions", "parse"}:
            continue
        if isinstance(member, property):
            found.add(getattr(TOPICS, attribute))
        elif [*inspect.signature(member).parameters][1:] in (["mic"], ["verb"]):
            found.add(getattr(TOPICS, attribute)(f"<{[*inspect.signature(member).parameters][1]}>"))
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
    """Return how each `….event(…)` of the package begins, and every event made elsewhere."""
    files = (ROOT / "node").rglob("*.py")
    code = "".join(file.read_text(encoding="utf-8") for file in files)
    names = re.findall(r"\w\.event\(\s*([^\s,)]+)", code)
    assert [said for said in names if not re.fullmatch(r'"\w+"', said)] == []
    made = re.findall(r'"event_type": ("\w+"),', code)
    return {said.strip('"') for said in [*names, *made]} - {"segment", "transcript"}


def test_the_events_are_those_of_the_code() -> None:
    rows = MQTT.partition("| `event_type` |")[2].partition("\n\n")[0]
    assert set(first_cells(rows)) == events_of_the_code()


def test_every_place_that_is_named_exists() -> None:
    pattern = r"((?:config|docs|node|tests|systemd|adapters|service|core|web)/[\w./-]*)"
    named = {match[1] for code in CODE if (match := re.fullmatch(pattern, code))}
    assert named
    roots = (ROOT, ROOT / "node")
    assert [place for place in named if not any((root / place).exists() for root in roots)] == []


def test_the_functions_on_the_way_of_a_sentence_exist() -> None:
    """`Class.function` and `function` in `file`, as the tables of the walks say."""
    walks = re.findall(
        r"^\|.* in `.*\.py`.*\|$", (ROOT / "docs/development.md").read_text(), re.MULTILINE
    )
    assert len(walks) > 8
    for names, file in re.findall(
        r"((?:`[\w.]+`(?:, | and | ))+)in `([\w/]+\.py)`", "".join(walks)
    ):
        code = (ROOT / "node" / file).read_text()
        for name in re.findall(r"\w+", re.sub(r" and ", " ", names)):
            assert re.search(rf"\b(def|class) {name}\b", code), f"{file} has no {name}"


@pytest.mark.parametrize("file", DOCUMENTS, ids=relative)
def test_every_link_within_leads_somewhere(file: Path) -> None:
    assert dead_links(file) == []


def test_headings_are_linked_to_as_on_github() -> None:
    content = "# Une flat, à deux?\n## `T/info` & more\n## Twice\n## Twice\n```sh\n# no\n```\n"
    assert anchors(content) == {"une-flat-à-deux", "tinfo--more", "twice", "twice-1"}


def test_the_readme_is_short_and_leads_to_every_page() -> None:
    assert len(text(README).splitlines()) <= README_LINES
    _, _, listed = text(README).partition("\n## Documentation\n")
    listed_links = re.findall(r"^- .*?\((.+?)\)", listed, re.MULTILINE)
    index = {(README.parent / link).resolve() for link in listed_links}
    assert set(PAGES) - index == set()
    assert PICTURE in {target for target, _ in links(README)}


def test_fenced_blocks_are_of_kinds_that_are_checked() -> None:
    """Commands are in `sh` blocks, which tests/e2e/test_readme.py reads."""
    assert {kind for kind, _ in blocks(TEXT)} == {"", "sh", "yaml"}
    assert TEXT.count("```") == 2 * len(blocks(TEXT))
    plain = "".join(fenced(""))
    assert re.findall(r"^ *(?:\$ |sudo |make |mosquitto_|\.venv/).*", plain, re.MULTILINE) == []


def lines_of_the_picture(svg: str) -> list[str]:
    """Return what it shows, row by row; rich leaves out blank cells."""
    rows: dict[str, str] = {}
    for piece in ET.fromstring(svg).iter(f"{SVG}text"):  # noqa: S314  # our own file
        said, y, x = piece.text or "", piece.attrib["y"], float(piece.attrib["x"])
        rows[y] = rows.get(y, "").ljust(round(x / CELL)) + said
    return [row.replace("\xa0", " ").strip() for row in rows.values()]


def test_the_picture_shows_the_demonstration() -> None:
    """A word or two may go on a starved machine, as in tests/e2e/test_demo.py."""
    spoken: list[dict[str, Any]] = json.loads(text(ROOT / "config" / "demo" / "reference.json"))
    shown = lines_of_the_picture(text(PICTURE))
    said = [f" {one['speaker']:<7} {one['text']} " for one in spoken]
    assert sum(any(line in row for row in shown) for line in said) >= 0.9 * len(said)


def test_the_picture_needs_nothing_from_elsewhere() -> None:
    svg = text(PICTURE)
    assert len(svg.encode()) <= PICTURE_BYTES
    elsewhere = re.findall(r"https?://(?!127\.0\.0\.1)[^\"]+", svg)  # the page's address is shown
    assert elsewhere == ["http://www.w3.org/2000/svg"]
    assert re.findall(r"url\((?!#)|@import|@font-face|href", svg) == []


def test_the_picture_is_drawn_with_colours_and_without_the_transcript() -> None:
    svg = draw("\x1b[2m10:00:01\x1b[0m \x1b[36mChloé\x1b[0m Hé <là>!\n╭── Transcript\n│ Chloé")
    assert lines_of_the_picture(svg) == ["make run", "10:00:01 Chloé Hé <là>!"]
    assert "fill: #56e0e7" in svg
