"""Fake /proc and /sys trees of USB sound cards, as a Raspberry Pi shows them."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

USB_CONTROLLER = "devices/platform/scb/fd500000.pcie/pci0000:00/0000:00:00.0/0000:01:00.0"
HUB_ID = "2109:3431"
NO_CARDS = "--- no soundcards ---\n"


@dataclass(frozen=True, slots=True)
class Card:
    """A sound card; `port` is None if it is not on USB."""

    number: int
    port: str | None
    usb_id: str = "0d8c:013c"
    serial: str | None = None
    name: str = "USB PnP Sound Device"
    pcms: tuple[str, ...] = ("pcm0c",)


class UsbTree:
    """A tree under `root` whose cards come and go with `plug` and `unplug`."""

    def __init__(self, root: Path) -> None:
        self.proc_root = root / "proc"
        self.sys_root = root / "sys"
        self._cards: dict[int, Card] = {}

    def create(self) -> UsbTree:
        (self.proc_root / "asound").mkdir(parents=True)
        (self.sys_root / "class/sound").mkdir(parents=True)
        self._write_cards()
        return self

    def plug(self, *cards: Card) -> None:
        for card in cards:
            folder = self._card_folder(card)
            folder.mkdir(parents=True)
            (self.sys_root / f"class/sound/card{card.number}").symlink_to(folder)
            for pcm in card.pcms:
                (self.proc_root / f"asound/card{card.number}" / pcm).mkdir(parents=True)
                self._sys_pcm(card, pcm).touch()
            self._cards[card.number] = card
        self._write_cards()

    def unplug(self, number: int) -> None:
        card = self._cards.pop(number)
        self.vanish(card)
        shutil.rmtree(self.proc_root / f"asound/card{number}")
        (self.sys_root / f"class/sound/card{number}").unlink()
        for pcm in card.pcms:
            self._sys_pcm(card, pcm).unlink()
        self._write_cards()

    def hide_proc(self) -> None:
        """Show an empty /proc/asound, as in a container."""
        shutil.rmtree(self.proc_root / "asound")
        (self.proc_root / "asound").mkdir()

    def _sys_pcm(self, card: Card, pcm: str) -> Path:
        return self.sys_root / "class/sound" / pcm.replace("pcm", f"pcmC{card.number}D")

    def vanish(self, card: Card) -> None:
        """Remove only the card's device, as sysfs shows it in the middle of an unplug."""
        folder = self._card_folder(card)
        shutil.rmtree(folder if card.port is None else folder.parent.parent.parent)

    def usb_device(self, port: str) -> Path:
        """Return the folder of a USB port, which is inside that of its hub."""
        bus, _, path = port.partition("-")
        folder = self.sys_root / USB_CONTROLLER / f"usb{bus}"
        hops = path.split(".")
        for length in range(1, len(hops) + 1):
            folder /= f"{bus}-{'.'.join(hops[:length])}"
        return folder

    def _card_folder(self, card: Card) -> Path:
        if card.port is None:
            return self.sys_root / f"devices/platform/soc/sound/card{card.number}"
        device = self.usb_device(card.port)
        device.mkdir(parents=True, exist_ok=True)
        for hub in device.parents:
            if hub.name.startswith(f"{card.port.partition('-')[0]}-"):
                _write_usb_id(hub, HUB_ID)
        _write_usb_id(device, card.usb_id)
        if card.serial is not None:
            (device / "serial").write_text(f"{card.serial}\n")
        return device / f"{card.port}:1.0/sound/card{card.number}"

    def _write_cards(self) -> None:
        lines = [
            f"{card.number:2d} [{'Device':<15}]: {'USB-Audio' if card.port else 'bcm2835'}"
            f" - {card.name}\n                      {card.name} at {card.port}\n"
            for card in sorted(self._cards.values(), key=lambda card: card.number)
        ]
        (self.proc_root / "asound/cards").write_text("".join(lines) or NO_CARDS)


def _write_usb_id(device: Path, usb_id: str) -> None:
    vendor, _, product = usb_id.partition(":")
    (device / "idVendor").write_text(f"{vendor}\n")
    (device / "idProduct").write_text(f"{product}\n")
