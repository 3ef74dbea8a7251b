"""Checks that the broker accepts this node and that its login is safe. Publishes nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from node.adapters.broker import Will, ask, lacks
from node.commands.findings import Finding, ok, warning, wrong
from node.core.mqtt.topics import Topics
from node.errors import ConfigError
from node.service.publishing.broker_advice import (
    anonymous_warning,
    connection_advice,
    plain_password_warning,
    refusal_advice,
)
from node.service.settings import broker_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from node.adapters.broker import BrokerSettings
    from node.config import Config
    from node.config.sections import MqttConfig


def check_broker(config: Config) -> Iterator[Finding]:
    """Look at the login, then connect with it and a client id of its own."""
    yield from _login(config.mqtt)
    try:
        settings = broker_settings(config)
    except ConfigError as error:
        yield wrong("broker", f"{error}; the broker was not tried")
        return
    # With the node's own id, a running node would be disconnected.
    will = Will(Topics(config.mqtt.base_topic, config.node.id).status)
    yield _connect(replace(settings, client_id=f"{settings.client_id}:check"), will)


def _login(mqtt: MqttConfig) -> Iterator[Finding]:
    if mqtt.password_file is not None and not mqtt.password_file_is_private():
        yield warning(
            "password file",
            f"other users of this machine can read it: chmod 600 {mqtt.password_file}",
        )
    if "." in mqtt.base_topic:
        yield warning(
            "base topic",
            "mqtt.base_topic: RabbitMQ takes the dot for a topic level, so no command would arrive"
            ' through it; use "_"',
        )
    for problem in filter(None, (anonymous_warning(mqtt), plain_password_warning(mqtt))):
        yield warning("broker login", problem)


def _connect(settings: BrokerSettings, will: Will) -> Finding:
    where = f"{settings.host}:{settings.port}"
    try:
        answer = ask(settings, will)
    except OSError as error:
        return wrong("broker", f"{where}: {connection_advice(settings, error)}")
    if answer is None:
        return wrong("broker", f"{where}: {connection_advice(settings, None)}")
    reason, properties = answer
    if reason.is_failure:
        return wrong("broker", f"{where} refuses: {refusal_advice(reason, settings)}")
    if (missing := lacks(properties)) is not None:
        return wrong("broker", f"{where} has no {missing}, which the node needs")
    tls = "with TLS" if settings.tls else "without TLS"
    carried = f"MQTT {settings.protocol}"
    if settings.websocket_path is not None:
        carried += " over WebSockets"
    return ok("broker", f"{where}, {carried}, {tls}, {_who(settings)}")


def _who(settings: BrokerSettings) -> str:
    if settings.username:
        return f"as {settings.username}"
    return "with only a password" if settings.password else "anonymous"
