"""The audio of utterances that wait for the engine: raw int16 at 16 kHz, one file each.

A file's name has the session, number, first sample and mic, like its row, so that audio whose row
was lost in a power cut or with a damaged database can still be placed.
"""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from node.adapters.store.ledger import Ledger
from node.adapters.store.reading import is_session_id
from node.core.model import MIC_ID, SAMPLE_RATE, SESSION_ID
from node.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy.typing as npt

NAME = re.compile(
    rf"({SESSION_ID.pattern})\.([0-9]{{1,9}})\.([0-9]{{1,12}})\.({MIC_ID.pattern})\.s16le"
)

WRITE_BYTES = SAMPLE_RATE // 8 * 2
"""Sound is written to the kernel every 125 ms: from then on it survives a crash of the process."""

SYNC_S = 1.5
"""Sound is synced to the disk this often: including unwritten sound, at most 2 s are at risk."""

MAX_CRASHES = 3
"""An utterance that was being transcribed this many times when the process died is set aside: it
may be the reason."""


@dataclass(frozen=True, slots=True)
class Utterance:
    """A stretch of speech from one mic; `start` and `end` are samples of its session.

    `speech` is where the speech itself begins and ends, without pre-roll and tail.
    """

    session_id: str
    number: int
    mic: str
    speaker: str
    language: str | None
    start: int
    end: int
    attempts: int = 0
    recovered: bool = False
    speech: tuple[int, int] | None = None
    crosstalk_of: str | None = None

    @property
    def spoken(self) -> tuple[int, int]:
        """Its speech, or all of its sound if a crash prevented that from being noted."""
        return self.speech or (self.start, self.end)

    @property
    def id(self) -> str:
        return f"{self.session_id}/{self.mic}/{self.number}"

    @property
    def duration_s(self) -> float:
        return (self.end - self.start) / SAMPLE_RATE

    @property
    def file_name(self) -> str:
        return f"{self.session_id}.{self.number:05}.{self.start}.{self.mic}.s16le"


class Recording:
    """The audio file of an utterance being spoken. Owned by the listener thread."""

    def __init__(self, path: Path, ledger: Ledger) -> None:
        self._path = path
        self._ledger = ledger
        self._pending = bytearray()
        self._synced_at = time.monotonic()
        self._file = path.open("wb", buffering=0)
        ledger.put(path.name, 0)

    def append(self, samples: npt.NDArray[np.int16]) -> None:
        """Add sound.

        Raises:
            OSError: the disk is full or gone; what was not written is kept and tried again with
                the next sound or at the end.
        """
        self._pending += samples.astype("<i2", copy=False).tobytes()
        if len(self._pending) < WRITE_BYTES:
            return
        self._flush()
        if time.monotonic() - self._synced_at >= SYNC_S:
            os.fdatasync(self._file.fileno())
            self._synced_at = time.monotonic()

    def put_in_place(self, samples: npt.NDArray[np.int16]) -> None:
        """Overwrite the sound from its beginning with a cleaned version of the same length.

        A crash during this leaves a part of each, with every sample in its place.

        Raises:
            OSError: the disk is full or gone.
        """
        self._flush()
        sound = samples.astype("<i2", copy=False).tobytes()
        written = 0
        while written < len(sound):
            written += os.pwrite(self._file.fileno(), sound[written:], written)

    def finish(self, samples: int) -> None:
        """Keep only the first `samples` samples; they are on the disk when this returns.

        Raises:
            OSError: the disk is full or gone.
        """
        self._flush()
        self._file.truncate(samples * 2)
        os.fsync(self._file.fileno())
        self._close()
        self._ledger.put(self._path.name, samples * 2)

    def drop_pending(self) -> None:
        """Drop what could not be written; `finish` leaves silence in its place."""
        self._pending.clear()

    def discard(self) -> None:
        """Remove the file. Can be repeated.

        Raises:
            OSError: the disk is read-only or gone.
        """
        self._pending.clear()
        self._close()
        self._path.unlink(missing_ok=True)
        self._ledger.drop(self._path.name)

    def _close(self) -> None:
        with suppress(OSError):  # the descriptor is closed anyway, and what matters is synced
            self._file.close()

    def _flush(self) -> None:
        while self._pending:
            written = self._file.write(self._pending)
            del self._pending[:written]


