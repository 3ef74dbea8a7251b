"""Checks what the node needs from this machine: a time zone, a disk, a processor, microphones."""

from __future__ import annotations

import os
import platform
import shutil
import stat
import tempfile
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from node.adapters.store import DATABASE, Outbox, Sessions
from node.adapters.store.database import Database
from node.adapters.whisper.opening import MAX_AUTO_THREADS
from node.commands.findings import Finding, ok, warning, wrong
from node.commands.meters import Level, Meters
from node.commands.stored import remembered_mics
from node.config.zone import LOCALTIME
from node.core.model import MB
from node.core.room.mic_path import SILENCE_DBFS
from node.errors import StoreError
from node.service.health import MIN_FREE_MB
from node.service.inventory import Inventory
from node.service.settings import zone

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from node.config import Config
    from node.core.model import MicInfo

OTHERS = stat.S_IRWXG | stat.S_IRWXO

LISTEN_S = 0.5
"""Seconds of sound to look at from each microphone."""


def check_time_zone(config: Config) -> Iterator[Finding]:
    now = datetime.now(UTC).astimezone(zone(config))
    name = config.time_zone or "the system's"
    detail = f"{name}: it is {now:%Y-%m-%d %H:%M:%S} (UTC{now:%z})"
    if config.time_zone is None and not LOCALTIME.exists():
        yield warning("time zone", f"{detail}, as this machine has no zone set; set time_zone")
    else:
        yield ok("time zone", detail)


def check_storage(config: Config) -> Iterator[Finding]:
    """Check the folder, then the database in it. Creates neither."""
    folder = config.storage.path
    try:
        yield _storage_folder(folder, config.storage.max_spool_mb)
    except OSError as error:
        yield wrong("storage", f"storage.path: {folder} cannot be used: {error.strerror}")
        return
    yield _database(folder / DATABASE)


def _storage_folder(folder: Path, spool_mb: int) -> Finding:
    """Check the folder; OSError if it is not a folder or cannot be written to."""
    there = next(path for path in (folder, *folder.parents) if path.exists() or path.is_symlink())
    with tempfile.TemporaryFile(dir=there) as file:  # created for this user alone
        mode_of_file = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        free_mb = shutil.disk_usage(there).free / MB
    mode = stat.S_IMODE(there.stat().st_mode)
    detail = f"{folder}: writable, {free_mb:.0f} MB free"
    if mode_of_file & OTHERS:
        return warning(
            "storage",
            f"{detail}, but its file system (FAT, exFAT?) does not store permissions: others may"
            " read transcripts; set storage.path to a folder on ext4 or similar, or mount this one"
            " with the options uid= (the node's user) and umask=077",
        )
    if there != folder:
        detail += ", created at the first start"
    elif mode & OTHERS:
        shared = folder.is_mount() or mode & stat.S_ISVTX
        remedy = f"set storage.path to {folder}/scribe-node" if shared else f"chmod 700 {folder}"
        return warning(
            "storage", f"{detail}, mode {mode:04o}: others may read transcripts; {remedy}"
        )
    if free_mb < MIN_FREE_MB:
        return wrong("storage", f"{detail}: {MIN_FREE_MB} MB are needed to record; free up space")
    if free_mb < spool_mb:
        return warning(
            "storage",
            f"{detail}: less than storage.max_spool_mb ({spool_mb}); free up space, or lower it",
        )
    return ok("storage", detail)


def _database(file: Path) -> Finding:
    if not file.exists():
        return ok("database", f"{file.name} is created at the first start")
    try:
        with Database.looked_at(file) as database:
            sessions = Sessions(database).page(1, 0)[1]
            waiting = len(Outbox(database))
    except StoreError as error:
        return wrong("database", str(error))
    return ok("database", f"{file.name} opens: {sessions} sessions, {waiting} unsent messages")


def check_processor(config: Config) -> Iterator[Finding]:
    cores = os.cpu_count() or 1
    threads = config.transcription.threads or min(MAX_AUTO_THREADS, cores)
    detail = f"{platform.machine()}, {cores} cores; the model uses {threads} threads"
    if threads > cores:
        yield warning(
            "processor", f"{detail}, more than there are cores; lower transcription.threads"
        )
    else:
        yield ok("processor", detail)


def check_microphones(config: Config) -> Iterator[Finding]:
    """Open all of them at once, as a session does, and listen for a moment."""
    inventory = Inventory(config.audio)
    inventory.recall(remembered_mics(config))
    inventory.learn(inventory.names())
    mics = inventory.find()
    if not mics:
        yield wrong(
            "microphones",
            "none was found: plug in a USB microphone (`arecord -l` must list it), or name an"
            " input in audio.devices",
        )
    yield from _ids(mics)
    recorded = config.audio.source == "files"
    with Meters([mic.mic for mic in mics], inventory) as meters:
        meters.measure(LISTEN_S)
        for mic in mics:
            meter = meters[mic.mic]
            what = f"microphone {mic.mic}"
            if meter.failure is not None:
                yield wrong(what, meter.failure)
            else:
                yield _heard(what, mic, meter.rate, meter.take_level(), recorded=recorded)


def _ids(mics: list[MicInfo]) -> Iterator[Finding]:
    for mic in mics:
        if "." in mic.mic:
            remedy = (
                "unassign it and restart the node to give it another"
                if mic.usb_port
                else 'use "_" in the configuration'
            )
            yield warning(
                f"microphone {mic.mic}",
                "its id has a dot, which RabbitMQ takes for a topic level, so it cannot be muted or"
                f" named through RabbitMQ; {remedy}",
            )


def _heard(
    what: str, mic: MicInfo, rate: int | None, level: Level | None, *, recorded: bool
) -> Finding:
    detail = f"{mic.name}: {rate} Hz"
    if level is None or (level.is_digital_silence and not recorded):
        return warning(
            what,
            f"{detail}, but only zeros: switch it on, or raise its capture level (alsamixer, F4)",
        )
    return ok(what, f"{detail}, {max(level.rms_dbfs, SILENCE_DBFS):g} dBFS")
