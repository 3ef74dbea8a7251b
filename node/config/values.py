"""Types of values in the configuration, each with its check.

A check raises ValueError with what is wrong and what to do; the loader adds the key and line.
Relative paths start from the `folder` in the validation context.
"""

from __future__ import annotations

import ipaddress
import os
import re
import unicodedata
import zoneinfo
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo

from node.core.model import MIC_ID
from node.core.mqtt.topics import EVERY_NODE
from node.core.text.languages import check_language, check_language_or_auto

_NODE_ID = re.compile(r"[a-z0-9_-]{1,32}")
_MAX_TOPIC = 64  # characters; leaves room for mic ids and verbs within any broker's limit

_RESERVED = {
    EVERY_NODE: "the group of all nodes",
    "work": "the topics of work",
    "worker": "the topics of workers",
}
"""What must not be a node's id, as other topics have it at the same level."""


def default_node_id(hostname: str) -> str:
    """Return `hostname` as a node id: lower case, no accents, `-` for the rest, or `node`."""
    slug = _slug(hostname)
    return "node" if not slug or slug in _RESERVED else slug


def default_worker_id(hostname: str) -> str:
    """Return `hostname` as a worker id, in the same way, or `worker`."""
    return _slug(hostname) or "worker"


def _slug(hostname: str) -> str:
    decomposed = unicodedata.normalize("NFKD", hostname.lower())
    bare = "".join(char for char in decomposed if not unicodedata.combining(char))
    return re.sub(r"[^a-z0-9_]+", "-", bare).strip("-")[:32].rstrip("-")


def resolve_path(path: Path, info: ValidationInfo) -> Path:
    """Return `path` with `~` expanded; a relative one starts from the configuration's folder."""
    try:
        expanded = path.expanduser()
    except RuntimeError as error:  # no such user, or a user without a home
        raise ValueError(f'"{path}": there is no such home folder; give the full path') from error
    folder: Path | None = (info.context or {}).get("folder")
    return folder / expanded if folder else expanded


def _check_node_id(value: str) -> str:
    if value in _RESERVED:
        raise ValueError(f'"{value}" is reserved for {_RESERVED[value]}; choose another id')
    return _check_worker_id(value)


def _check_worker_id(value: str) -> str:
    if not _NODE_ID.fullmatch(value):
        raise ValueError(
            'must be 1 to 32 characters of a-z, 0-9, "_" and "-", '
            f'such as "{default_node_id(value)}", not "{value[:64]}"'
        )
    return value


def _check_mic_id(value: str) -> str:
    # A dot is accepted for configurations that already have one; `check` warns about it.
    if not MIC_ID.fullmatch(value):
        raise ValueError(f'must be 1 to 64 characters of a-z, 0-9, "_" and "-", not "{value[:64]}"')
    return value


def _check_topic(value: str) -> str:
    if not value or len(value) > _MAX_TOPIC:
        raise ValueError(f"must have 1 to {_MAX_TOPIC} characters")
    if "+" in value or "#" in value:
        raise ValueError('must not contain the MQTT wildcards "+" and "#"')
    if value.startswith("$"):
        raise ValueError('must not start with "$": such topics belong to the broker')
    if "" in value.split("/"):
        raise ValueError('must not start or end with "/" or contain "//"')
    return value


def _check_host(value: str) -> str:
    if "/" in value or " " in value:
        raise ValueError('must be only a host name or address, such as "broker.lan"')
    if value.startswith("["):
        return _without_brackets(value)
    if value.count(":") == 1:  # an IPv6 address has at least two
        raise ValueError("must not include the port; set mqtt.port")
    try:
        value.encode("idna")  # as the lookup does
    except UnicodeError as error:
        raise ValueError(
            f'"{value[:64]}" is not a host name: each part between dots has 1 to 63 characters'
        ) from error
    return value


def _without_brackets(value: str) -> str:
    """Return the IPv6 address of `[::1]`, the form used in URLs (RFC 3986, 3.2.2)."""
    address, _, behind = value[1:].partition("]")
    if behind.startswith(":"):
        raise ValueError("must not include the port; set mqtt.port")
    try:
        ipaddress.IPv6Address(address + behind)
    except ValueError as error:
        raise ValueError(f'"{value[:64]}" is not an IPv6 address in brackets') from error
    return address


def _refuse_list(value: Any) -> Any:
    if isinstance(value, list):  # YAML reads brackets as a list
        raise ValueError("must be text, not a list; write an IPv6 address without brackets")  # noqa: TRY004 -- pydantic expects a ValueError
    return value


def _refuse_empty(value: Any) -> Any:
    if value == "":  # it would resolve to the folder of the file
        raise ValueError("must not be empty")
    return value


def _check_file(path: Path) -> Path:
    try:
        is_file = path.is_file()
    except OSError as error:
        raise ValueError(f'"{path}" cannot be read: {error.strerror}') from error
    if not is_file:
        raise ValueError(f'there is no file "{path}"; correct the path (relative to this file)')
    if not os.access(path, os.R_OK):
        raise ValueError(f'"{path}" is not readable by this user; change its permissions')
    return path


def _check_web_path(value: str) -> str:
    if not value.startswith("/") or not all("!" <= sign <= "~" for sign in value):
        raise ValueError('must begin with "/" and have neither spaces nor accents, as /mqtt')
    return value


def _check_time_zone(value: str) -> str:
    try:
        zoneinfo.ZoneInfo(value)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(
            f'"{value[:64]}" is not a time zone of this system; use a name such as "Europe/Paris"'
        ) from error
    return value


Text = Annotated[str, Field(min_length=1)]
NodeId = Annotated[str, AfterValidator(_check_node_id)]
WorkerId = Annotated[str, AfterValidator(_check_worker_id)]
MicId = Annotated[str, AfterValidator(_check_mic_id)]
Topic = Annotated[str, AfterValidator(_check_topic)]
Host = Annotated[Text, BeforeValidator(_refuse_list), AfterValidator(_check_host)]
Port = Annotated[int, Field(ge=1, le=65535)]
SampleRate = Annotated[int, Field(ge=8000, le=192_000)]
Language = Annotated[str, AfterValidator(check_language)]
LanguageOrAuto = Annotated[str, AfterValidator(check_language_or_auto)]
WebPath = Annotated[str, AfterValidator(_check_web_path)]
TimeZone = Annotated[str, AfterValidator(_check_time_zone)]
ResolvedPath = Annotated[Path, BeforeValidator(_refuse_empty), AfterValidator(resolve_path)]
ExistingFile = Annotated[ResolvedPath, AfterValidator(_check_file)]
