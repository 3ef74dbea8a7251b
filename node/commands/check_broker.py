"""Whether the broker lets this node in, and whether it should as it does. Publishes nothing."""

from __future__ import annotations

import queue
from dataclasses import replace
from typing import TYPE_CHECKING

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from node.commands.findings import Finding, ok, warning, wrong
from node.errors import ConfigError
from node.service.broker_advice import (
    CONNECT_TIMEOUT_S,
    anonymous_warning,
    network_advice,
    no_answer_advice,
    plain_password_warning,
)
from node.service.settings import broker_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from paho.mqtt.reasoncodes import ReasonCode

    from node.adapters.broker import BrokerSettings
    from node.config import Config
    from node.config.sections import MqttConfig

SUCCESS = 0

PROTOCOL_ERROR, UNSUPPORTED_PROTOCOL, BAD_CLIENT_ID = 0x82, 0x84, 0x85
BAD_LOGIN, NOT_AUTHORIZED, UNAVAILABLE, BUSY, BANNED = 0x86, 0x87, 0x88, 0x89, 0x8A
"""Reason codes of CONNACK (MQTT 5, 3.2.2.2); paho turns the return codes of 3.1.1 into these.

The first one is paho's own, for an answer it cannot make sense of, or 3.1.1 refused as such.
"""


def check_broker(config: Config) -> Iterator[Finding]:
    """Look at the login, then connect with it under a client id of its own."""
    yield from _login(config.mqtt)
    try:
        settings = broker_settings(config)
    except ConfigError as error:
        yield wrong("broker", f"{error}; the broker was not asked")
        return
    # Under the node's own id a running node would be thrown out.
    yield _connect(replace(settings, client_id=f"{settings.client_id}:check"))


def _login(mqtt: MqttConfig) -> Iterator[Finding]:
    if mqtt.password_file is not None and not mqtt.password_file_is_private():
        yield warning(
            "password file",
            f"other users of this machine can read it: chmod 600 {mqtt.password_file}",
        )
    for problem in filter(None, (anonymous_warning(mqtt), plain_password_warning(mqtt))):
        yield warning("broker login", problem)


def _connect(settings: BrokerSettings) -> Finding:
    where = f"{settings.host}:{settings.port}"
    try:
        reason = _ask(settings)
    except OSError as error:
        return wrong("broker", f"{where}: {network_advice(error, settings)}")
    if reason is None:
        return wrong("broker", f"{where}: {no_answer_advice(settings)}")
    if reason.value != SUCCESS:
        return wrong("broker", f"{where} refuses: {refusal_advice(reason, settings)}")
    who = f"as {settings.username}" if settings.username else "anonymous"
    tls = "with TLS" if settings.tls else "without TLS"
    return ok("broker", f"{where}, MQTT {settings.protocol}, {tls}, {who}")


def _ask(settings: BrokerSettings) -> ReasonCode | None:
    """Connect once; gives the broker's answer, or None where it closes or gives none.

    Raises:
        OSError: there is no connection, or TLS fails (ssl.SSLError).
    """
    answers: queue.SimpleQueue[ReasonCode | None] = queue.SimpleQueue()
    five = settings.protocol == "5"
    client = Client(
        CallbackAPIVersion.VERSION2,
        client_id=settings.client_id,
        protocol=MQTTProtocolVersion.MQTTv5 if five else MQTTProtocolVersion.MQTTv311,
        clean_session=None if five else True,
        reconnect_on_failure=False,
    )
    client.connect_timeout = CONNECT_TIMEOUT_S
    if settings.username is not None or settings.password is not None:
        client.username_pw_set(settings.username, settings.password)
    if settings.tls is not None:
        client.tls_set_context(settings.tls)
    client.on_connect = lambda _client, _data, _flags, reason, _props: answers.put(reason)
    client.on_disconnect = lambda _client, _data, _flags, reason, _props: answers.put(
        reason if reason.value == PROTOCOL_ERROR else None
    )
    client.connect(settings.host, settings.port, settings.keepalive_s)
    client.loop_start()
    try:
        return answers.get(timeout=CONNECT_TIMEOUT_S)
    except queue.Empty:
        return None
    finally:
        client.disconnect()
        client.loop_stop()


def refusal_advice(reason: ReasonCode, settings: BrokerSettings) -> str:
    """What to do where the broker has answered, but lets nobody in."""
    code = reason.value
    other = "3.1.1" if settings.protocol == "5" else "5"
    if code == UNSUPPORTED_PROTOCOL:
        advice = f'it does not speak MQTT {settings.protocol}; set mqtt.protocol: "{other}"'
    elif code == PROTOCOL_ERROR:
        advice = (
            f"its answer is no MQTT {settings.protocol}: correct mqtt.port if it is another kind of"
            f' server, or set mqtt.protocol: "{other}"'
        )
    elif code in {BAD_LOGIN, NOT_AUTHORIZED}:
        advice = _login_advice(settings)
    else:
        advice = {
            BAD_CLIENT_ID: f"it takes no client id like {settings.client_id}; change node.id",
            UNAVAILABLE: "it is not available now; try again, and look at its log",
            BUSY: "it is busy; try again, and look at its log",
            BANNED: "this client is banned; see its configuration",
        }.get(code, "see its log")
    return f"{advice} ({reason})"


def _login_advice(settings: BrokerSettings) -> str:
    if settings.username is None:
        return "it wants a login; set mqtt.username and mqtt.password_file"
    return (
        f"user {settings.username} with this password is not let in; correct mqtt.username or the"
        " content of mqtt.password_file, or allow this user on the broker"
    )
