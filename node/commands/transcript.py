"""`transcript`: a stored session in any format, even one that is being recorded."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from node.commands.stored import stored_sessions
from node.config import load_config
from node.core.text.format_names import SUFFIX
from node.core.text.formats import WRITERS
from node.core.text.transcript import Transcript, merge
from node.errors import StoreError
from node.service.settings import zone

if TYPE_CHECKING:
    import argparse

    from node.adapters.store import Sessions
    from node.core.model import Session


def run(arguments: argparse.Namespace) -> int:
    """Print the transcript of the named session, or of the newest.

    Raises:
        ConfigError: the configuration is wrong.
        StoreError: there is no such session, or it cannot be read.
    """
    config = load_config(arguments.config)
    with stored_sessions(config) as sessions:
        session = _find(sessions, arguments.id)
        segments = sessions.segments(session.id)
    crosstalk = [segment for segment in segments if segment.crosstalk_of is not None]
    transcript = Transcript(session, merge(segments), zone(config))
    sys.stdout.write(WRITERS[SUFFIX[arguments.format]](transcript, crosstalk))
    return 0


def _find(sessions: Sessions, session_id: str | None) -> Session:
    if session_id is None:
        newest, _ = sessions.page(1, 0)
        if not newest:
            raise StoreError("there are no sessions yet; `sessions` lists them once there are")
        session_id = newest[0]["session_id"]
    session = sessions.get(session_id)
    if session is None:
        raise StoreError(f"there is no session {session_id}; `sessions` lists them")
    return session
