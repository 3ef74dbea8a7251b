"""The MQTT broker, through paho: callbacks put items into one inbox and do nothing else.

paho would queue messages in memory and resend them all at once on reconnect. Here it holds only
what is in flight, and nothing across connections: what must not be lost is resent from the outbox,
and states are published again.
"""

from __future__ import annotations

import logging
import os
import queue
import random
import socket
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from paho.mqtt.client import Client, MQTTMessage, WebsocketConnectionError
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from node.core.mqtt.topics import OFFLINE

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from pathlib import Path

log = logging.getLogger(__name__)

MAX_QUEUED_COMMANDS = 1024
"""Most commands that wait; more are dropped and counted, never kept in memory."""

MAX_KEPT_BYTES = 64 * 1024 + 1
"""Bytes kept of a payload: enough to see that it is longer than any request may be."""

MAX_PACKET_BYTES = 1024 * 1024
"""Largest packet an MQTT 5 broker may send us: paho would read any packet into memory whole."""

RECONNECT_MIN_S, RECONNECT_MAX_S = 2.0, 60.0
"""Waits between reconnects double from the first to the second; each is drawn at random between
half of that and all of it."""

CONNECT_TIMEOUT_S = 5.0
"""How long a broker may take to answer; paho's own limit for a connection is the same."""

STEADY_S = 30.0
"""A connection that lasts this long resets the waits. One that the broker accepts and soon cuts
does not count: the node would come back every other second for ever."""

TAKEN_OVER = 0x8E
"""MQTT 5 reason code of a DISCONNECT: session taken over."""

FAILED, PROTOCOL_ERROR, QUOTA_EXCEEDED = 0x80, 0x82, 0x97
"""The first reason code that means failure, and two such codes (MQTT 5, 2.4)."""

NO_SUBSCRIBERS = 0x10
"""Reason code of a PUBACK: accepted, but there are no matching subscribers."""


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker publishes, retained, when this client vanishes."""

    topic: str
    payload: bytes = OFFLINE.encode()


@dataclass(frozen=True, slots=True)
class BrokerSettings:
    """Where the broker is and how to connect to it."""

    host: str
    port: int
    client_id: str
    protocol: str = "5"
    keepalive_s: int = 30
    username: str | None = None
    password: str | None = None
    tls: ssl.SSLContext | None = None
    tls_ca_file: Path | None = None
    websocket_path: str | None = None
    """Where MQTT is carried over WebSockets; None for plain TCP."""

    def __repr__(self) -> str:
        return f"BrokerSettings({self.host}:{self.port}, {self.client_id}, MQTT {self.protocol})"


@dataclass(frozen=True, slots=True)
class Connected:
    """The connection is up.

    `max_packet` is the largest packet the broker accepts, in bytes; `receive_maximum` is how many
    unacknowledged QoS 1 messages it accepts. None: it has set no limit. `shares`: whether several
    clients can share a subscription.
    """

    max_packet: int | None = None
    receive_maximum: int | None = None
    shares: bool = True


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The connection is gone, or could not be made.

    `taken_over`: another client has connected with this node's client id.
    """

    reason: str
    taken_over: bool = False


@dataclass(frozen=True, slots=True)
class Message:
    """A message on a subscribed topic.

    `receipt` is what `Broker.acknowledge` needs: the connection it came by, and its packet id; 0 if
    it needs no acknowledgement.
    """

    topic: str
    payload: bytes
    retained: bool
    response_topic: str | None = None
    correlation: bytes | None = None
    receipt: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The broker has answered a subscription or a QoS 1 publish.

    `refused` is its reason if it did not accept it; `try_later`: it may accept it soon. `unheard`:
    it says that nobody has subscribed to the topic; not every broker does.
    """

    mid: int
    refused: str | None = None
    try_later: bool = False
    unheard: bool = False


BrokerItem = Connected | Disconnected | Message | Acknowledged


NoWebSocket = WebsocketConnectionError
"""The OSError for a server that does not open a WebSocket at the path."""

Acknowledgement = tuple[ReasonCode, object]
"""A broker's answer to a CONNECT: its reason code and properties."""