class AudioFolder:
    """The folders `spool` (waiting), `audio` (kept on request) and `failed` (given up)."""

    def __init__(self, storage: Path, *, keep: bool) -> None:
        self.spool = storage / "spool"
        self._kept = storage / "audio"
        self._failed = storage / "failed"
        self._keep = keep
        self._waiting_there = Ledger(self.spool)
        self._kept_there = Ledger(self._kept)

    def prepare(self) -> None:
        """Make the folders and count what is in them.

        Raises:
            OSError: a folder cannot be made or read.
        """
        for folder in (self.spool, self._kept, self._failed):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.look()

    def look(self) -> None:
        """Count again what is in the folders; takes a moment if that is much.

        Raises:
            OSError: a folder cannot be read.
        """
        self._waiting_there.look()
        self._kept_there.look()

    def record(self, utterance: Utterance) -> Recording:
        return Recording(self.spool / utterance.file_name, self._waiting_there)

    def read(self, utterance: Utterance) -> npt.NDArray[np.int16]:
        """Return its samples.

        Raises:
            OSError: the file is gone or cannot be read.
        """
        raw = (self.spool / utterance.file_name).read_bytes()
        return np.frombuffer(raw[: len(raw) // 2 * 2], dtype="<i2").astype(np.int16)

    def samples(self, utterance: Utterance) -> int | None:
        """Return the length of its sound on the disk; None if there is no file."""
        path = self.spool / utterance.file_name
        return path.stat().st_size // 2 if path.exists() else None

    def waiting(self) -> Iterator[Utterance]:
        """Yield the utterances in the spool, as far as file names tell."""
        for path in sorted(self.spool.iterdir()):
            if (named := _named(path.name)) is not None:
                yield replace(named, end=named.start + path.stat().st_size // 2)

    def set_strangers_aside(self) -> list[str]:
        """Move files whose names are not an utterance's to `failed/`; return the names."""
        strangers = [
            path
            for path in sorted(self.spool.glob("*.s16le"))
            if _named(path.name) is None or not path.is_file()
        ]
        for path in strangers:
            path.replace(self._failed / path.name)
            self._waiting_there.drop(path.name)
        return [os.fsencode(path.name).decode(errors="replace") for path in strangers]

    def release(self, utterance: Utterance) -> None:
        """Remove the sound of a transcribed utterance, or keep it if configured."""
        self.unmark(utterance)
        path = self.spool / utterance.file_name
        if self._keep and path.exists():
            path.replace(self._kept / path.name)
            self._kept_there.put(path.name, (self._kept / path.name).stat().st_size)
        else:
            path.unlink(missing_ok=True)
        self._waiting_there.drop(path.name)

    def discard(self, utterance: Utterance) -> None:
        """Remove the sound of an utterance that was not the mic's own. Can be repeated."""
        self.unmark(utterance)
        path = self.spool / utterance.file_name
        path.unlink(missing_ok=True)
        self._waiting_there.drop(path.name)

    def give_up(self, utterance: Utterance) -> Path:
        """Move the sound to `failed/`; return its path."""
        self.unmark(utterance)
        path, aside = self.spool / utterance.file_name, self._failed / utterance.file_name
        if path.exists():
            path.replace(aside)
        self._waiting_there.drop(path.name)
        return aside

    def mark(self, utterance: Utterance) -> None:
        """Note outside the database that the engine starts on it: one more byte for each attempt.

        Not synced: it is for a process that dies because of the utterance, not for a power cut.
        """
        with self._mark(utterance).open("ab") as file:
            file.write(b".")

    def unmark(self, utterance: Utterance) -> None:
        self._mark(utterance).unlink(missing_ok=True)

    def crashes(self, utterance: Utterance) -> int:
        """Return how often a process died while the engine worked on this utterance."""
        mark = self._mark(utterance)
        return mark.stat().st_size if mark.exists() else 0

    def forget(self, session_id: str) -> None:
        """Remove every sound of a session.

        Raises:
            StoreError: the disk is read-only.
        """
        try:
            for folder in (self.spool, self._kept, self._failed):
                for file in folder.glob(f"{session_id}.*"):
                    file.unlink(missing_ok=True)
                    self._waiting_there.drop(file.name)
                    self._kept_there.drop(file.name)
        except OSError as error:
            raise StoreError(f"storage.path: sound cannot be deleted: {error}") from error

    def total_bytes(self) -> int:
        """Return the bytes of sound on the disk, both waiting and kept on request."""
        return self._waiting_there.total + self._kept_there.total

    def drop_oldest_kept(self) -> bool:
        """Remove the oldest sound that is already transcribed; return False if there is none.

        Raises:
            OSError: the disk is read-only.
        """
        oldest = self._kept_there.first()
        if oldest is None:
            return False
        (self._kept / oldest).unlink(missing_ok=True)
        self._kept_there.drop(oldest)
        return True

    def _mark(self, utterance: Utterance) -> Path:
        return self.spool / f"{utterance.file_name}.tried"


def _named(name: str) -> Utterance | None:
    """Return the utterance of a file name, without its end; None if it is not an utterance's."""
    match = NAME.fullmatch(name)
    if match is None or not is_session_id(match[1]):
        return None
    session, number, start, mic = match.groups()
    return Utterance(session, int(number), mic, mic, None, int(start), int(start))
