"""The connection to the broker: what comes is handed to the event loop, which owns all the rest."""

from __future__ import annotations

import sys
from dataclasses import replace
from secrets import token_hex
from typing import TYPE_CHECKING

from node.adapters.broker import new_client

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable

    from paho.mqtt.client import Client, MQTTMessage
    from paho.mqtt.reasoncodes import ReasonCode

    from node.adapters.broker import BrokerSettings, Trouble

RECONNECT_S = 1, 15
"""First and longest wait between two attempts, in seconds: people wait in front of the page."""

FOLLOWED = (
    "status",
    "info",
    "session",
    "mics",
    "mic/+/state",
    "mic/+/segment",
    "mic/+/partial",
    "event",
    "response/#",
)
"""What is subscribed to of every node."""


class BrokerLink:
    """Owned by the event loop's thread; kept up by paho's.

    Args:
        settings: the broker; the client id gets an ending of its own.
        base: the nodes' base topic.
        explain: says what to do about a connection that fails; called in paho's thread.
    """

    def __init__(
        self, settings: BrokerSettings, base: str, explain: Callable[[Trouble], str]
    ) -> None:
        self._client = new_client(replace(settings, client_id=f"scribe-web-{token_hex(6)}"))
        self._where = f"{settings.host}:{settings.port}"
        self._base = base
        self._explain = explain

    def start(
        self,
        loop: AbstractEventLoop,
        *,
        up: Callable[[], None],
        down: Callable[[str], None],
        came: Callable[[str, bytes, bool], None],
    ) -> None:
        """Connect, and keep trying until `stop`. The functions are called in the loop's thread."""
        self._loop, self._up, self._down, self._came = loop, up, down, came
        client = self._client
        client.suppress_exceptions = True  # an error in a callback must not end the thread
        client.reconnect_delay_set(*RECONNECT_S)
        client.on_connect = self._on_connect
        client.on_connect_fail = self._on_connect_fail
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        client.loop_start()

    def stop(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def publish(self, topic: str, payload: str) -> None:
        self._client.publish(topic, payload, qos=1)

    # paho's thread runs everything below.

    def _on_connect(
        self, client: Client, _data: object, _flags: object, reason: ReasonCode, _props: object
    ) -> None:
        client.drop_out_messages()  # a request that nobody waits for any more
        if reason.is_failure:
            self._tell_down(f"{reason}: {self._explain(reason)}")
            return
        client.subscribe([(f"{self._base}/+/{topic}", 1) for topic in FOLLOWED])
        self._loop.call_soon_threadsafe(self._up)

    def _on_connect_fail(self, _client: Client, _data: object) -> None:
        error = sys.exception()  # paho calls this while handling it
        self._tell_down(self._explain(error if isinstance(error, OSError) else OSError("failed")))

    def _on_disconnect(self, *_: object) -> None:
        self._tell_down("connection lost")

    def _tell_down(self, reason: str) -> None:
        self._loop.call_soon_threadsafe(self._down, f"{self._where}: {reason}")

    def _on_message(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        self._loop.call_soon_threadsafe(
            self._came, message.topic, bytes(message.payload), message.retain
        )
