"""Fixtures of several test modules."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

import tests.rig.one_thread  # noqa: F401 -- before all that loads numpy
from tests.rig.broker import Broker
from tests.rig.mqtt import Watcher
from tests.rig.rabbitmq import RabbitMQ
from tests.rig.recorder import Recorders
from tests.rig.vmics import VirtualMic, VirtualMics

if TYPE_CHECKING:
    from collections.abc import Iterator

RABBITMQ_USERS = {
    "no-health": (r"^(?!scribe\.lab\.health$)", ".*"),
    "no-segments": (r"^(?!scribe\.lab\.mic\.secret\.segment$)", ".*"),
    "no-events": (r"^(?!scribe\.lab\.event$)", ".*"),
    "no-partials": (r"^(?!scribe\.lab\.mic\..*\.partial$)", ".*"),
    "no-group": (".*", r"^(?!scribe\.all\.)"),
    "nothing": ("^$", "^$"),
}
"""Users of `rabbitmq`: what they may publish on, and subscribe to."""

# How long a property takes on a loaded machine does not matter. Examples are new ones in every run:
# few of them, in many runs, find as much, and the unit tests stay a matter of seconds.
settings.register_profile("patient", deadline=None, max_examples=50)
settings.load_profile("patient")


COMPUTE = {Path(__file__).parent / folder for folder in ("unit", "project")}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what waits for real programs: `-m "not realtime"` runs only what computes."""
    for item in items:
        if COMPUTE.isdisjoint(item.path.parents):
            item.add_marker(pytest.mark.realtime)


def pytest_collection_finish() -> None:
    """Keep what was imported and collected out of all later garbage collections: it stays."""
    gc.freeze()


@pytest.fixture
def broker() -> Iterator[Broker]:
    with Broker() as running:
        yield running


@pytest.fixture
def watcher(broker: Broker) -> Iterator[Watcher]:
    with Watcher(broker.port) as connected:
        yield connected


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[RabbitMQ]:
    """One broker for all tests, with a user for each thing it may forbid."""
    with RabbitMQ(RABBITMQ_USERS) as running:
        yield running


@pytest.fixture
def virtual_mics(monkeypatch: pytest.MonkeyPatch) -> Iterator[VirtualMics]:
    """Two microphones, `desk` at 16 kHz and `wall` at 48 kHz, seen by every child process."""
    with VirtualMics([VirtualMic("desk", 16000), VirtualMic("wall", 48000)]) as mics:
        mics.show_to_children(monkeypatch)
        yield mics


@pytest.fixture
def recorders() -> Iterator[Recorders]:
    group = Recorders()
    yield group
    group.kill()
