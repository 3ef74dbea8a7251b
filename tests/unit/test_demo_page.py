"""What `demo --mics` shows of the messages it receives, on a terminal and elsewhere."""

from __future__ import annotations

import io
import json
from typing import Any

from paho.mqtt.client import MQTTMessage
from rich.console import Console

from node.commands.demo_mics import Page

SESSION = "20261129T054557Z-0001"


def message(kind: str, mic: str = "desk", session_id: str = SESSION, **body: Any) -> MQTTMessage:
    topic = "scribe/demo/event" if kind == "event" else f"scribe/demo/mic/{mic}/{kind}"
    made = MQTTMessage(topic=topic.encode())
    made.payload = json.dumps({"session_id": session_id, **body}).encode()
    return made


def partial(text: str, mic: str = "desk", session_id: str = SESSION) -> MQTTMessage:
    return message("partial", mic, session_id, speaker="Alice", text=text)


def segment(text: str, session_id: str = SESSION) -> MQTTMessage:
    said = {"speaker": "Alice", "text": text, "language": "en", "latency_s": 0.5}
    return message("segment", "desk", session_id, start="2026-11-29T05:45:57.000Z", **said)


def shown(*messages: MQTTMessage, terminal: bool) -> list[str]:
    """Return what is written at each message, and at the end."""
    file = io.StringIO()
    console = Console(file=file, force_terminal=terminal, width=80, color_system=None)
    written = []
    with Page(console, SESSION, {}) as page:
        for one in messages:
            page.take(one)
            written.append(file.getvalue())
            file.seek(0)
            file.truncate()
    return [*written, file.getvalue()]


def test_a_text_that_grows_is_seen_until_its_segment_comes() -> None:
    first, second, line, end = shown(
        partial("Good"), partial("Good morning"), segment("Good morning."), terminal=True
    )
    assert "Alice   Good …" in first
    assert "Alice   Good morning …" in second
    assert "05:45:57 Alice   Good morning.  en, 0.5 s" in line
    assert "…" not in line.partition("05:45:57")[2] + end


def test_no_text_that_grows_is_written_to_a_file() -> None:
    written = shown(partial("Good"), segment("Good."), partial("And"), terminal=False)
    assert "".join(written) == "05:45:57 Alice   Good.  en, 0.5 s\n"


def test_what_another_session_left_is_not_shown() -> None:
    old = "20261128T000000Z-0001"
    messages = (partial("Good", session_id=old), segment("Good.", session_id=old))
    assert "Good" not in "".join(shown(*messages, terminal=True))


def test_an_event_is_said() -> None:
    told = message("event", event_type="mic_lost", message="desk: it was pulled")
    assert "desk: it was pulled" in "".join(shown(told, terminal=False))
