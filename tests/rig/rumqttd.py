"""A private rumqttd, with MQTT 5 and shared subscriptions, from the package `iotcore`.

That has no wheel for a Raspberry Pi, so it is not among the locked requirements: tests that need it
are skipped where it is missing (`make test` installs it where it can).
"""

from __future__ import annotations

import importlib.util
import shutil
import socket
import sys
import tempfile
from pathlib import Path
from typing import Self

import pytest

from tests.rig.broker import HOST, free_port
from tests.rig.processes import Program, wait_until

START_TIMEOUT_S = 20
SERVE = "import sys; from iotcore.iotcore import IotCoreBroker as B; B(sys.argv[1]).run_forever()"
CONFIGURATION = """
id = 0

[router]
id = 0
max_connections = 100
max_outgoing_packet_count = 200
max_segment_size = 104857600
max_segment_count = 10
shared_subscriptions_strategy = "roundrobin"

[v5.1]
name = "v5"
listen = "{host}:{port}"
next_connection_delay_ms = 1

[v5.1.connections]
connection_timeout_ms = 60000
max_payload_size = 1048576
max_inflight_count = 100
dynamic_filters = true
"""


class Rumqttd:
    """Runs within its context."""

    def __init__(self) -> None:
        if importlib.util.find_spec("iotcore") is None:
            pytest.skip("needs the package iotcore, which has wheels for x86-64 only")
        self.port = free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="rumqttd-"))
        file = self._folder / "rumqttd.toml"
        file.write_text(CONFIGURATION.format(host=HOST, port=self.port))
        self._program = Program([sys.executable, "-c", SERVE, str(file)], None, self._folder)

    def _accepts(self) -> bool:
        assert self._program.process.poll() is None, self._program.output()
        try:
            socket.create_connection((HOST, self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def __enter__(self) -> Self:
        self._program.start()
        wait_until(self._accepts, START_TIMEOUT_S, f"rumqttd listens on port {self.port}")
        return self

    def __exit__(self, *_exception: object) -> None:
        self._program.__exit__()
        shutil.rmtree(self._folder)
