"""What tests of shared work begin with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.rig.scripted_worker import Scripted
from tests.rig.sharer import Sharer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.rig.broker import Broker


@pytest.fixture
def sharer(tmp_path: Path, broker: Broker) -> Sharer:
    return Sharer(tmp_path, broker.port)


@pytest.fixture
def worker(broker: Broker) -> Iterator[Scripted]:
    with Scripted(broker.port) as scripted:
        yield scripted
