"""The audio of utterances that wait for the engine: raw int16 at 16 kHz, one file each.

A file's name says all that its row does (session, number, first sample, mic), so that a sound
whose row was lost with a power cut, or with a damaged database, still finds its place.
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
"""Sound is handed to the kernel every 125 ms: from then on it outlives the process."""

SYNC_S = 1.5
"""Sound is synced to the disk this often: with what is not yet written, 2 s are at risk at most."""

MAX_CRASHES = 3
"""An utterance at which the process has died so often is set aside: it may be the reason."""


@dataclass(frozen=True, slots=True)
class Utterance:
    """A stretch of speech of one mic; `start` and `end` are samples of its session.

    `speech` is where its speech begins and ends, without pre-roll and tail.
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
        """Its speech; all of its sound where a crash has kept that from being noted."""
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
            OSError: the disk is full or gone; what it has not taken is kept, and tried again with
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
        """Write the same stretch of sound, cleaned, over what is there from its beginning on.

        A crash on the way leaves some of both, and every sample in its place.

        Raises:
            OSError: the disk is full or gone.
        """
        self._flush()
        sound = samples.astype("<i2", copy=False).tobytes()
        written = 0
        while written < len(sound):
            written += os.pwrite(self._file.fileno(), sound[written:], written)

    def finish(self, samples: int) -> None:
        """Keep the first `samples` samples; they are on the disk when this returns.

        Raises:
            OSError: the disk is full or gone.
        """
        self._flush()
        self._file.truncate(samples * 2)
        os.fsync(self._file.fileno())
        self._close()
        self._ledger.put(self._path.name, samples * 2)

    def drop_pending(self) -> None:
        """Give up what the disk has not taken; `finish` leaves silence in its place."""
        self._pending.clear()

    def discard(self) -> None:
        """Remove the file. May be repeated.

        Raises:
            OSError: the disk is read-only or gone.
        """
        self._pending.clear()
        self._close()
        self._path.unlink(missing_ok=True)
        self._ledger.drop(self._path.name)

    def _close(self) -> None:
        with suppress(OSError):  # the descriptor is gone all the same; what counts is synced
            self._file.close()

    def _flush(self) -> None:
        while self._pending:
            written = self._file.write(self._pending)
            del self._pending[:written]


class AudioFolder:
    """`spool` holds what waits, `audio` what is kept on request, `failed` what was given up."""

    def __init__(self, storage: Path, *, keep: bool) -> None:
        self.spool = storage / "spool"
        self._kept = storage / "audio"
        self._failed = storage / "failed"
        self._keep = keep
        self._waiting_there = Ledger(self.spool)
        self._kept_there = Ledger(self._kept)

    def prepare(self) -> None:
        """Make the folders and see what is in them; OSError where that is refused."""
        for folder in (self.spool, self._kept, self._failed):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.look()

    def look(self) -> None:
        """See anew what is there, which takes a moment where that is much.

        Raises:
            OSError: a folder cannot be read.
        """
        self._waiting_there.look()
        self._kept_there.look()

    def record(self, utterance: Utterance) -> Recording:
        return Recording(self.spool / utterance.file_name, self._waiting_there)

    def read(self, utterance: Utterance) -> npt.NDArray[np.int16]:
        """Its samples; OSError where the file is gone."""
        raw = (self.spool / utterance.file_name).read_bytes()
        return np.frombuffer(raw[: len(raw) // 2 * 2], dtype="<i2").astype(np.int16)

    def samples(self, utterance: Utterance) -> int | None:
        """Length of its sound on the disk; None where there is no file."""
        path = self.spool / utterance.file_name
        return path.stat().st_size // 2 if path.exists() else None

    def waiting(self) -> Iterator[Utterance]:
        """What lies in the spool, as far as the names of its files say it."""
        for path in sorted(self.spool.iterdir()):
            if (named := _named(path.name)) is not None:
                yield replace(named, end=named.start + path.stat().st_size // 2)

    def set_strangers_aside(self) -> list[str]:
        """Move sounds that are no utterance's by their names to `failed/`; gives the names."""
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
        """It is transcribed: remove the sound, or keep it where that is asked for."""
        self.unmark(utterance)
        path = self.spool / utterance.file_name
        if self._keep and path.exists():
            path.replace(self._kept / path.name)
            self._kept_there.put(path.name, (self._kept / path.name).stat().st_size)
        else:
            path.unlink(missing_ok=True)
        self._waiting_there.drop(path.name)

    def discard(self, utterance: Utterance) -> None:
        """It is nothing of its own: remove the sound. May be repeated."""
        self.unmark(utterance)
        path = self.spool / utterance.file_name
        path.unlink(missing_ok=True)
        self._waiting_there.drop(path.name)

    def give_up(self, utterance: Utterance) -> Path:
        """Set the sound aside under `failed/`; gives where."""
        self.unmark(utterance)
        path, aside = self.spool / utterance.file_name, self._failed / utterance.file_name
        if path.exists():
            path.replace(aside)
        self._waiting_there.drop(path.name)
        return aside

    def mark(self, utterance: Utterance) -> None:
        """Note outside the database that the engine is at it: one byte more for each beginning.

        Not synced: it is for a process that dies of the utterance, not for a power cut.
        """
        with self._mark(utterance).open("ab") as file:
            file.write(b".")

    def unmark(self, utterance: Utterance) -> None:
        self._mark(utterance).unlink(missing_ok=True)

    def crashes(self, utterance: Utterance) -> int:
        """How often a process has died while the engine was at this utterance."""
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
            raise StoreError(f"storage.path: no sound can be deleted: {error}") from error

    def total_bytes(self) -> int:
        """Sound on the disk: what waits, and what is kept on request."""
        return self._waiting_there.total + self._kept_there.total

    def drop_oldest_kept(self) -> bool:
        """Make room at the cost of sound that is transcribed already; False where there is none.

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
    """The utterance that a file's name tells of, without its end; None where it is of none."""
    match = NAME.fullmatch(name)
    if match is None or not is_session_id(match[1]):
        return None
    session, number, start, mic = match.groups()
    return Utterance(session, int(number), mic, mic, None, int(start), int(start))
