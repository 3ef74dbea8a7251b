"""Who sits at which microphone: the mics found, the mics assigned, and both put together."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from node.core.model import Assignment, MicInfo
from node.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from node.core.mqtt.messages import Assign
    from node.core.mqtt.payloads import MicPayload


@dataclass(slots=True)
class Live:
    """What a mic is doing right now; null while it is not being recorded."""

    recording: bool = False
    level_dbfs: float | None = None
    sample_rate: int | None = None


def natural(text: str) -> list[int | str]:
    """Sort key that puts `1-1.10` after `1-1.2`."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", text)]


class Roster:
    """Every microphone known, in a fixed order. Owned by the main thread.

    USB mics come first, by port, then the inputs of the configuration in its order. A mic that has
    a speaker or is muted stays listed while it is away, so that no index changes.
    """

    def __init__(self) -> None:
        self._mics: dict[str, MicInfo] = {}
        self._assignments: dict[str, Assignment] = {}
        self._live: dict[str, Live] = {}
        self._held: frozenset[str] = frozenset()

    def restore(self, known: Iterable[tuple[MicInfo, Assignment]]) -> None:
        """Bring back what was kept over a restart; all mics are away until they are found."""
        for info, assignment in known:
            self._mics[info.mic] = replace(info, connected=False)
            self._assignments[info.mic] = assignment

    def found(self, mics: Sequence[MicInfo]) -> None:
        """Take the list of mics that was just found."""
        present = {info.mic: info for info in mics}
        away = [
            replace(info, connected=False)
            for mic, info in self._mics.items()
            if mic not in present and self._is_kept(mic)
        ]
        usb = [info for info in (*present.values(), *away) if info.usb_port is not None]
        rest = [info for info in (*present.values(), *away) if info.usb_port is None]
        usb.sort(key=lambda info: natural(info.usb_port or ""))
        self._mics = {info.mic: info for info in (*usb, *rest)}

    def hold(self, mics: Iterable[str]) -> None:
        """Keep these mics listed, away or not, until the next call: a start is waiting for them."""
        self._held = frozenset(mics)

    def _is_kept(self, mic: str) -> bool:
        assignment = self._assignments.get(mic)
        recording = mic in self._live and self._live[mic].recording
        return (
            recording
            or mic in self._held
            or (
                assignment is not None
                and (assignment.speaker is not None or not assignment.enabled)
            )
        )

    def resolve(self, wanted: str | int) -> str:
        """The id of a mic given by id or index.

        Raises:
            RequestError: `unknown_mic`, with a list of the mics there are.
        """
        listed = list(self._mics)
        if isinstance(wanted, str) and wanted in self._mics:
            return wanted
        number = int(wanted) if isinstance(wanted, int) or wanted.isdecimal() else 0
        if 1 <= number <= len(listed):
            return listed[number - 1]
        there = ", ".join(f"{i} = {mic}" for i, mic in enumerate(listed, 1)) or "none connected"
        raise RequestError("unknown_mic", f"mic: there is no {wanted!r}; mics: {there}")

    def check(self, assignments: Iterable[Assign]) -> dict[str, Assignment]:
        """What `assignments` would make of the mics they name; changes nothing.

        Raises:
            RequestError: `unknown_mic` or `duplicate_mic`.
        """
        wanted: dict[str, Assignment] = {}
        for entry in assignments:
            mic = self.resolve(entry.mic)
            if mic in wanted:
                raise RequestError("duplicate_mic", f"mic: {mic} is named twice")
            wanted[mic] = Assignment(
                speaker=entry.speaker or None,
                language=entry.language,
                enabled=self.assignment(mic).enabled,
            )
        return wanted

    def assign(self, wanted: dict[str, Assignment]) -> None:
        self._assignments.update(wanted)

    def set_connected(self, mic: str, *, connected: bool) -> None:
        if mic in self._mics:
            self._mics[mic] = replace(self._mics[mic], connected=connected)

    def set_live(self, mic: str, live: Live | None) -> None:
        if live is None:
            self._live.pop(mic, None)
        else:
            self._live[mic] = live

    def assignment(self, mic: str) -> Assignment:
        return self._assignments.get(mic, Assignment())

    def info(self, mic: str) -> MicInfo:
        return self._mics[mic]

    def speakers(self) -> dict[str, str]:
        """Name by mic, of every mic that has one."""
        return {
            mic: assignment.speaker
            for mic in self._mics
            if (assignment := self.assignment(mic)).speaker
        }

    def speaker(self, mic: str) -> str:
        """The speaker's name, or `Micro <index>` if nobody is assigned."""
        speaker = self.assignment(mic).speaker
        return speaker or f"Micro {list(self._mics).index(mic) + 1}"

    def __contains__(self, mic: str) -> bool:
        return mic in self._mics

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._mics))

    def live(self, mic: str) -> Live:
        return self._live.get(mic, Live())

    def payloads(self) -> list[MicPayload]:
        """Every mic as published, in the order of the index people type."""
        return [self._payload(index, info) for index, info in enumerate(self._mics.values(), 1)]

    def _payload(self, index: int, info: MicInfo) -> MicPayload:
        assignment, live = self.assignment(info.mic), self.live(info.mic)
        return {
            "mic": info.mic,
            "index": index,
            "name": info.name,
            "card": info.card,
            "device": info.device,
            "usb_port": info.usb_port,
            "usb_id": info.usb_id,
            "serial": info.serial,
            "speaker": assignment.speaker,
            "language": assignment.language,
            "enabled": assignment.enabled,
            "connected": info.connected,
            "recording": live.recording and info.connected and assignment.enabled,
            "level_dbfs": live.level_dbfs,
            "sample_rate": live.sample_rate,
        }
