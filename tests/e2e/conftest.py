"""One node for many sessions: four virtual mics, a private broker, a client that follows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.rig.broker import Broker
from tests.rig.mqtt import Watcher
from tests.rig.node import Room, RunningNode, configuration
from tests.rig.vmics import VirtualMic, VirtualMics

if TYPE_CHECKING:
    from collections.abc import Iterator

# `wall` and `sofa` are opened at the rates most USB microphones have, and resampled by the node.
MICS = {"desk": None, "door": None, "wall": 48000, "sofa": 44100}


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    folder = tmp_path_factory.mktemp("room")
    mics = [VirtualMic(name, rate or 16000) for name, rate in MICS.items()]
    with Broker() as broker, VirtualMics(mics) as virtual, Watcher(broker.port) as watcher:
        config = configuration(folder, broker.port, MICS)
        with RunningNode(folder, config, virtual.env) as node:
            node.wait_online(watcher)
            yield Room(node, virtual, watcher)


@pytest.fixture(autouse=True)
def _no_session_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test that fails in mid-session must not make the next one fail."""
    yield
    if "room" in request.fixturenames:
        room: Room = request.getfixturevalue("room")
        if room.node.program.process.poll() is None:
            room.ask("session/stop")
