"""`mics`: every input with its index, its speaker, and a live level to find out which is which."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.live import Live
from rich.text import Text

from node.commands.meters import Level, Meter, Meters
from node.commands.stored import remembered_mics
from node.commands.tables import new_console, new_table, print_table
from node.config import load_config
from node.core.room.mic_path import SILENCE_DBFS
from node.core.roster import Roster
from node.errors import MicError
from node.service.inventory import Inventory

if TYPE_CHECKING:
    import argparse

    from rich.console import Console
    from rich.table import Table

    from node.core.mqtt.payloads import MicPayload

REFRESH_S = 0.125
MEASURE_S = 1.0
"""How long the level is measured if there is no terminal to show it live."""

HOLD_S = 2.0
"""How long the mark of the loudest sample stays."""

METER_CELLS, NARROW_METER_CELLS = 24, 8
WIDE_COLUMNS = 110
"""On a terminal with fewer columns the bar is short, to leave room for the names."""

METER_FLOOR_DBFS = -60.0
LOUD_DBFS, TOO_LOUD_DBFS = -18.0, -6.0
"""Levels from which the bar is yellow, and red: speech with peaks above is about to clip."""

NO_INPUT = (
    "no microphone was found: plug in a USB microphone (`arecord -l` must list it), or name an"
    " input in audio.devices of {file}"
)


def run(arguments: argparse.Namespace) -> int:
    """Show the inputs: live on a terminal until Ctrl-C, otherwise measured for one second.

    Raises:
        ConfigError: the configuration is wrong.
        MicError: there is no input; the text says what to do.
    """
    config = load_config(arguments.config)
    inventory = Inventory(config.audio)
    remembered = remembered_mics(config)
    inventory.recall(remembered)
    inventory.learn(inventory.names())
    found = inventory.find()
    if not found:
        raise MicError(NO_INPUT.format(file=arguments.config))
    roster = Roster()
    roster.restore(remembered)
    roster.found(found)
    console = new_console()
    with Meters(roster, inventory) as meters:
        view = _View(console, roster.payloads(), meters)
        if console.is_terminal:
            _show_live(view, console, meters)
        else:
            meters.measure(MEASURE_S)
            print_table(console, view.table(time.monotonic()))
    return 0


def _show_live(view: _View, console: Console, meters: Meters) -> None:
    try:
        with Live(view.table(time.monotonic()), console=console, auto_refresh=False) as live:
            while True:
                meters.listen(REFRESH_S)
                live.update(view.table(time.monotonic()), refresh=True)
    except KeyboardInterrupt:
        return


class _View:
    """The table, and what it remembers between refreshes."""

    def __init__(self, console: Console, mics: list[MicPayload], meters: Meters) -> None:
        self._console = console
        self._mics = mics
        self._meters = meters
        self._holds = {mic["mic"]: _PeakHold() for mic in mics}
        self._levels: dict[str, Level] = {}

    def table(self, now: float) -> Table:
        columns = ("#", "mic", "name", "device", "speaker", "opens", "rate", "level")
        table = new_table(self._console, *columns)
        if self._console.is_terminal:
            table.caption = "Ctrl-C ends"
        for mic in self._mics:
            meter = self._meters[mic["mic"]]
            if (level := meter.take_level()) is not None:
                self._levels[mic["mic"]] = level
            table.add_row(
                str(mic["index"]),
                Text(mic["mic"]),
                Text(mic["name"]),
                Text(_device(mic)),
                Text(_speaker(mic)),
                _opens(meter),
                f"{meter.rate} Hz" if meter.rate else "",
                self._level(meter, now),
            )
        return table

    def _level(self, meter: Meter, now: float) -> Text:
        if meter.failure is not None:
            return Text(meter.failure, "red")
        level = self._levels.get(meter.microphone.mic)
        if meter.rate is None or level is None:
            return Text("")
        if not self._console.is_terminal:
            return Text(f"{_in_words(level.rms_dbfs)}, peak {_in_words(level.peak_dbfs)}")
        peak = self._holds[meter.microphone.mic].update(level.peak_dbfs, now)
        cells = METER_CELLS if self._console.width >= WIDE_COLUMNS else NARROW_METER_CELLS
        return _bar(level.rms_dbfs, peak, cells).append(f" {_in_words(level.rms_dbfs)}")


class _PeakHold:
    """Keeps the loudest sample of the last two seconds, like the mark on a meter."""

    def __init__(self) -> None:
        self._peak = SILENCE_DBFS
        self._until = 0.0

    def update(self, peak: float, now: float) -> float:
        if peak >= self._peak or now >= self._until:
            self._peak, self._until = peak, now + HOLD_S
        return self._peak


def _device(mic: MicPayload) -> str:
    places = (f"USB {mic['usb_port']}" if mic["usb_port"] else None, mic["device"])
    return ", ".join(place for place in places if place)


def _speaker(mic: MicPayload) -> str:
    return f"{mic['speaker'] or ''}{'' if mic['enabled'] else ' (muted)'}".strip()


def _opens(meter: Meter) -> Text:
    if meter.failure is not None:
        return Text("no", "red")
    return Text("yes", "green") if meter.rate else Text("…")


def _bar(level: float, peak: float, cells: int) -> Text:
    """Return the mean as a bar of `cells` characters, with the peak as a mark on it."""
    filled, mark = round(cells * _share(level)), round(cells * _share(peak))
    bar = Text()
    for cell in range(cells):
        dbfs = METER_FLOOR_DBFS * (1 - cell / cells)
        sign = "|" if cell == mark - 1 else "█" if cell < filled else "·"
        bar.append(sign, _colour(dbfs) if cell < filled or cell == mark - 1 else "dim")
    return bar


def _share(dbfs: float) -> float:
    """Return how much of the bar a level fills: none at the floor, all at full scale."""
    return min(1.0, max(0.0, 1 - dbfs / METER_FLOOR_DBFS))


def _colour(dbfs: float) -> str:
    if dbfs >= TOO_LOUD_DBFS:
        return "red"
    return "yellow" if dbfs >= LOUD_DBFS else "green"


def _in_words(dbfs: float) -> str:
    return f"{dbfs:.1f} dBFS" if dbfs > SILENCE_DBFS else "silent"
