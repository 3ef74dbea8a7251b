"""The MQTT client of the demos, one like any other, and how they show what it receives."""

from __future__ import annotations

import contextlib
import json
import math
import queue
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from rich.panel import Panel
from rich.text import Text

from node.adapters.broker import new_client
from node.core.mqtt.topics import ONLINE, Topics
from node.errors import NodeError
from node.service.settings import broker_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from paho.mqtt.client import MQTTMessage
    from rich.console import Console

    from node.config import Config

SPEAKER_COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "red")

ONLINE_S = 60.0
ANSWER_S = 60.0
"""Longest wait for any step of a demo; a loaded machine may be slow."""

LOOK_EVERY_S = 0.5
"""How often to check that the node still runs while nothing arrives."""


class DemoFollower:
    """Receives everything the node publishes, and hands it out in order.

    Args:
        config: the node's own.
        is_alive: says whether the node runs.
    """

    def __init__(self, config: Config, is_alive: Callable[[], bool]) -> None:
        self.topics = Topics(config.mqtt.base_topic, config.node.id)
        self._is_alive = is_alive
        self._received: queue.SimpleQueue[MQTTMessage] = queue.SimpleQueue()
        settings = broker_settings(config)
        self._client = new_client(replace(settings, client_id=f"{settings.client_id}:demo"))

    def __enter__(self) -> Self:
        self._client.on_message = lambda _client, _data, message: self._received.put(message)
        self._client.reconnect()
        self._client.subscribe(f"{self.topics.root}/#", qos=1)
        self._client.loop_start()
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def wait_online(self) -> None:
        """Wait until the node is online.

        Raises:
            NodeError: it has ended, or is not online after a minute.
        """
        for message in self._until(time.monotonic() + ONLINE_S):
            if message.topic == self.topics.status and message.payload.decode() == ONLINE:
                return
        raise NodeError(f"the node is not online after {ONLINE_S:.0f} s; see its log")

    def tell(self, verb: str, request: dict[str, Any]) -> None:
        payload = json.dumps(request, ensure_ascii=False)
        self._client.publish(f"{self.topics.root}/request/{verb}", payload, qos=1)

    def ask(self, verb: str, request: dict[str, Any]) -> Any:
        """Send a request and return the data of the answer.

        Raises:
            NodeError: the node refuses, with its reason; or there is no answer.
        """
        self.tell(verb, request)
        answer = self.wait_for(self.topics.response(verb))
        if answer["status"] != "ok":
            raise NodeError(f"{verb}: {answer['error']['message']}")
        return answer["data"]

    def wait_for(self, topic: str, others: Any = None) -> Any:
        """Return the next JSON on `topic`; segments that arrive meanwhile go to `others`.

        Raises:
            NodeError: nothing has arrived after a minute, or the node has ended.
        """
        for message in self._until(time.monotonic() + ANSWER_S):
            if message.topic == topic:
                return json.loads(message.payload)
            if others is not None and message.topic.endswith("/segment"):
                others(json.loads(message.payload))
        raise NodeError(f"nothing on {topic} after {ANSWER_S:.0f} s; see the node's log")

    def segments(self, until: float) -> Iterator[dict[str, Any]]:
        """Yield segments as they arrive, until this monotonic time."""
        for message in self._until(until):
            if message.topic.endswith("/segment"):
                yield json.loads(message.payload)

    def next(self, patience_s: float = math.inf) -> MQTTMessage:
        """Return the next message on any topic.

        Raises:
            NodeError: nothing has arrived for `patience_s` seconds, or the node has ended.
        """
        for message in self._until(time.monotonic() + patience_s):
            return message
        raise NodeError(f"nothing from the node for {patience_s:.0f} s; see its log")

    def _until(self, deadline: float) -> Iterator[MQTTMessage]:
        while (left := deadline - time.monotonic()) > 0:
            with contextlib.suppress(queue.Empty):
                yield self._received.get(timeout=min(left, LOOK_EVERY_S))
                continue
            if not self._is_alive():
                raise NodeError("the node has ended; see its log")


def show(console: Console, segment: dict[str, Any], colours: dict[str, str]) -> None:
    """Print a segment as one line."""
    line = Text()
    line.append(f"{segment['start'][11:19]} ", style="dim")
    line.append(f"{segment['speaker']:<7} ", style=colours.get(segment["speaker"], "white"))
    line.append(segment["text"])
    line.append(f"  {segment['language']}, {segment['latency_s']:.1f} s", style="dim")
    console.print(line, soft_wrap=True)


def show_transcript(console: Console, final: dict[str, Any]) -> None:
    """Print the transcript, and where its files are."""
    console.print(Panel(Text(final["text"].rstrip()), title="Transcript, in order of speech"))
    for form, path in final["files"].items():
        console.print(f"{form:>5}  {path}", soft_wrap=True)
