from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.core import mic_ids
from node.core.mic_ids import MAX_KNOWN, UsbPlace
from node.core.model import MIC_ID

USB_ID = "0d8c:013c"
SERIAL = "usb-0d8c-013c-2008"

LEFT, RIGHT = UsbPlace("1-1.2", USB_ID, "2008"), UsbPlace("1-1.3", USB_ID, "2008")
"""Twins: two devices of the same product with the same serial number."""

PLAIN = UsbPlace("1-1.2", USB_ID, None)


class Desk:
    """USB ports at one scan after another, each of which remembers the ones before."""

    def __init__(self, known: dict[str, UsbPlace] | None = None) -> None:
        self.known = known or {}

    def look(self, *plugged: UsbPlace) -> list[str]:
        ids = mic_ids.name(plugged, self.known)
        named = {ids[place.port]: place for place in plugged}
        assert len(named) == len(plugged), "no two mics have one id"
        self.known = mic_ids.remember(self.known, named, kept=())
        return [ids[place.port] for place in plugged]


def test_a_unique_serial_is_an_id_and_so_is_a_port() -> None:
    assert Desk().look(LEFT, UsbPlace("1-1.4.1", USB_ID, None)) == [SERIAL, "usb-1-1_4_1"]


def test_twins_that_are_seen_together_are_told_apart_by_port() -> None:
    assert Desk().look(LEFT, RIGHT) == ["usb-1-1_2", "usb-1-1_3"]


def test_the_same_serial_of_another_product_is_unique() -> None:
    other = UsbPlace("1-1.3", "0d8c:0005", "2008")
    assert Desk().look(LEFT, other) == [SERIAL, "usb-0d8c-0005-2008"]


def test_serials_that_make_one_id_are_no_serials() -> None:
    slash, plus = UsbPlace("1-1.2", USB_ID, "A/1"), UsbPlace("1-1.3", USB_ID, "a+1")
    assert Desk().look(slash, plus) == ["usb-1-1_2", "usb-1-1_3"]


def test_a_twin_that_comes_or_goes_changes_no_id() -> None:
    desk = Desk()
    assert desk.look(LEFT) == [SERIAL]
    assert desk.look(LEFT, RIGHT) == [SERIAL, "usb-1-1_3"]
    assert desk.look(RIGHT) == ["usb-1-1_3"]
    assert desk.look() == []
    assert desk.look(RIGHT, LEFT) == ["usb-1-1_3", SERIAL]
    assert desk.look(LEFT) == [SERIAL]


def test_twins_keep_the_ids_of_their_ports_when_one_is_left() -> None:
    desk = Desk()
    together = desk.look(LEFT, RIGHT)
    assert desk.look(LEFT) == together[:1]
    assert desk.look(RIGHT) == together[1:]


def test_a_unique_serial_moves_with_its_device() -> None:
    desk = Desk()
    moved = LEFT._replace(port="3-2")
    assert desk.look(LEFT) == desk.look() + desk.look(moved) == [SERIAL]
    assert desk.known == {SERIAL: moved}


def test_a_device_back_where_a_twin_has_taken_its_place_is_another_one() -> None:
    desk = Desk()
    desk.look(LEFT)
    assert desk.look(RIGHT) == [SERIAL]  # nothing distinguishes it from the first one, moved
    assert desk.look(RIGHT, LEFT) == [SERIAL, "usb-1-1_2"]
    assert desk.look(LEFT) == ["usb-1-1_2"]


def test_a_serial_known_to_be_no_ones_own_does_not_move() -> None:
    desk = Desk()
    desk.look(LEFT, RIGHT)
    assert desk.look(LEFT._replace(port="3-2")) == ["usb-3-2"]


def test_twins_that_come_together_leave_the_id_of_a_third_alone() -> None:
    desk = Desk()
    desk.look(LEFT)
    twins = [LEFT._replace(port=port) for port in ("2-1", "2-2")]
    assert desk.look(*twins) == ["usb-2-1", "usb-2-2"]
    assert desk.look(LEFT, *twins) == [SERIAL, "usb-2-1", "usb-2-2"]


