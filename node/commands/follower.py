"""Reads what a running node has published; publishes nothing itself."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from node.adapters.broker import CONNECT_TIMEOUT_S, new_client
from node.errors import NodeError
from node.service.publishing.broker_advice import connection_advice, refusal_advice

if TYPE_CHECKING:
    from collections.abc import Iterable

    from paho.mqtt.client import Client, MQTTMessage
    from paho.mqtt.reasoncodes import ReasonCode

    from node.adapters.broker import BrokerSettings


class Follower:
    """Keeps the newest payload of some topics; connected inside its context.

    Args:
        settings: the node's own; the client id is changed, or the node would be disconnected.
        topics: what to follow.
    """

    def __init__(self, settings: BrokerSettings, topics: Iterable[str]) -> None:
        self._settings = settings
        self._topics = tuple(topics)
        self._payloads: dict[str, bytes] = {}
        self._changed = threading.Condition()
        self._answer: ReasonCode | None = None
        self._version = self._seen = 0
        own = replace(settings, client_id=f"{settings.client_id}:status-{os.getpid()}")
        self._client = new_client(own)

    def __enter__(self) -> Self:
        """Connect.

        Raises:
            NodeError: the broker cannot be reached, or refuses this client.
        """
        client, settings = self._client, self._settings
        client.suppress_exceptions = True  # an error in a callback must not end the thread
        client.on_connect = self._on_connect
        client.on_message = self._on_message
        client.on_disconnect = self._on_disconnect
        where = f"{settings.host}:{settings.port}"
        try:
            client.reconnect()
        except OSError as error:
            raise NodeError(f"broker {where}: {connection_advice(settings, error)}") from error
        client.loop_start()
        with self._changed:
            self._changed.wait_for(lambda: self._answer is not None, CONNECT_TIMEOUT_S)
        if self._answer is None:
            self.__exit__()
            raise NodeError(f"broker {where}: {connection_advice(settings, None)}")
        if self._answer.is_failure:
            self.__exit__()
            advice = refusal_advice(self._answer, settings)
            raise NodeError(f"broker {where} refuses: {advice}")
        return self

    def __exit__(self, *_exception: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    @property
    def connected(self) -> bool:
        """Whether the broker is connected; if not, what has arrived is old."""
        return self._client.is_connected()

    def wait(self, topics: Iterable[str], timeout_s: float) -> None:
        """Wait until each of these topics has a payload, or the time is over."""
        wanted = set(topics)
        with self._changed:
            self._changed.wait_for(lambda: wanted <= self._payloads.keys(), timeout_s)

    def wait_news(self, timeout_s: float) -> None:
        """Wait until something has changed since the last call."""
        with self._changed:
            self._changed.wait_for(lambda: self._version > self._seen, timeout_s)
            self._seen = self._version

    def payloads(self) -> dict[str, bytes]:
        """Return the newest payload by topic."""
        with self._changed:
            return dict(self._payloads)

    def text(self, topic: str) -> str:
        """Return the payload; empty if none has arrived or it was cleared."""
        with self._changed:
            return self._payloads.get(topic, b"").decode(errors="replace")

    def json(self, topic: str) -> dict[str, Any]:
        """Return the payload as an object; empty if there is none or it is not JSON."""
        try:
            payload = json.loads(self.text(topic) or "{}")
        except ValueError:
            return {}
        return payload if isinstance(payload, dict) else {}

    # paho's thread runs everything below.

    def _on_connect(
        self, client: Client, _data: object, _flags: object, reason: ReasonCode, _props: object
    ) -> None:
        if not reason.is_failure:
            client.subscribe([(topic, 0) for topic in self._topics])
        with self._changed:
            self._answer = reason
            self._changed.notify_all()

    def _on_disconnect(self, *_: object) -> None:
        with self._changed:
            self._version += 1  # this is a change too
            self._changed.notify_all()

    def _on_message(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        with self._changed:
            self._payloads[message.topic] = bytes(message.payload)
            self._version += 1
            self._changed.notify_all()
