"""What the page shows of the nodes, made of the MQTT messages that have come. Pure."""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Literal

from node.core.model import MIC_ID
from node.core.mqtt.topics import EVERY_NODE, ONLINE

MAX_NODES = 64
MAX_MICS = 64
"""More than any house has; what comes beyond is left out, so that nobody can fill the memory."""

MAX_EVENTS = 20
"""How many of a node's last events are kept for those who open the page later."""

WITHDRAWN = "segment_withdrawn"


@dataclass(frozen=True, slots=True)
class News:
    """Something that happened once, for every open page: a segment, a partial or an event."""

    kind: Literal["segment", "partial", "event"]
    node: str
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Reply:
    """A node's answer to a request; `body` as in `T/response/<verb>`."""

    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Changed:
    """What a page shows all the time has changed."""


Outcome = News | Reply | Changed | None


@dataclass(slots=True)
class _Node:
    online: bool = False
    silent: bool = False
    heard: int = 0
    info: dict[str, Any] = field(default_factory=dict)
    session: dict[str, Any] = field(default_factory=dict)
    mics: dict[str, dict[str, Any]] = field(default_factory=dict)
    events: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=MAX_EVENTS))


class Overview:
    """Everything known of the nodes below `base`."""

    def __init__(self, base: str) -> None:
        self._prefix = f"{base}/"
        self._nodes: dict[str, _Node] = {}
        self._connected = False
        self._reason = "not connected yet"

    def connected(self) -> None:
        self._connected = True
        for node in self._nodes.values():
            node.silent = False  # what it said meanwhile has not come here

    def disconnected(self, reason: str) -> None:
        self._connected, self._reason = False, reason

    @property
    def names(self) -> list[str]:
        """All nodes that are known."""
        return list(self._nodes)

    @property
    def online(self) -> list[str]:
        """The nodes that can be asked something now."""
        return [name for name, node in self._nodes.items() if self._connected and node.online]

    def why_not(self, node: str) -> str | None:
        """Return why this node cannot be asked anything now; None if it can."""
        if not self._connected:
            return f"no connection to the broker: {self._reason}"
        if node not in self._nodes or not self._nodes[node].online:
            return f"the node {node} is offline"
        return None

    @property
    def silent(self) -> frozenset[str]:
        """The nodes that did not answer, and of which nothing has come since."""
        return frozenset(name for name, node in self._nodes.items() if node.silent)

    def heard(self, node: str) -> int:
        """Return how many messages have come that this node sent just then."""
        return self._nodes[node].heard if node in self._nodes else 0

    def unanswered(self, node: str, heard: int) -> None:
        """Hold against a node that it did not answer, unless more than `heard` has come of it.

        Its `online` may be of long ago: a broker that dies loses the last will, and with it what
        the node's death would have said.
        """
        if node in self._nodes and self._nodes[node].heard == heard:
            self._nodes[node].silent = True

    def is_writing(self, node: str) -> bool:
        """Return whether the node is reachable, and transcribing a session that was stopped."""
        session = self._nodes[node].session if node in self.online else {}
        return session.get("state") == "stopping" or bool(session.get("finishing"))

    def has_mic(self, node: str, mic: str) -> bool:
        return node in self._nodes and mic in self._nodes[node].mics

    def is_enabled(self, node: str, mic: str) -> bool | None:
        """Return what a node says of a microphone, None if nothing."""
        shown = self._nodes[node].mics.get(mic, {}) if node in self._nodes else {}
        return shown.get("enabled")

    def take(self, topic: str, payload: bytes, *, retained: bool) -> Outcome:
        """Take a message in; return what is to be done about it."""
        if not topic.startswith(self._prefix):
            return None
        name, *rest = topic.removeprefix(self._prefix).split("/")
        if name in self._nodes and not retained:
            self._nodes[name].silent = False
            self._nodes[name].heard += 1
        if rest == ["status"]:
            return self._take_status(name, payload)
        body = _object(payload)
        match rest:
            case ["response", *_]:
                return None if retained or body is None else Reply(body)
            case ["mic", _, ("segment" | "partial") as kind]:
                return None if retained or body is None else News(kind, name, body)
            case ["event"]:
                return None if retained or body is None else self._take_event(name, body)
        node = self._nodes.get(name)
        return Changed() if node and _take_state(node, rest, body or {}) else None

    def _take_status(self, name: str, payload: bytes) -> Outcome:
        if name == EVERY_NODE:
            return None
        if not payload:  # cleared: the node was removed
            return Changed() if self._nodes.pop(name, None) else None
        if name not in self._nodes and len(self._nodes) >= MAX_NODES:
            return None
        node = self._nodes.setdefault(name, _Node())
        node.online = payload == ONLINE.encode()
        return Changed()

    def _take_event(self, name: str, body: dict[str, Any]) -> Outcome:
        if name not in self._nodes:
            return None
        if body.get("event_type") != WITHDRAWN:
            self._nodes[name].events.append(body)
        return News("event", name, body)

    def view(self) -> dict[str, Any]:
        """Return what a page shows, ready for JSON."""
        return {
            "broker": {
                "connected": self._connected,
                "reason": None if self._connected else self._reason,
            },
            "nodes": [_view(name, node) for name, node in sorted(self._nodes.items())],
        }


def _take_state(node: _Node, rest: list[str], body: dict[str, Any]) -> bool:
    """Take a retained state in; return whether it is one that is shown."""
    match rest:
        case ["info"]:
            node.info = body
        case ["session"]:
            node.session = body
        case ["mics"]:
            listed = body.get("mics")
            mics = [mic for mic in listed if _is_mic(mic)] if isinstance(listed, list) else []
            node.mics = {mic["mic"]: mic for mic in mics[:MAX_MICS]}
        case ["mic", mic, "state"] if mic in node.mics and body.get("mic") == mic:
            node.mics[mic] = body
        case _:
            return False
    return True


def _is_mic(value: object) -> bool:
    return isinstance(value, dict) and bool(MIC_ID.fullmatch(str(value.get("mic"))))


def _object(payload: bytes) -> dict[str, Any] | None:
    """Return the JSON object of a payload, None if it is not one that can be passed on as it is."""
    try:
        body = json.loads(payload)
        # No lone surrogates, and no numbers that only Python's JSON has.
        json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def _view(name: str, node: _Node) -> dict[str, Any]:
    return {
        "node": name,
        "online": node.online,
        "info": node.info,
        "session": node.session,
        "mics": sorted(node.mics.values(), key=_index),
        "troubles": _troubles(node),
        "events": list(node.events),
    }


def _index(mic: dict[str, Any]) -> int:
    index = mic.get("index")
    return index if isinstance(index, int) else MAX_MICS


def _troubles(node: _Node) -> list[dict[str, str]]:
    """Return what is wrong now. The page has words for each code; `text` is the node's own."""
    if not node.online:
        return [{"code": "offline", "text": ""}]
    named = (
        ("problem", node.session.get("problem")),
        ("message", node.session.get("message")),
        ("notice", node.info.get("model_notice")),
    )
    found = [{"code": "unanswered", "text": ""}] if node.silent else []
    found += [{"code": code, "text": str(text)} for code, text in named if text]
    recorded = node.session.get("speakers")
    for mic in node.mics.values():
        wanted = mic.get("speaker") or (isinstance(recorded, dict) and mic["mic"] in recorded)
        if wanted and not mic.get("connected"):
            found.append({"code": "mic_away", "text": str(mic.get("name") or mic["mic"])})
    return found
