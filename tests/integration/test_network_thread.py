"""Whether paho's network thread runs is known without looking into paho."""

from __future__ import annotations

import queue

import pytest

from node.adapters.broker import Broker, BrokerItem, BrokerSettings, Disconnected, Will
from tests.rig.broker import free_port

PATIENCE_S = 20.0


@pytest.fixture
def items() -> queue.SimpleQueue[BrokerItem]:
    return queue.SimpleQueue()


def test_an_ended_thread_is_seen(items: queue.SimpleQueue[BrokerItem]) -> None:
    """It runs for ever without a broker; if it ends all the same, that is reported."""
    settings = BrokerSettings("127.0.0.1", free_port(), "test")
    broker = Broker(settings, Will("test/status"), items.put, lambda _trouble: "none is there")
    broker.start()
    assert isinstance(items.get(timeout=PATIENCE_S), Disconnected)
    assert broker.alive()
    assert broker._client is not None
    broker._client.loop_stop()
    assert not broker.alive()