def test_an_id_by_port_stays_with_the_port() -> None:
    desk = Desk()
    desk.look(LEFT, RIGHT)
    desk.look(UsbPlace("1-1.3", USB_ID, None))  # where one of the twins was
    assert desk.look(LEFT._replace(port="3-2"), PLAIN) == ["usb-3-2", "usb-1-1_2"]


def test_an_id_by_port_is_that_of_whatever_is_there() -> None:
    desk = Desk()
    assert desk.look(PLAIN) == desk.look(PLAIN._replace(usb_id="1234:5678")) == ["usb-1-1_2"]


def test_an_id_given_with_dots_is_kept_for_its_port() -> None:
    desk = Desk({"usb-1-1.2": PLAIN, "usb-1-1.3": RIGHT})
    assert desk.look(PLAIN, RIGHT) == ["usb-1-1.2", "usb-1-1.3"]
    assert desk.look(PLAIN._replace(port="1-1.4")) == ["usb-1-1_4"]


def test_an_id_that_somebody_else_has_is_not_given() -> None:
    assert Desk({SERIAL: PLAIN}).look(LEFT) == ["usb-1-1_2"]


@pytest.mark.parametrize(
    ("serial", "mic"),
    [
        ("ABC-1.2_3", "usb-0d8c-013c-abc-1_2_3"),
        ("a/b+c#d e", "usb-0d8c-013c-a-b-c-d-e"),
        ("Überraschung", "usb-0d8c-013c-berraschung"),
        ("麦克风", "usb-1-1_2"),
        ("../..", "usb-1-1_2"),
        ("", "usb-1-1_2"),
        ("x" * 126, "usb-0d8c-013c-" + "x" * 40),
        ("x" * 39 + ".y", "usb-0d8c-013c-" + "x" * 39),
    ],
)
def test_any_serial_gives_a_valid_id(serial: str, mic: str) -> None:
    assert Desk().look(PLAIN._replace(serial=serial)) == [mic]
    assert MIC_ID.fullmatch(mic)
    assert "." not in mic


def test_an_odd_vendor_makes_no_id_that_is_too_long() -> None:
    (mic,) = Desk().look(UsbPlace("1-1.2", 300 * "v" + ":", "x" * 126))
    assert MIC_ID.fullmatch(mic)


PORTS = ["1-1.1", "1-1.2", "1-1.3", "2-1"]
PLUGGED = st.sampled_from(
    [
        [UsbPlace(port, USB_ID, serial) for port, serial in zip(ports, serials, strict=True)]
        for count in range(len(PORTS) + 1)
        for ports in itertools.permutations(PORTS, count)
        for serials in itertools.product([None, "1", "2"], repeat=count)
    ]
)
"""All that may be plugged in, in any order."""


@given(st.lists(PLUGGED, max_size=8))
def test_who_stays_plugged_in_keeps_its_id_whoever_comes_or_goes(
    looks: list[list[UsbPlace]],
) -> None:
    desk = Desk()
    before: dict[UsbPlace, str] = {}
    for plugged in looks:
        now = dict(zip(plugged, desk.look(*plugged), strict=True))
        assert all(now[place] == mic for place, mic in before.items() if place in now)
        before = now


@given(PLUGGED, PLUGGED)
def test_a_look_without_news_changes_nothing(first: list[UsbPlace], second: list[UsbPlace]) -> None:
    desk = Desk()
    desk.look(*first)
    ids = desk.look(*second)
    known = desk.known
    assert desk.look(*second) == ids
    assert desk.known == known


def test_what_is_remembered_is_bounded_and_who_is_kept_is_not_forgotten() -> None:
    known: dict[str, UsbPlace] = {"usb-alice": PLAIN}
    for number in range(MAX_KNOWN + 10):
        known = mic_ids.remember(known, {f"usb-{number}": PLAIN}, kept={"usb-alice"})
    assert len(known) == MAX_KNOWN + 2
    assert list(known)[:2] == ["usb-alice", "usb-9"]
