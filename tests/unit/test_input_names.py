from __future__ import annotations

import pytest

from node.core.input_names import fitting

NAMES = ["desk", "desk lamp", "USB PnP Sound Device: Audio (hw:1,0)", "desk"]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("desk", [0]),
        ("desk lamp", [1]),
        ("Lamp", [1]),
        ("DESK", [0, 1, 3]),
        ("usb pnp", [2]),
        ("hw:1,0", [2]),
        ("hw:2,0", []),
    ],
)
def test_a_name_in_full_goes_before_a_part_in_any_case(wanted: str, found: list[int]) -> None:
    assert fitting(wanted, NAMES) == found


def test_nothing_fits_where_nothing_is_listed() -> None:
    assert fitting("desk", []) == []
