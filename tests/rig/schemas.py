"""The JSON Schemas of `config/schemas`, made from the code: `python -m tests.rig.schemas`."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import AliasChoices, TypeAdapter

from node.core.mqtt.messages import Assign, Request
from node.core.mqtt.payloads import PUBLISHED
from node.core.work.messages import FORMS, WORK_SCHEMA
from node.service.requests import VERBS

if TYPE_CHECKING:
    from pydantic import BaseModel

FOLDER = Path(__file__).parents[2] / "config/schemas"
COMMAND = "python -m tests.rig.schemas"
DIALECT = "https://json-schema.org/draft/2020-12/schema"

Schema = dict[str, Any]


def schemas() -> dict[str, Schema]:
    """Return every schema by its file name."""
    requests = {f"request-{verb.replace('/', '-')}.json": verb for verb in VERBS}
    return {
        **{file: _request(file, verb, VERBS[verb].form) for file, verb in requests.items()},
        **{f"{name}.json": _published(f"{name}.json", kind) for name, kind in PUBLISHED.items()},
        **{f"{name}.json": _work(f"{name}.json", form) for name, form in FORMS.items()},
    }


def text(schema: Schema) -> str:
    return json.dumps(schema, ensure_ascii=False, indent=2) + "\n"


def write() -> None:
    """Write the schemas to the folder and remove all others."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    wanted = schemas()
    for file in FOLDER.glob("*.json"):
        if file.name not in wanted:
            file.unlink()
    for name, schema in wanted.items():
        (FOLDER / name).write_text(text(schema), encoding="utf-8")


def _request(file: str, verb: str, form: type[Request]) -> Schema:
    schema = form.model_json_schema(mode="validation")
    for name, definition in schema.get("$defs", {}).items():
        if name == Assign.__name__:
            _accept_other_names(definition, Assign)
    return _headed(schema, file, f"Request {verb}", f"What `T/request/{verb}` takes.")


def _work(file: str, form: type[BaseModel]) -> Schema:
    schema = form.model_json_schema(mode="validation")
    schema["properties"] = {"schema": {"const": WORK_SCHEMA}, **schema["properties"]}
    schema["required"] = ["schema", *schema["required"]]
    return _headed(schema, file, file.removesuffix(".json").capitalize(), inspect.getdoc(form))


def _published(file: str, kind: Any) -> Schema:
    schema = TypeAdapter(kind).json_schema(mode="serialization")
    return _headed(schema, file, file.removesuffix(".json").capitalize(), inspect.getdoc(kind))


def _headed(schema: Schema, file: str, title: str, description: str | None) -> Schema:
    head = {"$schema": DIALECT, "$id": file, "title": title}
    said = " ".join((description or "").split())
    return {**head, "description": said, **{k: v for k, v in schema.items() if k not in _HEAD}}


_HEAD = {"title", "description"}


def _accept_other_names(schema: Schema, model: type[BaseModel]) -> None:
    """Allow a field under either of its names, but only one of them.

    pydantic's schema for an alias with choices has only the first.
    """
    for field in model.model_fields.values():
        if not isinstance(field.validation_alias, AliasChoices):
            continue
        first, *others = [str(choice) for choice in field.validation_alias.choices]
        for other in others:
            described = {"description": f"another name of `{first}`"}
            schema["properties"][other] = {**schema["properties"][first], **described}
        schema["required"].remove(first)
        one_of = [{"required": [name]} for name in (first, *others)]
        schema.setdefault("allOf", []).append({"oneOf": one_of})
    if not schema["required"]:
        del schema["required"]


if __name__ == "__main__":
    write()
