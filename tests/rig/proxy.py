"""A TCP proxy in front of a broker: it delays, drops, cuts, and counts what is acknowledged.

It can also be strict: mosquitto tolerates more unacknowledged messages than its Receive Maximum;
other brokers disconnect.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
from typing import TYPE_CHECKING, Self

from tests.rig.broker import HOST, free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CONNECT_TIMEOUT_S = 5
CHUNK_BYTES = 65536
CONNACK, PUBLISH, PUBACK = 2, 3, 4  # the upper four bits of the first byte (MQTT 5, 2.1.2)
RECEIVE_MAXIMUM = 0x21  # a property, of two bytes (MQTT 5, 2.2.2.2)
QUOTA_EXCEEDED = 0x97  # a reason code (MQTT 5, 2.4)
RECEIVE_MAXIMUM_EXCEEDED = b"\xe0\x02\x93\x00"  # DISCONNECT with this reason and no property


class Packets:
    """Splits one direction of an MQTT connection into its control packets."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield every complete packet, and its body."""
        self._pending += data
        while (lengths := self._lengths()) is not None:
            header, size = lengths
            if len(self._pending) < header + size:
                return
            packet = bytes(self._pending[: header + size])
            del self._pending[: header + size]
            yield packet, packet[header:]

    def _lengths(self) -> tuple[int, int] | None:
        """Return the bytes of the fixed header and of the rest, once the header is complete."""
        size = 0
        for place, byte in enumerate(self._pending[1:5]):
            size |= (byte & 0x7F) << (7 * place)
            if byte < 0x80:
                return place + 2, size
        return None


