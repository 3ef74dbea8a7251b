from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from node.adapters.devices import UsbMic, find_usb_mics, list_cards
from tests.rig.usbtree import Card, UsbTree

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def tree(tmp_path: Path) -> UsbTree:
    return UsbTree(tmp_path).create()


def find(tree: UsbTree) -> list[UsbMic]:
    return find_usb_mics(tree.proc_root, tree.sys_root)


def ports(tree: UsbTree) -> list[str]:
    return [mic.usb_port for mic in find(tree)]


def test_no_card_is_no_microphone(tree: UsbTree) -> None:
    assert find(tree) == []


def test_kernel_without_sound_has_no_microphone(tmp_path: Path) -> None:
    assert find_usb_mics(tmp_path / "proc", tmp_path / "sys") == []


def test_card_is_described(tree: UsbTree) -> None:
    tree.plug(Card(2, "1-1.3", name="Blue Snowball [v2]: pro - mic", pcms=("pcm0p", "pcm1c")))
    assert find(tree) == [
        UsbMic(
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


def test_of_a_device_with_two_cards_the_first_is_taken(tree: UsbTree) -> None:
    tree.plug(Card(1, "1-1.2", name="first"), Card(2, "1-1.3"))
    second = tree.usb_device("1-1.2") / "1-1.2:1.2/sound/card3"
    second.mkdir(parents=True)
    (tree.sys_root / "class/sound/card3").symlink_to(second)
    (tree.proc_root / "asound/card3/pcm0c").mkdir(parents=True)
    cards = tree.proc_root / "asound/cards"
    cards.write_text(f"{cards.read_text()} 3 [Device         ]: USB-Audio - second\n")
    assert next((mic.usb_port, mic.name) for mic in find(tree)) == ("1-1.2", "first")
    assert ports(tree) == ["1-1.2", "1-1.3"]


def test_ports_are_in_natural_order(tree: UsbTree) -> None:
    ordered = ["1-1.2", "1-1.2.1", "1-1.10", "1-2", "2-1", "10-1"]
    for number, port in enumerate(reversed(ordered)):
        tree.plug(Card(number, port))
    assert ports(tree) == ordered


def test_cards_off_usb_and_playback_cards_are_ignored(tree: UsbTree) -> None:
    tree.plug(Card(0, None), Card(1, "1-1.1", pcms=("pcm0p",)), Card(2, "1-1.2"))
    assert ports(tree) == ["1-1.2"]


def test_undecodable_bytes_do_not_hide_a_card(tree: UsbTree) -> None:
    tree.plug(Card(1, "1-1.2", name="NAME", serial="1"))
    cards = tree.proc_root / "asound/cards"
    cards.write_bytes(cards.read_bytes().replace(b"NAME", b"\xff\xfe"))
    (tree.usb_device("1-1.2") / "serial").write_bytes(b"\xff7\n")
    assert [mic.serial for mic in find(tree)] == ["\N{REPLACEMENT CHARACTER}7"]


def test_what_a_device_says_is_fit_for_a_terminal(tree: UsbTree) -> None:
    tree.plug(Card(1, "1-1.2", name="NAME", serial="1"))
    cards = tree.proc_root / "asound/cards"
    cards.write_bytes(cards.read_bytes().replace(b"NAME", b"a\x1b[31m\xe2\x80\xae\x00b\xc2\x85"))
    (tree.usb_device("1-1.2") / "serial").write_bytes(b"7\x1b\n\n8" + 300 * b"9")
    (found,) = find(tree)
    assert found.name == "a [31m  b"
    assert found.serial == "7   8" + 123 * "9"


@pytest.mark.parametrize("serial", [b"", b"\n", 30 * b"\0"])
def test_an_empty_serial_is_none(tree: UsbTree, serial: bytes) -> None:
    tree.plug(Card(1, "1-1.2", serial="1"))
    (tree.usb_device("1-1.2") / "serial").write_bytes(serial)
    assert [mic.serial for mic in find(tree)] == [None]


def test_a_card_without_a_name_has_its_number(tree: UsbTree) -> None:
    tree.plug(Card(7, "1-1.2", name=""))
    assert [mic.name for mic in find(tree)] == ["card 7"]


@pytest.mark.parametrize("number", ["9" * 5000, "\N{ARABIC-INDIC DIGIT ONE}", "-1", ""])
def test_a_line_without_a_card_number_is_passed_over(tree: UsbTree, number: str) -> None:
    tree.plug(Card(2, "1-1.3"))
    cards = tree.proc_root / "asound/cards"
    line = f" {number} [Device         ]: USB-Audio - USB PnP Sound Device\n"
    cards.write_text(line + cards.read_text(), encoding="utf-8")
    assert ports(tree) == ["1-1.3"]


@pytest.mark.parametrize("link", ["sys/class/sound/card1", "proc/asound/card1"])
def test_a_link_that_leads_to_itself_hides_no_other_card(
    tree: UsbTree, tmp_path: Path, link: str
) -> None:
    tree.plug(Card(1, "1-1.2"), Card(2, "1-1.3"))
    place = tmp_path / link
    place.rename(tmp_path / "aside")
    place.symlink_to(place)
    assert ports(tree) == ["1-1.3"]


def test_card_vanishing_from_sysfs_is_passed_over(tree: UsbTree) -> None:
    gone = Card(1, "1-1.2")
    tree.plug(gone, Card(2, "1-1.3"))
    tree.vanish(gone)
    assert ports(tree) == ["1-1.3"]


@pytest.mark.parametrize("attribute", ["idVendor", "idProduct"])
def test_half_vanished_device_is_passed_over(tree: UsbTree, attribute: str) -> None:
    tree.plug(Card(1, "1-1.2"), Card(2, "1-1.3"))
    (tree.usb_device("1-1.2") / attribute).unlink()
    assert ports(tree) == ["1-1.3"]


def test_card_without_a_proc_folder_is_passed_over(tree: UsbTree) -> None:
    tree.plug(Card(1, "1-1.2"), Card(2, "1-1.3"))
    (tree.proc_root / "asound/card1/pcm0c").rmdir()
    (tree.proc_root / "asound/card1").rmdir()
    assert ports(tree) == ["1-1.3"]


def test_in_a_container_sysfs_is_enough(tree: UsbTree) -> None:
    tree.plug(
        Card(0, None),
        Card(1, "1-1.1", pcms=("pcm0p",)),
        Card(3, "1-1.2", pcms=("pcm0p", "pcm2c", "pcm1c")),
        Card(2, "1-1.3", serial="7"),
    )
    (tree.usb_device("1-1.2") / "product").write_text("Blue Snowball\n")
    tree.hide_proc()
    assert [(mic.name, mic.card, mic.device, mic.usb_port, mic.serial) for mic in find(tree)] == [
        ("Blue Snowball", 3, 1, "1-1.2", None),
        ("card 2", 2, 0, "1-1.3", "7"),
    ]


def test_in_a_container_without_cards_there_is_no_microphone(tree: UsbTree) -> None:
    tree.hide_proc()
    assert find(tree) == []


def test_in_a_container_too_a_card_that_comes_or_goes_is_noticed(tree: UsbTree) -> None:
    def listed() -> str:
        return list_cards(tree.proc_root, tree.sys_root)

    tree.plug(Card(2, "1-1.3"))
    tree.hide_proc()
    one = listed()
    (tree.sys_root / "class/sound/card3").symlink_to(tree.usb_device("1-1.3"))
    assert one != listed()
    (tree.sys_root / "class/sound/card3").unlink()
    assert one == listed()
