"""A private RabbitMQ with its MQTT plugin: it disconnects clients that do something forbidden.

Debian's version speaks only MQTT 3.1.1. It takes about ten seconds to start, so many tests share
one.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tests.rig.broker import HOST, free_port
from tests.rig.certificates import make_certificates
from tests.rig.processes import Program, need, wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping

SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
START_TIMEOUT_S = 90
CONNECT = bytes.fromhex("100d 0004 4d515454 04 02 003c 0001 61")
"""MQTT 3.1.1, a clean session, client `a`. The first that connects waits for much to be loaded."""
CONNECTED = bytes.fromhex("20020000")
WEB_PATH = "/ws"
EXCHANGE = "amq.topic"  # where the plugin routes MQTT topics, with dots for slashes


class RabbitMQ:
    """Runs within its context.

    `users` maps names, which are also the passwords, to two regular expressions: the topics they
    may publish to and subscribe to, with dots for slashes. `guest` and anonymous clients may do
    everything.
    """

    def __init__(self, users: Mapping[str, tuple[str, str]]) -> None:
        need("rabbitmq-server", "epmd")
        self.port = free_port()
        self.web_port, self.web_tls_port = free_port(), free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="rmq-"))
        self._epmd_port = free_port()
        epmd = ["epmd", "-port", str(self._epmd_port), "-address", HOST]
        self._epmd = Program(epmd)
        self._server = Program([SERVER], self._environment(), self._folder)
        definitions = self._folder / "definitions.json"
        definitions.write_text(json.dumps(_definitions({**users, "guest": (".*", ".*")})))
        (self._folder / "plugins").write_text("[rabbitmq_mqtt,rabbitmq_web_mqtt].")
        make_certificates(self._folder)
        self.ca_file = self._folder / "ca.crt"
        (self._folder / "rabbitmq.conf").write_text(
            "listeners.tcp = none\n"
            f"mqtt.listeners.tcp.1 = {HOST}:{self.port}\n"
            f"web_mqtt.tcp.ip = {HOST}\nweb_mqtt.tcp.port = {self.web_port}\n"
            f"web_mqtt.ssl.ip = {HOST}\nweb_mqtt.ssl.port = {self.web_tls_port}\n"
            f"web_mqtt.ssl.cacertfile = {self._folder}/ca.crt\n"
            f"web_mqtt.ssl.certfile = {self._folder}/server.crt\n"
            f"web_mqtt.ssl.keyfile = {self._folder}/server.key\n"
            f"web_mqtt.ws_path = {WEB_PATH}\n"
            "mqtt.allow_anonymous = true\n"
            f"load_definitions = {definitions}\n"
        )

    def _environment(self) -> dict[str, str]:
        folder = self._folder
        return {
            **os.environ,
            "HOME": str(folder),  # for Erlang's cookie
            "ERL_EPMD_PORT": str(self._epmd_port),
            "RABBITMQ_NODENAME": f"test-{self.port}@localhost",
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(folder / "config"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
        }

    def _accepts(self) -> bool:
        assert self._server.process.poll() is None, self._server.output()
        try:
            with socket.create_connection((HOST, self.port), timeout=1) as client:
                client.sendall(CONNECT)
                return client.recv(len(CONNECTED)) == CONNECTED
        except OSError:
            return False

    def __enter__(self) -> Self:
        self._epmd.start()
        self._server.start()
        wait_until(self._accepts, START_TIMEOUT_S, f"RabbitMQ listens on port {self.port}")
        return self

    def __exit__(self, *_exception: object) -> None:
        self._server.__exit__()
        self._epmd.__exit__()
        shutil.rmtree(self._folder)


def _definitions(users: Mapping[str, tuple[str, str]]) -> dict[str, Any]:
    """Return its configuration in the form it exports it."""
    everything = {"configure": ".*", "write": ".*", "read": ".*"}
    return {
        "vhosts": [{"name": "/"}],
        "users": [_user(name) for name in users],
        "permissions": [{"user": name, "vhost": "/", **everything} for name in users],
        "topic_permissions": [
            {"user": name, "vhost": "/", "exchange": EXCHANGE, "write": write, "read": read}
            for name, (write, read) in users.items()
        ],
    }


def _user(name: str) -> dict[str, Any]:
    salt = b"salt"
    digest = base64.b64encode(salt + hashlib.sha256(salt + name.encode()).digest()).decode()
    algorithm = "rabbit_password_hashing_sha256"
    return {"name": name, "password_hash": digest, "hashing_algorithm": algorithm, "tags": []}
