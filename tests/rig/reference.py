"""The table of configuration keys, made from the code: `python -m tests.rig.reference`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

import yaml
from annotated_types import Ge, Le
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from node.config import Config

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"
COMMAND = "make schemas"
BLOCK = re.compile(r"(?<=<!-- keys -->\n).*?(?=<!-- end of keys -->)", re.DOTALL)
HEAD = "| Key | Default | Meaning |\n|---|---|---|\n"


def keys(model: type[BaseModel] = Config, prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Yield every full key, with `[]` for those inside list entries; sections are not keys."""
    for name, field in model.model_fields.items():
        inner = next(_models(field.annotation), None)
        is_list = inner is not None and inner is not field.annotation
        if inner is None or is_list:
            yield prefix + name, field
        if inner is not None:
            yield from keys(inner, f"{prefix}{name}{'[]' if is_list else ''}.")


def _models(kind: Any) -> Iterator[type[BaseModel]]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind
    for inner in get_args(kind):
        yield from _models(inner)


def table() -> str:
    """Return the table in Markdown, without defaults that depend on the machine or another key."""
    return HEAD + "".join(
        f"| `{key}` | {_default(field)} | {_meaning(field)} |\n" for key, field in keys()
    )


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "needed"
    value = field.default
    if value is PydanticUndefined or value is None:
        return ""
    plain = list(value) if isinstance(value, tuple) else value
    plain = str(plain) if isinstance(plain, Path) else plain
    text = yaml.safe_dump(plain, default_flow_style=True).removesuffix("\n").removesuffix("\n...")
    return f"`{text}`"


def _meaning(field: FieldInfo) -> str:
    """Return the key's docstring and the values it takes."""
    said = " ".join((field.description or "").replace("|", "\\|").split())
    return " ".join([said, *_takes(field)])


def _takes(field: FieldInfo) -> list[str]:
    least = [rule.ge for rule in field.metadata if isinstance(rule, Ge)]
    most = [rule.le for rule in field.metadata if isinstance(rule, Le)]
    if least:
        return [f"{least[0]} to {most[0]}." if most else f"{least[0]} or more."]
    if get_origin(field.annotation) is Literal:
        return [", ".join(f"`{choice}`" for choice in get_args(field.annotation)) + "."]
    return []


def write() -> None:
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(BLOCK.sub(lambda _: table(), text), encoding="utf-8")


if __name__ == "__main__":
    write()
