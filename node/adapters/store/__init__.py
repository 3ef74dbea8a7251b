"""Everything that must outlive the process: one SQLite database and a folder of audio files.

An utterance is a row from its first frame on, then its transcription, its segment and the
message that carries it; each step is one transaction, so that a crash between any two of them
leaves a state from which the next start goes on.
"""

from node.adapters.store.database import Database
from node.adapters.store.outbox import Outbox, OutboxMessage
from node.adapters.store.sessions import Sessions
from node.adapters.store.utterances import Utterance, Utterances

__all__ = ["Database", "Outbox", "OutboxMessage", "Sessions", "Utterance", "Utterances"]
