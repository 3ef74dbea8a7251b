"""Reads the database of a node, which may be running."""

from __future__ import annotations

import logging
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from node.adapters.store import DATABASE, Sessions
from node.adapters.store.database import Database
from node.errors import DamageError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from node.config import Config
    from node.core.model import Assignment, MicInfo

log = logging.getLogger(__name__)


@contextmanager
def stored_sessions(config: Config) -> Iterator[Sessions]:
    """Yield the sessions at `storage.path`; nothing is changed there.

    Raises:
        StoreError: there are none, or this user may not read them.
    """
    file = config.storage.path / DATABASE
    try:
        there = file.exists()
    except PermissionError:
        there = True
    if not there:
        raise StoreError(f"storage.path: {config.storage.path} holds no sessions yet")
    if not os.access(file, os.R_OK):
        raise StoreError(
            f"storage.path: {config.storage.path} is for the node's user alone;"
            " run this with sudo, or as that user"
        )
    with Database.looked_at(file) as database:
        yield Sessions(database)


def remembered_mics(config: Config) -> list[tuple[MicInfo, Assignment]]:
    """Return the microphones that the node knows; none if it has no database yet."""
    file = config.storage.path / DATABASE
    if not os.access(file, os.R_OK | os.W_OK):
        return []
    try:
        with stored_sessions(config) as sessions:
            return sessions.remembered_mics()
    except (StoreError, DamageError) as error:
        problem = str(error)
    except ValueError:  # its text repeats the row, which must not be logged
        problem = "a row of the table mic is damaged; the next start sets it aside"
    log.warning("the ids and speakers that the node knows are not shown: %s", problem)
    return []