Trouble = OSError | ReasonCode | None
"""Why there is no connection: a network error, the broker's answer, or its silence (None)."""


def new_client(
    settings: BrokerSettings,
    will: Will | None = None,
    *,
    keeps_trying: bool = True,
    most_unacknowledged: int | None = None,
) -> Client:
    """Return a client that connects as the settings say, once its loop runs.

    A password without a user is sent with an empty user name: paho sends no password without one.
    With `most_unacknowledged` the broker sends no more messages than that before the first of them
    is acknowledged, which the caller has to do.
    """
    five = settings.protocol == "5"
    client = Client(
        CallbackAPIVersion.VERSION2,
        client_id=settings.client_id,
        protocol=MQTTProtocolVersion.MQTTv5 if five else MQTTProtocolVersion.MQTTv311,
        clean_session=None if five else True,
        reconnect_on_failure=keeps_trying,
        transport="tcp" if settings.websocket_path is None else "websockets",
        manual_ack=most_unacknowledged is not None,
    )
    if settings.websocket_path is not None:
        client.ws_set_options(settings.websocket_path)
    if will is not None:
        client.will_set(will.topic, will.payload, qos=1, retain=True)
    if settings.username is not None or settings.password is not None:
        client.username_pw_set(settings.username or "", settings.password)
    if settings.tls is not None:
        client.tls_set_context(settings.tls)
    options: dict[str, Any] = {}
    if five:
        limit = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho has no types there
        limit.MaximumPacketSize = MAX_PACKET_BYTES
        if most_unacknowledged is not None:
            limit.ReceiveMaximum = most_unacknowledged
        options = {"clean_start": True, "properties": limit}
    client.connect_async(settings.host, settings.port, settings.keepalive_s, **options)
    return client


def lacks(properties: object) -> str | None:
    """Return what the node needs but the broker does not offer, according to its CONNACK."""
    if getattr(properties, "MaximumQoS", 1) < 1:
        return "QoS 1 (Maximum QoS is 0)"
    if getattr(properties, "RetainAvailable", 1) == 0:
        return "retained messages (Retain Available is 0)"
    return None


def ask(settings: BrokerSettings, will: Will | None = None) -> tuple[ReasonCode, object] | None:
    """Connect once, with a will as a node does, and disconnect without leaving a trace.

    Returns:
        The broker's answer with its properties; None if it closes the connection or is silent.

    Raises:
        OSError: there is no connection, or TLS fails (ssl.SSLError).
    """
    answers: queue.SimpleQueue[Acknowledgement | None] = queue.SimpleQueue()
    client = new_client(settings, will, keeps_trying=False)
    client.on_connect = lambda _client, _data, _flags, reason, properties: answers.put(
        (reason, properties)
    )
    client.on_disconnect = lambda _client, _data, _flags, reason, properties: answers.put(
        (reason, properties) if reason.value == PROTOCOL_ERROR else None
    )
    client.reconnect()
    client.loop_start()
    try:
        return answers.get(timeout=CONNECT_TIMEOUT_S)
    except queue.Empty:
        return None
    finally:
        client.disconnect()
        client.loop_stop()


