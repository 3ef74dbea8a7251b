"""Detects another node with this node's id: brokers disconnect the one that connected first."""

from __future__ import annotations

import json
from typing import Any

SIGHTINGS = 2
"""Between two sightings this node has published its own `T/info`, so somebody else must have
replaced it. A single sighting may be what the broker kept from an earlier run."""


class DuplicateNode:
    """Compares the `T/info` that the broker keeps with the node's own; owned by the main thread.

    MQTT 5 has a reason code for a session taken over, but not every broker sends it (mosquitto
    2.0.11 does not), and MQTT 3.1.1 has none.
    """

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}

    def is_younger(self, kept: bytes, own: bytes) -> bool:
        """Return whether `kept`, found on a new connection, is from a node started after this one.

        The two would disconnect each other forever, so the older one should end.
        """
        theirs, ours = _started_at(kept), _started_at(own)
        if theirs is None or ours is None or theirs <= ours:
            return False
        self._seen = {theirs: self._seen.get(theirs, 0) + 1}
        return self._seen[theirs] >= SIGHTINGS


def _started_at(info: bytes) -> str | None:
    try:
        body: Any = json.loads(info)
    except (ValueError, RecursionError):  # anybody can write to this topic
        return None
    started_at = body.get("started_at") if isinstance(body, dict) else None
    return started_at if isinstance(started_at, str) else None
