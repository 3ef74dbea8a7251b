"""Ids of USB microphones: what they are made of, and how an id once given is kept.

An id names a port or a serial number. A serial number that several devices share identifies none of
them, and the others only show up when they are plugged in. So an id once given is never taken back,
and devices that come later are told apart by their port.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

NOT_IN_ID = re.compile(r"[^a-z0-9_-]+")

MAX_SERIAL_CHARS = 40
MAX_USB_ID_CHARS = 9

MAX_KNOWN = 256
"""Ids remembered of mics that are neither plugged in nor assigned to anybody."""


class UsbPlace(NamedTuple):
    """A USB device where it is plugged in; `usb_id` is `vendor:product`."""

    port: str
    usb_id: str
    serial: str | None


def name(plugged: Sequence[UsbPlace], known: Mapping[str, UsbPlace]) -> dict[str, str]:
    """The id of each device, by its port.

    Args:
        plugged: what is plugged in now, one device a port.
        known: where each id was last, the oldest first; two ids may have been at one port.
    """
    ids = _stayed(plugged, known)
    moved = [place for place in plugged if place.port not in ids]
    bearers = Counter(_by_serial(place) for place in moved)
    for place in moved:
        unique = bearers[_by_serial(place)] == 1
        by_serial = _of_serial(place, known, ids) if unique else None
        ids[place.port] = by_serial or _of_port(place.port, known)
    return ids


def remember(
    known: Mapping[str, UsbPlace], named: Mapping[str, UsbPlace], kept: Collection[str]
) -> dict[str, UsbPlace]:
    """What is known after naming: `known` with `named`, without the oldest beyond MAX_KNOWN.

    Those in `kept` are never forgotten.
    """
    all_known = {**known, **named}
    strangers = [mic for mic in all_known if mic not in kept and mic not in named]
    forgotten = set(strangers[: max(0, len(strangers) - MAX_KNOWN)])
    return {mic: place for mic, place in all_known.items() if mic not in forgotten}


def _stayed(plugged: Sequence[UsbPlace], known: Mapping[str, UsbPlace]) -> dict[str, str]:
    """Ids of the devices that are where they were, or whose twin is."""
    there = {(place.port, _by_serial(place)): mic for mic, place in known.items()}
    return {
        place.port: there[place.port, serial]
        for place in plugged
        if (serial := _by_serial(place)) and (place.port, serial) in there
    }


def _of_serial(
    place: UsbPlace, known: Mapping[str, UsbPlace], ids: Mapping[str, str]
) -> str | None:
    """The id by the serial number, even if it was given at another port.

    None if there is no serial number, or another device with the same one has the id or is known.
    """
    serial = _by_serial(place)
    if serial is None:
        return None
    bearers = [mic for mic, other in known.items() if _by_serial(other) == serial]
    if not bearers:
        return None if serial in known else serial
    first, *others = bearers
    told_by_port = first == _of_port(known[first].port, known)
    return None if others or told_by_port or first in ids.values() else first


def _by_serial(place: UsbPlace) -> str | None:
    """The id made of vendor, product and serial number; None if the last is empty."""
    serial = _slug(place.serial or "")[:MAX_SERIAL_CHARS].strip("-_")
    return f"usb-{_slug(place.usb_id)[:MAX_USB_ID_CHARS]}-{serial}" if serial else None


def _of_port(port: str, known: Mapping[str, UsbPlace]) -> str:
    """The id by the port; it keeps its dots if an older version gave it so."""
    with_dots = f"usb-{port}"
    given = known.get(with_dots)
    return with_dots if given and given.port == port else f"usb-{_slug(port)}"


def _slug(text: str) -> str:
    return NOT_IN_ID.sub("-", text.lower().replace(".", "_")).strip("-_")
