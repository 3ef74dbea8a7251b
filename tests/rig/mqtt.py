"""An MQTT client that remembers everything it receives, for tests of the broker's traffic."""

from __future__ import annotations

import itertools
import json
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import pytest
from paho.mqtt.client import Client, MQTTMessage, MQTTv5, topic_matches_sub
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from tests.rig.broker import HOST
from tests.rig.patience import Patience
from tests.rig.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

CONNECT_TIMEOUT_S = 10
LOOK_S = 0.1
_TRANSACTIONS = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Message:
    """A received message; `time` is CLOCK_MONOTONIC at its arrival, in seconds."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    properties: Any
    time: float

    @property
    def text(self) -> str:
        return self.payload.decode()

    def json(self) -> Any:
        return json.loads(self.payload)


class Watcher:
    """Subscribes to `topics` and records every message in order of arrival, across reconnects.

    Messages are numbered from 0: `count()` is the number of the next one, and the other methods
    ignore messages with numbers below `after`.
    """

    def __init__(
        self,
        port: int,
        *,
        topics: Sequence[str] = ("#",),
        protocol: MQTTProtocolVersion = MQTTv5,
        username: str | None = None,
        password: str | None = None,
        ca_file: Path | None = None,
    ) -> None:
        self._port = port
        self._topics = [(topic, 1) for topic in topics]
        self._messages: list[Message] = []
        self._changed = threading.Condition()
        self._subscribed = threading.Event()
        self._client = Client(CallbackAPIVersion.VERSION2, protocol=protocol)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message
        if username is not None:
            self._client.username_pw_set(username, password)
        if ca_file is not None:
            self._client.tls_set(str(ca_file))

    # Called by paho's network thread, which an exception would end silently.

    def _on_connect(self, client: Client, *_rest: object) -> None:
        client.subscribe(list(self._topics))

    def _on_disconnect(self, *_arguments: object) -> None:
        self._subscribed.clear()

    def _on_subscribe(self, *_arguments: object) -> None:
        self._subscribed.set()

    def _on_message(self, _client: Client, _userdata: object, message: MQTTMessage) -> None:
        with self._changed:
            self._messages.append(
                Message(
                    topic=message.topic,
                    payload=bytes(message.payload),
                    qos=message.qos,
                    retain=message.retain,
                    properties=getattr(message, "properties", None),
                    time=time.monotonic(),
                )
            )
            self._changed.notify_all()

    # Called by tests.

    def __enter__(self) -> Self:
        self._client.connect(HOST, self._port)
        self._client.loop_start()
        self.wait_connected()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def wait_connected(self, timeout: float = CONNECT_TIMEOUT_S) -> None:
        """Wait until the topics are subscribed."""
        wait_until(self._subscribed.is_set, timeout, f"subscribed on port {self._port}")

    def wait_disconnected(self, timeout: float = CONNECT_TIMEOUT_S) -> None:
        """Wait until the loss of the broker is noticed; call before `wait_connected`."""
        wait_until(lambda: not self._subscribed.is_set(), timeout, "the broker was lost")

    def count(self) -> int:
        return len(self._messages)

    def messages(self, topic_filter: str = "#", after: int = 0) -> list[Message]:
        return [
            message
            for message in self._messages[after:]
            if topic_matches_sub(topic_filter, message.topic)
        ]

    def wait_for(
        self, wanted: str | Callable[[Message], bool], timeout: float = 5, after: int = 0
    ) -> Message:
        """Return the first past or future message that matches a topic filter or a function.

        If there is none within `timeout` seconds, or more on a busy machine, fail with the topics
        that did arrive.
        """

        def first() -> Message | None:
            found = (message for message in self._messages[after:] if _fits(message, wanted))
            return next(found, None)

        patience = Patience(timeout)
        with self._changed:
            while not (message := first()) and not patience.over():
                self._changed.wait(LOOK_S)
        if message is None:
            topics = sorted({message.topic for message in self._messages[after:]})
            pytest.fail(f"{wanted} did not come within {timeout} s; topics that did: {topics}")
        return message

    def publish(
        self, topic: str, payload: str | bytes = b"", *, qos: int = 1, retain: bool = False
    ) -> None:
        """Publish; with `qos` 1, wait until the broker has it."""
        sent = self._client.publish(topic, payload, qos, retain)
        wait_until(sent.is_published, CONNECT_TIMEOUT_S, f"the broker has {topic}")

    def request(
        self,
        node_topic: str,
        verb: str,
        payload: dict[str, Any] | None = None,
        timeout: float = 10,
    ) -> dict[str, Any]:
        """Send a request to `<node_topic>/request/<verb>` and return its answer, by transaction."""
        transaction = f"test-{next(_TRANSACTIONS)}"
        response = f"{node_topic}/response/{verb}"
        body = {**(payload or {}), "transaction": transaction}
        after = self.count()
        self.publish(f"{node_topic}/request/{verb}", json.dumps(body))
        answer = self.wait_for(
            lambda message: (
                message.topic == response and message.json().get("transaction") == transaction
            ),
            timeout,
            after,
        )
        decoded: dict[str, Any] = answer.json()
        return decoded


def _fits(message: Message, wanted: str | Callable[[Message], bool]) -> bool:
    if isinstance(wanted, str):
        return topic_matches_sub(wanted, message.topic)
    return wanted(message)
