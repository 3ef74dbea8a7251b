"""What stands for a node on the broker where a test needs a session of any length at once."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

from paho.mqtt.client import Client, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion

from tests.rig.broker import HOST

if TYPE_CHECKING:
    from collections.abc import Callable

SESSION = "20261122T090000Z-3f9c"
BEGAN = datetime(2026, 11, 22, 9, tzinfo=UTC)
SPEAKERS = ("Alice", "Bruno", "Chloé", "Dora")
APART_S = 6.26
"""4,600 lines in eight hours."""


def segment(number: int, text: str | None = None) -> dict[str, Any]:
    """Return segment `number` of the session, as a node would publish it."""
    mic = number % len(SPEAKERS)
    start = BEGAN + timedelta(seconds=number * APART_S)
    return {
        "schema": 1,
        "event_type": "segment",
        "id": f"{SESSION}/mic-{mic}/{number}",
        "session_id": SESSION,
        "seq": number,
        "mic": f"mic-{mic}",
        "speaker": SPEAKERS[mic],
        "start": start.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "end": start.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "text": text or f"This is line {number} of what was said in a very long meeting.",
        "language": "en",
        "crosstalk_of": None,
    }


class ScriptedNode:
    """Is `scribe/script` within its context: online, recording, with `lines` segments already."""

    topic = "scribe/script"

    def __init__(self, port: int, lines: int) -> None:
        self.segments = [segment(number) for number in range(1, lines + 1)]
        self._port = port
        self._client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
        self._client.on_message = self._on_message
        self._answers: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "transcript/get": self._page,
            "session/list": lambda _request: {"sessions": [], "total": 0},
            "session/search": self._search,
        }

    def __enter__(self) -> Self:
        self._client.connect(HOST, self._port)
        self._client.subscribe(f"{self.topic}/request/#", qos=1)
        self._client.loop_start()
        self.tell("mics", {"mics": []}, retain=True)
        session = {"state": "recording", "session_id": SESSION}
        self.tell("session", {**session, "segments_total": len(self.segments)}, retain=True)
        self.tell("info", {"version": "0", "model": "none"}, retain=True)
        self._client.publish(f"{self.topic}/status", "online", qos=1, retain=True)
        return self

    def __exit__(self, *_exception: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def tell(self, below: str, body: dict[str, Any], *, retain: bool = False) -> None:
        payload = json.dumps(body, ensure_ascii=False)
        self._client.publish(f"{self.topic}/{below}", payload, qos=1, retain=retain)

    def say(self, text: str) -> dict[str, Any]:
        """Publish the next segment."""
        said = segment(len(self.segments) + 1, text)
        self.segments.append(said)
        self.tell(f"mic/{said['mic']}/segment", said)
        return said

    def _on_message(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        verb = message.topic.removeprefix(f"{self.topic}/request/")
        request = json.loads(message.payload)
        answer = {"status": "ok", "transaction": request["transaction"]}
        self.tell(f"response/{verb}", {**answer, "data": self._answers[verb](request)})

    def _page(self, request: dict[str, Any]) -> dict[str, Any]:
        offset, end = request["offset"], request["offset"] + request["limit"]
        total = len(self.segments)
        part = self.segments[offset:end]
        following = end if end < total else None
        return {"session_id": SESSION, "segments": part, "total": total, "next_offset": following}

    def _search(self, request: dict[str, Any]) -> dict[str, Any]:
        found = [one for one in self.segments if request["query"].lower() in one["text"].lower()]
        kept = ("session_id", "speaker", "text", "start")
        more = {"title": "Long", "started_at": self.segments[0]["start"]}
        matches = [{**{name: one[name] for name in kept}, **more} for one in found]
        return {"matches": matches[: request["limit"]], "total": len(matches)}
