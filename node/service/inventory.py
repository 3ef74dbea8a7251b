"""Which microphones there are, and how each is opened: the configuration and the hardware."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from node.adapters.capture import (
    CaptureSource,
    CardSource,
    FileSource,
    PortAudioSource,
    list_inputs,
)
from node.adapters.devices import find_usb_mics
from node.core import mic_ids
from node.core.input_names import fitting
from node.core.mic_ids import UsbPlace
from node.core.model import Assignment, MicInfo
from node.errors import MicError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from node.adapters.devices import UsbMic
    from node.config import AudioConfig
    from node.core.roster import Roster

log = logging.getLogger(__name__)

LIST_TIMEOUT_S = 5.0


class Inventory:
    """Looks for microphones. Any thread may call `names` and `source`, the main thread the rest.

    `keep` stores USB mics with the ids they were given, and raises StoreError where it cannot.
    """

    def __init__(
        self, audio: AudioConfig, keep: Callable[[list[MicInfo]], None] = lambda _mics: None
    ) -> None:
        self._audio = audio
        self._keep = keep
        self._known: dict[str, UsbPlace] = {}
        self._unkept: dict[str, MicInfo] = {}
        self._names: tuple[str, ...] = ()
        self._cards = ""
        self._settled = True

    def configure(self, audio: AudioConfig) -> None:
        """Look by another configuration from now on; the reference is swapped whole."""
        self._audio = audio

    def recall(self, known: Iterable[tuple[MicInfo, Assignment]]) -> None:
        """Name USB mics as they were before a restart.

        An id with dots, as older versions gave them, stays with who is assigned to it: some brokers
        take a dot for a level of the topic.
        """
        self._known = {
            info.mic: place
            for info, assignment in known
            if (place := _place(info)) and ("." not in info.mic or assignment != Assignment())
        }

    @property
    def asks_portaudio(self) -> bool:
        """Whether PortAudio has to be asked for some of the inputs, which takes seconds."""
        return self._audio.source != "files" and bool(self._audio.devices)

    def opens_by_name(self, mic: str) -> bool:
        """Whether only an attempt to open it shows that it is there: PortAudio lists no input that
        is in use, and may not have been asked since it was plugged in.
        """
        return any(device.mic == mic for device in self._audio.devices)

    def names(self) -> tuple[str, ...]:
        """What PortAudio lists just now; takes up to five seconds."""
        if not self.asks_portaudio:
            return ()
        try:
            return tuple(listed.name for listed in list_inputs(LIST_TIMEOUT_S))
        except MicError as error:
            log.warning("%s", error)
            return ()

    def learn(self, names: tuple[str, ...]) -> None:
        """Go by these names from now on."""
        self._names = names

    def find(self) -> list[MicInfo]:
        """Every mic plugged in or configured; of named inputs, as they were listed last."""
        if self._audio.source == "files":
            return [
                MicInfo(item.mic, item.file.name, device=str(item.file))
                for item in self._audio.files
            ]
        return self._usb() + [
            MicInfo(
                item.mic,
                item.device,
                device=item.device,
                connected=len(fitting(item.device, self._names)) == 1,
            )
            for item in self._audio.devices
        ]

    def refresh(self, roster: Roster) -> None:
        """Look for USB mics afresh, and tell the roster.

        One that is being recorded is as it was, whatever the look says: PortAudio does not list
        what is in use.
        """
        cards = self._read_cards()
        self._settled, self._cards = cards == self._cards, cards
        recording = [mic for mic in roster if roster.live(mic).recording]
        connected = {mic: roster.info(mic).connected for mic in recording}
        found = self.find()
        roster.found(found)
        for mic, is_connected in connected.items():
            roster.set_connected(mic, connected=is_connected)
        self._remember(found, roster)

    def _remember(self, found: list[MicInfo], roster: Roster) -> None:
        """Give nobody else's id to a port, from now on and after a restart."""
        places = {info.mic: place for info in found if (place := _place(info))}
        changed = {mic for mic, place in places.items() if self._known.get(mic) != place}
        self._known = mic_ids.remember(self._known, places, set(roster))
        self._unkept |= {info.mic: info for info in found if info.mic in changed}
        self._unkept = {mic: info for mic, info in self._unkept.items() if mic in self._known}
        if not self._unkept:
            return
        try:
            self._keep(list(self._unkept.values()))
        except StoreError as error:  # tried again at the next look
            log.warning("the ids of new microphones are not kept over a restart yet: %s", error)
        else:
            self._unkept.clear()

    def source(self, mic: str, start_at: float) -> CaptureSource:
        """How `mic` is opened at this moment; a file is played from `start_at` (monotonic) on.

        Raises:
            MicError: it is not plugged in.
        """
        for item in self._audio.files:
            if item.mic == mic:
                return FileSource(item.file, item.loop, start_at)
        for device in self._audio.devices:
            if device.mic == mic:
                rates = (device.rate,) if device.rate else self._audio.rates
                return PortAudioSource(device.device, rates)
        for usb, name in self._named():
            if name == mic:
                return CardSource(usb.card, usb.device, self._audio.rates)
        raise MicError(f"{mic} is not plugged in")

    def has_changed(self) -> bool:
        """Whether a card may have been plugged in or pulled since the last `refresh`.

        Also once more after a change: the kernel's trees do not change all at one instant.
        """
        return not self._settled or self._read_cards() != self._cards

    def _read_cards(self) -> str:
        """The kernel's list of sound cards."""
        try:
            return (self._audio.proc_root / "asound/cards").read_text(errors="replace")
        except OSError:  # a kernel without sound
            return ""

    def _usb(self) -> list[MicInfo]:
        return [_usb_info(usb, name) for usb, name in self._named()]

    def _named(self) -> list[tuple[UsbMic, str]]:
        """The USB mics that are plugged in, each with its id."""
        plugged = find_usb_mics(self._audio.proc_root, self._audio.sys_root)
        places = [UsbPlace(usb.usb_port, usb.usb_id, usb.serial) for usb in plugged]
        ids = mic_ids.name(places, self._known)
        return [(usb, ids[usb.usb_port]) for usb in plugged]


def _usb_info(usb: UsbMic, name: str) -> MicInfo:
    return MicInfo(
        mic=name,
        name=usb.name,
        card=usb.card,
        device=f"hw:{usb.card},{usb.device}",
        usb_port=usb.usb_port,
        usb_id=usb.usb_id,
        serial=usb.serial,
    )


def _place(info: MicInfo) -> UsbPlace | None:
    """Where a mic is on USB; None for one that is not."""
    return UsbPlace(info.usb_port, info.usb_id or "", info.serial) if info.usb_port else None
