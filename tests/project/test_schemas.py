from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import TypeAdapter

from node.core.mqtt.payloads import PUBLISHED
from node.core.text.formats import to_json
from node.core.work.messages import FORMS
from node.service.requests import VERBS
from tests.rig.schemas import COMMAND, DIALECT, FOLDER, schemas, text
from tests.unit.spoken import segment, transcript

SCHEMAS = schemas()


def references(value: Any) -> list[str]:
    """Yield every `$ref` of a schema."""
    if isinstance(value, dict):
        own = [value["$ref"]] if "$ref" in value else []
        return own + [found for part in value.values() for found in references(part)]
    if isinstance(value, list):
        return [found for part in value for found in references(part)]
    return []


def test_there_is_a_file_for_each_request_and_payload_and_no_other() -> None:
    there = {file.name for file in FOLDER.glob("*.json")}
    assert there == set(SCHEMAS), f"run `{COMMAND}`"
    assert len(SCHEMAS) == len(VERBS) + len(PUBLISHED) + len(FORMS)


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_says_what_the_code_does(name: str) -> None:
    file = FOLDER / name
    assert file.is_file(), f"run `{COMMAND}`"
    assert file.read_text(encoding="utf-8") == text(SCHEMAS[name]), f"run `{COMMAND}`"


@pytest.mark.parametrize(("name", "schema"), SCHEMAS.items())
def test_a_schema_is_headed(name: str, schema: dict[str, Any]) -> None:
    assert (schema["$schema"], schema["$id"]) == (DIALECT, name)
    assert schema["title"]
    assert schema["description"]
    assert "\n" not in schema["description"]
    assert all(ref.removeprefix("#/$defs/") in schema["$defs"] for ref in references(schema))


def test_a_request_takes_no_other_field() -> None:
    for verb in VERBS:
        schema = SCHEMAS[f"request-{verb.replace('/', '-')}.json"]
        assert schema["additionalProperties"] is False
        assert "transaction" in schema["properties"]


@pytest.mark.parametrize("verb", ["mics-assign", "session-start"])
def test_both_names_of_a_field_are_in_the_schema(verb: str) -> None:
    assign = SCHEMAS[f"request-{verb}.json"]["$defs"]["Assign"]
    assert set(assign["properties"]) == {"mic", "mic_id", "speaker", "person_name", "language"}
    assert "required" not in assign
    assert assign["allOf"] == [
        {"oneOf": [{"required": ["mic"]}, {"required": ["mic_id"]}]},
        {"oneOf": [{"required": ["speaker"]}, {"required": ["person_name"]}]},
    ]
    assert assign["properties"]["mic_id"]["anyOf"] == assign["properties"]["mic"]["anyOf"]


def test_a_language_is_one_of_those_known() -> None:
    language = SCHEMAS["request-session-start.json"]["properties"]["language"]
    assert {"auto", "fr", "en"} < set(language["anyOf"][0]["enum"])


def test_published_fields_may_grow() -> None:
    for name in PUBLISHED:
        assert "additionalProperties" not in SCHEMAS[f"{name}.json"]


def test_what_is_written_has_the_shape_of_its_schema() -> None:
    document = json.loads(to_json(transcript(segment(1, words=()))))
    written = document["segments"][0]
    assert TypeAdapter(PUBLISHED["segment"]).validate_python(written, strict=True) == written
    final = {**document["session"], "text": "", "truncated": False}
    assert TypeAdapter(PUBLISHED["transcript"]).validate_python(final, strict=True) == final