class Broker:
    """One connection, kept up by paho's network thread. One thread owns it; `alive` is for any.

    Args:
        settings: where and how to connect.
        will: what the broker publishes when this process vanishes, if anything.
        deliver: takes every item; called in paho's thread, must not block or raise.
        explain: says what to do about a connection that could not be made; called in paho's
            thread too.
        most_unacknowledged: see `new_client`; None acknowledges each message at once.
        kept_bytes: bytes kept of a payload that arrives.
    """

    def __init__(
        self,
        settings: BrokerSettings,
        will: Will | None,
        deliver: Callable[[BrokerItem], None],
        explain: Callable[[Trouble], str],
        *,
        most_unacknowledged: int | None = None,
        kept_bytes: int = MAX_KEPT_BYTES,
    ) -> None:
        self._settings = settings
        self._explain = explain
        self._deliver = deliver
        self._will = will
        self._most_unacknowledged = most_unacknowledged
        self._kept_bytes = kept_bytes
        self._connections = 0
        self._five = settings.protocol == "5"
        self._client: Client | None = None
        self._network_thread: threading.Thread | None = None
        self._is_open = self._refused = False
        self._stands_since: float | None = None
        self._failures = 0

    def start(self) -> None:
        """Connect, and keep trying for ever; the broker need not be there yet."""
        client = new_client(
            self._settings, self._will, most_unacknowledged=self._most_unacknowledged
        )
        client.suppress_exceptions = True  # an error in a callback must not end the thread
        client.on_pre_connect = self._on_pre_connect
        client.on_connect = self._on_connect
        client.on_connect_fail = self._on_connect_fail
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        client.on_publish = self._on_publish
        client.on_subscribe = self._on_subscribe
        client.on_socket_open = self._on_socket_open
        self._client = client
        client.loop_start()

    def stop(self) -> None:
        """Close the connection; the broker sends no will after this."""
        if self._client is not None:
            self._client.disconnect()
            self._client.loop_stop()
            self._client = None

    def renew(self) -> None:
        """End the connection as a pulled cable would; paho's thread makes a new one."""
        if self._client is not None:
            _cut(self._client)

    def settled(self) -> None:
        """Reset the waits: what made the broker end the connections is not sent any more."""
        self._failures = 0

    def subscribe(self, topic_filter: str) -> int | None:
        """Subscribe, and return the mid to expect in `Acknowledged`; None if it was not sent."""
        assert self._client is not None
        return self._client.subscribe(topic_filter, 1)[1]

    def overhear(self, topic: str) -> None:
        """Subscribe to what others publish on a topic, with QoS 0; only with MQTT 5."""
        assert self._client is not None
        self._client.subscribe(topic, options=SubscribeOptions(qos=0, noLocal=True))

    def unsubscribe(self, topic_filter: str) -> None:
        assert self._client is not None
        self._client.unsubscribe(topic_filter)

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int = 1,
        retain: bool = False,
        expiry_s: int | None = None,
        correlation: bytes | None = None,
        response_topic: str | None = None,
    ) -> int | None:
        """Publish, and return the mid to expect in `Acknowledged`; None if it was not sent."""
        assert self._client is not None
        given = {
            "MessageExpiryInterval": expiry_s,
            "CorrelationData": correlation,
            "ResponseTopic": response_topic,
        }
        properties = None
        if self._five and any(value is not None for value in given.values()):
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho has no types there
            for name, value in given.items():
                if value is not None:
                    setattr(properties, name, value)
        info = self._client.publish(topic, payload, qos=qos, retain=retain, properties=properties)
        return info.mid if info.rc == MQTTErrorCode.MQTT_ERR_SUCCESS else None

    def acknowledge(self, message: Message) -> None:
        """Acknowledge a message, unless its connection has ended: ids begin anew with each.

        Messages must be acknowledged in the order in which they came (MQTT 5, 4.6).
        """
        connection, mid = message.receipt
        if self._client is not None and mid and connection == self._connections:
            self._client.ack(mid, 1)

    def alive(self) -> bool:
        """Return whether paho's network thread runs, or has yet to start; it must until `stop`.

        For any thread.
        """
        return self._network_thread is None or self._network_thread.is_alive()

    # paho's thread runs everything below.

    def _on_pre_connect(self, _client: Client, _data: object) -> None:
        """Remember the thread: paho does not say which one it is."""
        self._network_thread = threading.current_thread()

    def _on_socket_open(self, _client: Client, _data: object, connection: Any) -> None:
        """Send each message at once: Nagle's algorithm held segments back for up to 40 ms."""
        self._is_open = True
        with _plain(connection) as plain:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _draw_wait(self, client: Client) -> None:
        """Set a random wait: with paho's own, all nodes would reconnect at the same moment."""
        longest = min(RECONNECT_MAX_S, RECONNECT_MIN_S * 2**self._failures)
        wait = random.uniform(longest / 2, longest)
        client.reconnect_delay_set(wait, wait)  # type: ignore[arg-type]  # a float works too
        self._failures = min(self._failures + 1, 16)

    def _on_connect(
        self, client: Client, _data: object, _flags: object, reason: ReasonCode, properties: object
    ) -> None:
        client.drop_out_messages()
        self._connections += 1
        if reason.is_failure:
            self._refuse(f"{reason}: {self._explain(reason)}")
        elif (missing := lacks(properties)) is not None:
            self._refuse(f"it has no {missing}, which the node needs")
            _cut(client)
        else:
            self._stands_since = time.monotonic()
            largest = getattr(properties, "MaximumPacketSize", None)
            most = getattr(properties, "ReceiveMaximum", None)
            shares = getattr(properties, "SharedSubscriptionAvailable", 1) != 0
            self._deliver(Connected(largest, most, shares))

    def _refuse(self, why: str) -> None:
        self._refused = True
        self._deliver(Disconnected(f"the broker refuses the connection: {why}"))

    def _on_connect_fail(self, client: Client, _data: object) -> None:
        self._draw_wait(client)
        where = f"{self._settings.host}:{self._settings.port}"
        error = sys.exception()  # paho calls this while handling it
        advice = self._explain(error if isinstance(error, OSError) else OSError("no connection"))
        self._deliver(Disconnected(f"no connection to {where}: {advice}"))

    def _on_disconnect(
        self, client: Client, _data: object, flags: Any, reason: ReasonCode, _props: object
    ) -> None:
        if not self._is_open:  # paho calls this twice if the broker disconnects first
            return
        since, refused = self._stands_since, self._refused
        self._is_open, self._stands_since, self._refused = False, None, False
        if since is not None and time.monotonic() - since >= STEADY_S:
            self._failures = 0
        self._draw_wait(client)
        if refused:  # already reported, with a better reason
            return
        said = bool(flags.is_disconnect_packet_from_server)
        if since is None:
            trouble = reason if said or reason.value == PROTOCOL_ERROR else None
            self._deliver(Disconnected(self._explain(trouble)))
            return
        what = f"the broker closed the connection: {reason}" if said else "connection lost"
        self._deliver(Disconnected(what, self._five and said and reason.value == TAKEN_OVER))

    def _on_message(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        properties = message.properties
        self._deliver(
            Message(
                topic=message.topic,
                payload=bytes(message.payload[: self._kept_bytes]),
                retained=message.retain,
                response_topic=getattr(properties, "ResponseTopic", None),
                correlation=getattr(properties, "CorrelationData", None),
                receipt=(self._connections, message.mid if message.qos else 0),
            )
        )

    def _on_publish(
        self, _client: Client, _data: object, mid: int, reason: ReasonCode, _props: object
    ) -> None:
        self._answer(mid, reason)

    def _on_subscribe(
        self, _client: Client, _data: object, mid: int, reasons: list[ReasonCode], _props: object
    ) -> None:
        self._answer(mid, reasons[0])

    def _answer(self, mid: int, reason: ReasonCode) -> None:
        refused = str(reason) if reason.value >= FAILED else None
        later, unheard = reason.value == QUOTA_EXCEEDED, reason.value == NO_SUBSCRIBERS
        self._deliver(Acknowledged(mid, refused, later, unheard))


def _cut(client: Client) -> None:
    stream = client.socket()
    if stream is not None:
        with suppress(OSError), _plain(stream) as plain:  # it may be closed already
            plain.shutdown(socket.SHUT_RDWR)


def _plain(connection: Any) -> socket.socket:
    """Return the same connection as a plain socket, to be closed: paho's WebSocket is not one."""
    return socket.socket(fileno=os.dup(connection.fileno()))