class Connection:
    """One client's connection to the broker, forwarded by two threads."""

    def __init__(self, proxy: Proxy, client: socket.socket, broker: socket.socket) -> None:
        self._proxy = proxy
        self._client, self._broker = client, broker
        self._counted: set[int] = set()
        self._unacknowledged: set[int] = set()
        self._threads = [
            threading.Thread(target=self._pass_on, args=(client, broker, self._from_client)),
            threading.Thread(target=self._pass_on, args=(broker, client, self._from_broker)),
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def cut(self) -> None:
        """End it for both sides at once, as a pulled cable does."""
        for side in (self._client, self._broker):
            with contextlib.suppress(OSError):  # the other thread was faster
                side.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Wait for its end, after `cut`."""
        for thread in self._threads:
            thread.join()
        self._client.close()
        self._broker.close()

    def _pass_on(
        self, source: socket.socket, target: socket.socket, look: Callable[[bytes, bytes], bytes]
    ) -> None:
        packets = Packets()
        with contextlib.suppress(OSError):
            while data := source.recv(CHUNK_BYTES):
                if source is self._broker:
                    time.sleep(self._proxy.delay_s)
                for packet, body in packets.feed(data):
                    if passed_on := look(packet, body):
                        target.sendall(passed_on)
        self.cut()

    def _from_client(self, packet: bytes, body: bytes) -> bytes:
        if packet[0] >> 4 == PUBLISH:
            number = self._count(packet[0], body)
            if number is not None and self._proxy.over_quota > 0:
                self._proxy.over_quota -= 1
                self._acknowledge(number)
                self._client.sendall(_refusing(number, QUOTA_EXCEEDED))
                return b""
            if self._exceeds():
                self._proxy.exceeded += 1
                self._client.sendall(RECEIVE_MAXIMUM_EXCEEDED)
                self.cut()
                return b""
        return packet

    def _count(self, first: int, body: bytes) -> int | None:
        """Return the packet identifier if the message is one that `counts`."""
        size = int.from_bytes(body[:2], "big")
        topic = body[2 : 2 + size].decode()
        self._proxy.published.append(topic)
        if not first & 0x06:  # QoS 0
            return None
        number = int.from_bytes(body[2 + size : 4 + size], "big")
        self._unacknowledged.add(number)
        if not self._proxy.counts(topic):
            return None
        self._counted.add(number)
        self._proxy.most_unacknowledged = max(self._proxy.most_unacknowledged, len(self._counted))
        return number

    def _acknowledge(self, number: int) -> None:
        self._unacknowledged.discard(number)
        self._counted.discard(number)

    def _exceeds(self) -> bool:
        most = self._proxy.receive_maximum
        return most is not None and len(self._unacknowledged) > most

    def _from_broker(self, packet: bytes, body: bytes) -> bytes:
        kind = packet[0] >> 4
        if kind == CONNACK and self._proxy.receive_maximum is not None:
            return _announcing(self._proxy.receive_maximum, body)
        if kind == PUBACK:
            self._acknowledge(int.from_bytes(body[:2], "big"))
            return b"" if self._proxy.lose_acknowledgements else packet
        return packet


def _refusing(number: int, reason: int) -> bytes:
    """Return a PUBACK of MQTT 5."""
    return bytes([PUBACK << 4, 3]) + number.to_bytes(2, "big") + bytes([reason])


def _announcing(receive_maximum: int, connack: bytes) -> bytes:
    """Return a CONNACK of MQTT 5 with this in place of the broker's own Receive Maximum."""
    size, properties = connack[2], connack[3:]
    assert size == len(properties) < 0x80
    properties = _without_receive_maximum(properties)
    properties += bytes([RECEIVE_MAXIMUM]) + receive_maximum.to_bytes(2, "big")
    body = connack[:2] + bytes([len(properties)]) + properties
    return bytes([CONNACK << 4, len(body)]) + body


def _without_receive_maximum(properties: bytes) -> bytes:
    """Remove the property; mosquitto's CONNACK has few, and their values have no such byte."""
    place = properties.find(RECEIVE_MAXIMUM)
    return properties if place < 0 else properties[:place] + properties[place + 3 :]


class Proxy:
    """Listens on `port` for clients of the broker on `broker_port`, while it is open.

    `delay_s` delays what the broker sends, `lose_acknowledgements` drops every PUBACK, and
    `lifetime_s` cuts each connection after that time. `published` lists the topics that clients
    have published to; of those that `counts` accepts, `most_unacknowledged` is the most that were
    ever in flight at once. With `receive_maximum`, it announces this to MQTT 5 clients and
    disconnects those with more in flight; `exceeded` counts these.
    Of the messages that `counts` accepts, the next `over_quota` are refused for now, with MQTT 5.
    """

    def __init__(
        self,
        broker_port: int,
        counts: Callable[[str], bool] = lambda _: True,
        receive_maximum: int | None = None,
    ) -> None:
        self._broker_port = broker_port
        self.receive_maximum = receive_maximum
        self.exceeded = self.over_quota = 0
        self.counts = counts
        self.port = free_port()
        self.delay_s = 0.0
        self.lose_acknowledgements = False
        self.lifetime_s: float | None = None
        self.published: list[str] = []
        self.most_unacknowledged = 0
        self.accepted_at: list[float] = []
        self._open: list[tuple[Connection, float]] = []
        self._quit = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def accepted(self) -> int:
        """The number of connections accepted so far."""
        return len(self.accepted_at)

    def cut(self) -> None:
        """Cut every open connection."""
        for connection, _ in self._open:
            connection.cut()

    def _run(self) -> None:
        with socket.create_server((HOST, self.port)) as server, selectors.PollSelector() as poll:
            poll.register(server, selectors.EVENT_READ)
            while not self._quit.is_set():
                if poll.select(0.02):
                    self._accept(server)
                self._cut_old()

    def _accept(self, server: socket.socket) -> None:
        client, _ = server.accept()
        try:
            broker = socket.create_connection((HOST, self._broker_port), CONNECT_TIMEOUT_S)
        except OSError:  # the broker is away: the client finds its connection closed
            client.close()
            return
        broker.settimeout(None)
        self.accepted_at.append(time.monotonic())
        connection = Connection(self, client, broker)
        self._open.append((connection, time.monotonic()))
        connection.start()

    def _cut_old(self) -> None:
        if self.lifetime_s is None:
            return
        for connection, since in self._open:
            if time.monotonic() - since > self.lifetime_s:
                connection.cut()

    def open(self) -> Self:
        """Accept connections on the port; until then they are refused."""
        self._quit.clear()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def close(self) -> None:
        """Cut every connection, and refuse new ones until it is opened again."""
        if self._thread is None:
            return
        self._quit.set()
        self._thread.join()
        self._thread = None
        self.cut()
        for connection, _ in self._open:
            connection.close()
        self._open.clear()

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(self, *_exception: object) -> None:
        self.close()
