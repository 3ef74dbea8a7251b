"""What must outlive the process: one SQLite database and a folder of audio files.

An utterance is a row from its first frame on, then a segment and the message that carries it. Each
step is one transaction, so that the next start can continue after a crash between any two steps.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from node.adapters.store.audio import AudioFolder, Recording, Utterance
from node.adapters.store.ballast import Ballast
from node.adapters.store.damage import Damage
from node.adapters.store.database import Database
from node.adapters.store.outbox import Outbox, OutboxMessage
from node.adapters.store.search import Search
from node.adapters.store.sessions import Sessions
from node.adapters.store.traces import Erasure, Traces
from node.adapters.store.utterances import Utterances
from node.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

log = logging.getLogger(__name__)

__all__ = [
    "DATABASE",
    "AudioFolder",
    "Damage",
    "Erasure",
    "Outbox",
    "OutboxMessage",
    "Recording",
    "Search",
    "Sessions",
    "Store",
    "Traces",
    "Utterance",
    "Utterances",
]

DATABASE = "scribe.db"


class Store:
    """The storage folder. Once it is open, its parts can be used from any thread."""

    def __init__(
        self, folder: Path, *, keep_audio: bool, report: Callable[[str], None] = log.warning
    ) -> None:
        """`report` is called with a sentence about everything that is found to be damaged."""
        self._folder = folder
        self._database = Database(folder / DATABASE)
        self.ballast = Ballast(folder / "ballast")
        self.audio = AudioFolder(folder, keep=keep_audio)
        self.outbox = Outbox(self._database)
        self.damage = Damage(self._database, report)
        self.sessions = Sessions(self._database, self.damage.set_segment_aside)
        self.search = Search(self._database, report)
        self.traces = Traces(self._database, self.search)
        self.utterances = Utterances(self._database, self.audio, self.damage)

    def open(self) -> str | None:
        """Open the database and make the folders; return what is damaged, in a sentence, or None.

        Raises:
            StoreError: the folder cannot be used.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.ballast.give_way()
            self.audio.prepare()
        except OSError as error:
            raise StoreError(f"storage.path: {self._folder} cannot be used: {error}") from error
        damage = self._database.open(self._prove)
        self.ballast.load()
        return damage

    def _prove(self) -> None:
        self.damage.sift()
        self.sessions.prove()
        self.traces.prove()
        self.search.prepare()

    def close(self) -> None:
        self._database.close()
