"""The bodies of requests and answers, from which the OpenAPI document is made."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from node.core.mqtt.messages import Language, Mic, Name, Title  # noqa: TC001  # read at run time

Text = Annotated[str, Field(min_length=1, max_length=500)]


class Body(BaseModel):
    """What a request must look like: nothing but the fields that are named."""

    model_config = ConfigDict(extra="forbid")


class PrototypeAssignment(Body):
    mic_id: Mic
    person_name: Name


class PrototypeStart(Body):
    assignments: Annotated[list[PrototypeAssignment], Field(max_length=64)] = []


class PrototypeMic(BaseModel):
    """`mic` is the id that stays the same; `device_index` the number of the sound card."""

    mic_id: int
    device_index: int | None
    name: str
    default_samplerate: int | None
    mic: str
    person_name: str | None
    connected: bool


class PrototypeMics(BaseModel):
    mics: list[PrototypeMic]


class Started(BaseModel):
    status: Literal["started"] = "started"
    message: str
    session_id: str


class Stopped(BaseModel):
    status: Literal["stopped"] = "stopped"
    file_path: str | None


class Transcription(BaseModel):
    transcription: str


class Problem(BaseModel):
    """Any refusal. `code` is the node's, if it is the node that refuses."""

    status: Literal["error"] = "error"
    message: str
    code: str | None = None


class Healthy(BaseModel):
    ok: bool


class Assignment(Body):
    mic: Mic
    speaker: Name
    language: Language | None = None


class Assign(Body):
    assignments: Annotated[list[Assignment], Field(max_length=64)]


class Start(Body):
    assignments: Annotated[list[Assignment], Field(min_length=1, max_length=64)] | None = None
    title: Title | None = None


class Mute(Body):
    enabled: bool


class Search(Body):
    query: Text
    limit: Annotated[int, Field(ge=1, le=200)] = 50


class Login(Body):
    password: Annotated[str, Field(max_length=1024)]


class View(BaseModel):
    """All that the page shows; each node's `info`, `session` and `mics` as on MQTT."""

    broker: dict[str, Any]
    nodes: list[dict[str, Any]]


class Done(BaseModel):
    status: Literal["ok"] = "ok"
    data: dict[str, Any]
