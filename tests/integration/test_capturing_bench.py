"""What a node costs that only captures."""

from __future__ import annotations

from tests.bench import capturing
from tests.rig.node import MODEL
from tests.rig.processes import need


def test_a_node_that_only_captures_loads_no_model() -> None:
    need("espeak-ng", "pulseaudio")
    table = capturing.measured(MODEL, seconds=0.5, wheres=["broker"])
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]
    assert [(row[0], row[-1]) for row in rows] == [
        *[("node, `where: broker`", "no")] * 3,
        ("worker", "yes"),
    ]
