"""USB microphones, found in /proc/asound and /sys.

PortAudio is not asked: its list is frozen when it starts, leaves out devices in use, and goes by
card numbers, which change when a microphone is plugged in again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

# Written by snd_card_info_read() of Linux as "%2i [%-15s]: %s - %s": number, id, driver, name.
CARD_LINE = re.compile(r"^ *(?P<card>[0-9]{1,4}) \[.*?\]: \S+ - (?P<name>.*)$", re.MULTILINE)
CAPTURE_PCM = re.compile(r"pcm([0-9]{1,4})c")
# The same in /sys/class/sound, which names them as /dev/snd does.
SYS_NAME = re.compile(r"(?:card|pcm).*")
SYS_CARD = re.compile(r"card([0-9]{1,4})")
SYS_CAPTURE_PCM = re.compile(r"pcmC([0-9]{1,4})D([0-9]{1,4})c")
# In …/usb1/1-1/1-1.3/1-1.3:1.0/sound/card2 the interface is 1-1.3:1.0, of the device at port 1-1.3.
USB_INTERFACE = re.compile(r"\d+-[\d.]+:\d+\.\d+")

MAX_CHARS = 128
"""A USB string descriptor has at most 126; anything longer comes from a faulty driver."""


@dataclass(frozen=True, slots=True)
class UsbMic:
    """A USB sound card that records.

    `card` and `device` are ALSA's current numbers; `usb_id` is `vendor:product` in hexadecimal.
    The texts come from the device, made safe to print on one line.
    """

    name: str
    card: int
    device: int
    usb_port: str
    usb_id: str
    serial: str | None


def find_usb_mics(proc_root: Path, sys_root: Path) -> list[UsbMic]:
    """Return the microphones plugged in now, in natural order of USB port (1-1.2 before 1-1.10).

    If a USB device has several sound cards, the first one that records is taken.
    Reads `proc_root`/asound and `sys_root`/class/sound, normally under /proc and /sys. Docker and
    Podman hide /proc/asound from a container: there /sys is enough, and the names are those of the
    USB devices. A card that vanishes meanwhile, or is not fully there yet, is skipped.
    """
    found: dict[str, UsbMic] = {}
    for card, name in _cards(proc_root, sys_root):
        try:
            mic = _usb_mic(card, name, proc_root, sys_root)
        # Unplugged between two reads; the next scan finds it whole or not at all. RuntimeError: a
        # loop of symbolic links, before Python 3.13.
        except (OSError, RuntimeError):
            continue
        if mic is not None:
            found.setdefault(mic.usb_port, mic)
    return sorted(
        found.values(), key=lambda mic: [int(part) for part in re.findall(r"\d+", mic.usb_port)]
    )


def list_cards(proc_root: Path, sys_root: Path) -> str:
    """Return a text that changes whenever a sound card comes or goes; empty without any."""
    try:
        return (proc_root / "asound/cards").read_text(errors="replace")
    except OSError:  # a container, or a kernel without sound, which has neither
        names = (match[0] for match in _entries(sys_root / "class/sound", SYS_NAME))
        return "\n".join(sorted(names))


def _cards(proc_root: Path, sys_root: Path) -> list[tuple[int, str]]:
    """Return number and name of each sound card; the name is empty if only /sys is there."""
    if (proc_root / "asound/cards").exists():
        cards = list_cards(proc_root, sys_root)
        return [(int(line["card"]), _fit(line["name"])) for line in CARD_LINE.finditer(cards)]
    numbers = [int(card[1]) for card in _entries(sys_root / "class/sound", SYS_CARD)]
    return [(number, "") for number in sorted(numbers)]


def _capture_devices(card: int, proc_root: Path, sys_root: Path) -> list[int]:
    folder = proc_root / "asound"
    if (folder / "cards").exists():
        return [int(pcm[1]) for pcm in _entries(folder / f"card{card}", CAPTURE_PCM)]
    pcms = _entries(sys_root / "class/sound", SYS_CAPTURE_PCM)
    return [int(pcm[2]) for pcm in pcms if int(pcm[1]) == card]


def _entries(folder: Path, pattern: re.Pattern[str]) -> list[re.Match[str]]:
    """Return the matches among the names in a folder; none if there is no such folder."""
    try:
        names = [entry.name for entry in folder.iterdir()]
    except OSError:
        return []
    return [match for name in names if (match := pattern.fullmatch(name))]


def _usb_mic(card: int, name: str, proc_root: Path, sys_root: Path) -> UsbMic | None:
    """Read one card; None if it does not record or is not on USB.

    Raises:
        OSError: the card has vanished.
    """
    devices = _capture_devices(card, proc_root, sys_root)
    card_folder = (sys_root / f"class/sound/card{card}").resolve(strict=True)
    interface = next((up for up in card_folder.parents if USB_INTERFACE.fullmatch(up.name)), None)
    if not devices or interface is None:
        return None
    usb_device = interface.parent
    serial = _serial(usb_device)
    vendor = _text(usb_device / "idVendor")
    product = _text(usb_device / "idProduct")
    return UsbMic(
        name=name or _product(usb_device) or f"card {card}",
        card=card,
        device=min(devices),
        usb_port=usb_device.name,
        usb_id=f"{vendor}:{product}",
        serial=serial,
    )


def _serial(usb_device: Path) -> str | None:
    """Return the serial number, None for a device without one.

    Read it before idVendor: if this file is missing and that one is not, the device is still there
    and has no serial number.
    """
    try:
        return _text(usb_device / "serial") or None
    except FileNotFoundError:
        return None


def _product(usb_device: Path) -> str:
    """Return the name the device gives itself; empty if it gives none."""
    try:
        return _text(usb_device / "product")
    except FileNotFoundError:
        return ""


def _text(path: Path) -> str:
    return _fit(path.read_text(errors="replace"))


def _fit(text: str) -> str:
    """Return the text without control characters and line ends, cut to `MAX_CHARS`."""
    printable = "".join(char if char.isprintable() else " " for char in text[:MAX_CHARS])
    return printable.strip()
