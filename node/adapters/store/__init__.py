"""Everything that must outlive the process: one SQLite database and a folder of audio files.

An utterance is a row from its first frame on, then its transcription, its segment and the
message that carries it; each step is one transaction, so that a crash between any two of them
leaves a state from which the next start goes on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from node.adapters.store.database import Database
from node.adapters.store.outbox import Outbox, OutboxMessage
from node.adapters.store.sessions import Sessions
from node.adapters.store.utterances import Recording, Utterance, Utterances

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Outbox", "OutboxMessage", "Recording", "Sessions", "Store", "Utterance", "Utterances"]


class Store:
    """The storage folder. Its parts may be used from any thread once it is open."""

    def __init__(self, folder: Path, *, keep_audio: bool) -> None:
        self._database = Database(folder / "scribe.db")
        self.outbox = Outbox(self._database)
        self.sessions = Sessions(self._database)
        self.utterances = Utterances(self._database, folder, keep_audio=keep_audio)

    def open(self) -> None:
        """Open the database and make the folders.

        Raises:
            StoreError: the folder cannot be used.
        """
        self._database.open()
        self.utterances.prepare()

    def close(self) -> None:
        self._database.close()
