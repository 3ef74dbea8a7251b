"""Which microphones exist and how to open each, from the configuration and the hardware."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from node.adapters.capture import (
    CaptureSource,
    CardSource,
    FileSource,
    PortAudioSource,
    list_inputs,
)
from node.adapters.devices import find_usb_mics, list_cards
from node.core import mic_ids
from node.core.input_names import fitting
from node.core.mic_ids import UsbPlace
from node.core.model import Assignment, MicInfo
from node.errors import MicError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from node.adapters.devices import UsbMic
    from node.config import AudioConfig
    from node.core.roster import Roster

log = logging.getLogger(__name__)

LIST_TIMEOUT_S = 5.0


class Inventory:
    """Finds microphones. Any thread may call `names` and `source`; the rest is the main thread's.

    `keep` stores USB mics with the ids they were given, and raises StoreError if it cannot.
    """

    def __init__(
        self, audio: AudioConfig, keep: Callable[[list[MicInfo]], None] = lambda _mics: None
    ) -> None:
        self._audio = audio
        self._keep = keep
        self._known: dict[str, UsbPlace] = {}
        self._kept: set[str] = set()
        self._unkept: dict[str, MicInfo] = {}
        self._names: tuple[str, ...] = ()
        self._cards = ""
        self._settled = True

    def configure(self, audio: AudioConfig) -> None:
        """Use another configuration from now on; swapping one reference is thread-safe."""
        self._audio = audio

    def recall(self, known: Sequence[tuple[MicInfo, Assignment]]) -> None:
        """Give USB mics the ids they had before a restart.

        An id with dots, as older versions gave, is kept only if the mic has an assignment: some
        brokers treat a dot as a level of the topic.
        """
        self._known = {
            info.mic: place
            for info, assignment in known
            if (place := _place(info)) and ("." not in info.mic or assignment != Assignment())
        }
        self._kept = {info.mic for info, _ in known}

    @property
    def asks_portaudio(self) -> bool:
        """Whether PortAudio must list some of the inputs, which takes seconds."""
        return self._audio.source != "files" and bool(self._audio.devices)

    def opens_by_name(self, mic: str) -> bool:
        """Return whether only opening the mic shows that it is there: PortAudio does not list
        inputs in use, and may not have been asked since the mic was plugged in.
        """
        return any(device.mic == mic for device in self._audio.devices)

    def names(self) -> tuple[str, ...]:
        """Return the inputs that PortAudio lists now; takes up to five seconds."""
        if not self.asks_portaudio:
            return ()
        try:
            return tuple(listed.name for listed in list_inputs(LIST_TIMEOUT_S))
        except MicError as error:
            log.warning("%s", error)
            return ()

    def learn(self, names: tuple[str, ...]) -> None:
        """Use these names from now on."""
        self._names = names

    def find(self) -> list[MicInfo]:
        """Return every mic plugged in or configured; named inputs as last listed."""
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
        """Look for mics again and update the roster.

        A mic that is being recorded keeps its state: PortAudio does not list inputs in use.
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
        """Remember every mic, and which id belongs to which port, also after a restart."""
        places = {info.mic: place for info in found if (place := _place(info))}
        changed = {mic for mic, place in places.items() if self._known.get(mic) != place}
        changed |= {info.mic for info in found} - places.keys() - self._kept
        self._known = mic_ids.remember(self._known, places, set(roster))
        self._unkept |= {info.mic: info for info in found if info.mic in changed}
        self._unkept = {
            mic: info
            for mic, info in self._unkept.items()
            if mic in self._known or not _place(info)
        }
        if not self._unkept:
            return
        try:
            self._keep(list(self._unkept.values()))
        except StoreError as error:  # the next look tries again
            log.warning("the ids of new microphones are not stored yet: %s", error)
        else:
            self._kept |= self._unkept.keys()
            self._unkept.clear()

    def source(self, mic: str, start_at: float) -> Callable[[], CaptureSource]:
        """Return a function that finds `mic` and returns how to open it; MicError if it is away.

        The function keeps to the configuration of now: a mic stays the same device for as long as
        it is recorded. A file plays from `start_at`, in monotonic seconds.
        """
        return partial(self._source, self._audio, mic, start_at)

    def _source(self, audio: AudioConfig, mic: str, start_at: float) -> CaptureSource:
        for item in audio.files:
            if item.mic == mic:
                return FileSource(item.file, item.loop, start_at)
        for device in audio.devices:
            if device.mic == mic:
                return PortAudioSource(
                    device.device, (device.rate,) if device.rate else audio.rates
                )
        for usb, name in self._named():
            if name == mic:
                return CardSource(usb.card, usb.device, audio.rates)
        raise MicError(f"{mic} is not plugged in")

    def has_changed(self) -> bool:
        """Return whether a card may have been plugged in or removed since the last `refresh`.

        True once more after a change: the kernel does not update all its files at once.
        """
        return not self._settled or self._read_cards() != self._cards

    def _read_cards(self) -> str:
        return list_cards(self._audio.proc_root, self._audio.sys_root)

    def _usb(self) -> list[MicInfo]:
        return [_usb_info(usb, name) for usb, name in self._named()]

    def _named(self) -> list[tuple[UsbMic, str]]:
        """Return the USB mics that are plugged in, each with its id."""
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
    """Return where a mic is on USB; None if it is not a USB mic."""
    return UsbPlace(info.usb_port, info.usb_id or "", info.serial) if info.usb_port else None
