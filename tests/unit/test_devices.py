from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from node.adapters.devices import UsbMic, find_usb_mics
from tests.rig.usbtree import Card, UsbTree

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def tree(tmp_path: Path) -> UsbTree:
    return UsbTree(tmp_path).create()


def find(tree: UsbTree) -> list[UsbMic]:
    return find_usb_mics(tree.proc_root, tree.sys_root)


def ids(tree: UsbTree) -> list[str]:
    return [mic.mic for mic in find(tree)]


def test_no_card_is_no_microphone(tree: UsbTree) -> None:
    assert find(tree) == []


def test_kernel_without_sound_has_no_microphone(tmp_path: Path) -> None:
    assert find_usb_mics(tmp_path / "proc", tmp_path / "sys") == []


def test_card_is_described(tree: UsbTree) -> None:
    tree.plug(Card(2, "1-1.3", name="Blue Snowball [v2]: pro - mic", pcms=("pcm0p", "pcm1c")))
    assert find(tree) == [
        UsbMic(
            mic="usb-1-1.3",
            name="Blue Snowball [v2]: pro - mic",
            card=2,
            device=1,
            usb_port="1-1.3",
            usb_id="0d8c:013c",
            serial=None,
        )
    ]


def test_first_capture_device_is_taken(tree: UsbTree) -> None:
    tree.plug(Card(1, "1-1", pcms=("pcm10c", "pcm2c", "pcm0p")))
    assert [mic.device for mic in find(tree)] == [2]


def test_identical_microphones_are_told_apart_by_port(tree: UsbTree) -> None:
    tree.plug(Card(1, "1-1.4"), Card(2, "1-1.2"))
    assert [(mic.mic, mic.card) for mic in find(tree)] == [("usb-1-1.2", 2), ("usb-1-1.4", 1)]


def test_shared_serial_falls_back_to_the_port_for_both(tree: UsbTree) -> None:
    tree.plug(Card(1, "1-1.2", serial="2008"), Card(2, "1-1.3", serial="2008"))
    assert ids(tree) == ["usb-1-1.2", "usb-1-1.3"]


def test_same_serial_of_another_product_is_unique(tree: UsbTree) -> None:
    tree.plug(Card(1, "1-1.2", serial="2008"), Card(2, "1-1.3", "0d8c:0005", serial="2008"))
    assert ids(tree) == ["usb-0d8c-013c-2008", "usb-0d8c-0005-2008"]


def test_serials_that_differ_only_in_odd_characters_fall_back_to_the_port(tree: UsbTree) -> None:
    tree.plug(Card(1, "1-1.2", serial="A/1"), Card(2, "1-1.3", serial="a+1"))
    assert ids(tree) == ["usb-1-1.2", "usb-1-1.3"]


def test_unique_serial_survives_a_change_of_port_and_card(tree: UsbTree) -> None:
    tree.plug(Card(1, "1-1.2", serial="797_2018"))
    before = ids(tree)
    tree.unplug(1)
    assert ids(tree) == []
    tree.plug(Card(3, "3-2", serial="797_2018"))
    assert ids(tree) == before == ["usb-0d8c-013c-797_2018"]


def test_new_card_number_keeps_the_id_of_the_port(tree: UsbTree) -> None:
    tree.plug(Card(1, "1-1.2"))
    tree.unplug(1)
    tree.plug(Card(5, "1-1.2"))
    assert [(mic.mic, mic.card) for mic in find(tree)] == [("usb-1-1.2", 5)]


def test_ports_are_in_natural_order(tree: UsbTree) -> None:
    ports = ["1-1.2", "1-1.2.1", "1-1.10", "1-2", "2-1", "10-1"]
    for number, port in enumerate(reversed(ports)):
        tree.plug(Card(number, port))
    assert [mic.usb_port for mic in find(tree)] == ports


def test_cards_off_usb_and_playback_cards_are_ignored(tree: UsbTree) -> None:
    tree.plug(Card(0, None), Card(1, "1-1.1", pcms=("pcm0p",)), Card(2, "1-1.2"))
    assert ids(tree) == ["usb-1-1.2"]


@pytest.mark.parametrize(
    ("serial", "mic"),
    [
        ("ABC-1.2_3", "usb-0d8c-013c-abc-1.2_3"),
        ("a/b+c#d e", "usb-0d8c-013c-a-b-c-d-e"),
        ("Überraschung", "usb-0d8c-013c-berraschung"),
        ("麦克风", "usb-1-1.2"),
        ("../..", "usb-1-1.2"),
        ("", "usb-1-1.2"),
        ("x" * 126, "usb-0d8c-013c-" + "x" * 40),
    ],
)
def test_any_serial_gives_a_valid_id(tree: UsbTree, serial: str, mic: str) -> None:
    tree.plug(Card(1, "1-1.2", serial=serial, name="Émetteur #1 / + 麦"))
    found = find(tree)
    assert [one.mic for one in found] == [mic]
    assert re.fullmatch(r"[a-z0-9_.-]+", mic)
    assert found[0].name == "Émetteur #1 / + 麦"


def test_undecodable_bytes_do_not_hide_a_card(tree: UsbTree) -> None:
    tree.plug(Card(1, "1-1.2", name="NAME", serial="1"))
    cards = tree.proc_root / "asound/cards"
    cards.write_bytes(cards.read_bytes().replace(b"NAME", b"\xff\xfe"))
    (tree.usb_device("1-1.2") / "serial").write_bytes(b"\xff7\n")
    assert ids(tree) == ["usb-0d8c-013c-7"]


def test_card_vanishing_from_sysfs_is_passed_over(tree: UsbTree) -> None:
    gone = Card(1, "1-1.2")
    tree.plug(gone, Card(2, "1-1.3"))
    tree.vanish(gone)
    assert ids(tree) == ["usb-1-1.3"]


@pytest.mark.parametrize("attribute", ["idVendor", "idProduct"])
def test_half_vanished_device_is_passed_over(tree: UsbTree, attribute: str) -> None:
    tree.plug(Card(1, "1-1.2"), Card(2, "1-1.3"))
    (tree.usb_device("1-1.2") / attribute).unlink()
    assert ids(tree) == ["usb-1-1.3"]


def test_card_without_a_proc_folder_is_passed_over(tree: UsbTree) -> None:
    tree.plug(Card(1, "1-1.2"), Card(2, "1-1.3"))
    (tree.proc_root / "asound/card1/pcm0c").rmdir()
    (tree.proc_root / "asound/card1").rmdir()
    assert ids(tree) == ["usb-1-1.3"]
