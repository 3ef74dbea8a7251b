"""Every item type in the main thread's inbox has exactly one handler."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from node.adapters.broker import Connected
from node.adapters.systemd import Notifier
from node.app import Node, handlers
from node.config import Config
from node.service.handlers import KINDS, on, table
from node.service.items import MicLost, StopRequested
from node.service.parts import Parts

if TYPE_CHECKING:
    from pathlib import Path


def ignore(_item: object) -> None:
    """Accept anything."""


def rows(*left_out: type) -> list[Any]:
    return [on(kind, ignore) for kind in KINDS if kind not in left_out]


def test_the_node_has_a_handler_for_everything_that_may_come_in(tmp_path: Path) -> None:
    config = Config.model_validate({"storage": {"path": str(tmp_path)}})
    file = tmp_path / "node.yaml"
    Node(config, file, Notifier())
    assert handlers(Parts(config, file, Notifier(), lambda: None))
    assert list(tmp_path.iterdir()) == []  # creating it starts nothing


def test_an_item_goes_to_its_handler_and_to_no_other() -> None:
    taken: list[object] = []
    known = table(*rows(MicLost), on(MicLost, taken.append))
    for item in (Connected(), MicLost("desk", "unplugged"), StopRequested()):
        known[type(item)](item)
    assert taken == [MicLost("desk", "unplugged")]


def test_a_kind_without_a_handler_is_found_at_once() -> None:
    with pytest.raises(TypeError, match="Connected, MicLost have no handler"):
        table(*rows(MicLost, Connected))


def test_a_kind_with_two_handlers_is_found_at_once() -> None:
    with pytest.raises(TypeError, match="MicLost have several handlers"):
        table(*rows(), on(MicLost, ignore))


def test_a_handler_for_what_never_comes_in_is_found_at_once() -> None:
    with pytest.raises(TypeError, match="str have a handler, but are not items"):
        table(*rows(), on(str, ignore))
