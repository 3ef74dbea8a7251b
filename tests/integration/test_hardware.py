from __future__ import annotations

import re
from typing import TYPE_CHECKING

from node.adapters import hardware
from node.adapters.hardware import hardware_id

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def pi(root: Path, serial: bytes) -> Path:
    """A copy of what a Raspberry Pi's kernel shows about its board."""
    folder = root / "firmware/devicetree/base"
    folder.mkdir(parents=True)
    (folder / "serial-number").write_bytes(serial)
    return root


def test_a_pi_is_known_by_its_serial_number(tmp_path: Path) -> None:
    one = hardware_id(pi(tmp_path / "one", b"10000000abcd0001\0"))
    assert one is not None
    assert re.fullmatch("[0-9a-f]{12}", one)
    assert one == hardware_id(pi(tmp_path / "card of one, copied", b"10000000abcd0001\0"))
    assert one != hardware_id(pi(tmp_path / "two", b"10000000abcd0002\0"))


def test_another_machine_by_the_id_of_its_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine_id = tmp_path / "machine-id"
    monkeypatch.setattr(hardware, "MACHINE_ID", machine_id)
    assert hardware_id(tmp_path) is None
    machine_id.write_text("")  # an image that has not been started yet
    assert hardware_id(tmp_path) is None
    machine_id.write_text("0123456789abcdef0123456789abcdef\n")
    found = hardware_id(tmp_path)
    assert found is not None
    assert found not in machine_id.read_text(), "machine-id(5): the id itself is confidential"
