"""Meetings that several nodes have recorded: found by their group, and merged."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from node.core.text import documents
from node.core.text.documents import DocumentError
from node.core.text.merged import compare_clocks, may_be_of_one_meeting, merged
from node.web.hub import RefusedError, SilentError, UnreachableError

if TYPE_CHECKING:
    from datetime import tzinfo

    from node.core.model import Session
    from node.web.hub import Hub

AT_ONCE, MOST = 200, 10_000
"""Sessions of one group that a node is asked for at once, the newest first, and at most."""


@dataclass(frozen=True, slots=True)
class Meeting:
    """The sessions of a meeting with their nodes, and what may be missing or wrong."""

    sessions: tuple[tuple[str, Session], ...]
    remarks: tuple[str, ...]

    @property
    def nodes(self) -> list[str]:
        return list(dict.fromkeys(node for node, _ in self.sessions))


class Meetings:
    """`zone` is that of the times of day in merged transcripts."""

    def __init__(self, hub: Hub, zone: tzinfo) -> None:
        self._hub = hub
        self._zone = zone

    async def find(self, node: str, session_id: str) -> Meeting:
        """Find the sessions of the meeting that this one is of; without a group only itself.

        Raises:
            NodeError: as `Hub.ask`.
        """
        request = {"session_id": session_id, "format": "json", "offset": 0, "limit": 1}
        answer = await self._hub.ask(node, "transcript/get", request)
        if "session" not in answer:
            raise RefusedError("no_group", f"the node {node} is too old to know of groups")
        session = _checked(answer["session"], node)
        if session.group is None:
            return Meeting(((node, session),), ())
        nodes = sorted(self._hub.overview.online)
        found = await asyncio.gather(*(self._of_group(name, session) for name in nodes))
        sessions, remarks = [], []
        for name, listed in zip(nodes, found, strict=True):
            if listed is None:
                remarks.append(f"{name} does not answer: what was said there is missing")
            else:
                near = [each for each in listed if may_be_of_one_meeting(session, each)]
                sessions += [(name, each) for each in near]
        away = set(self._hub.overview.names) - set(nodes)
        remarks += [f"{name} is offline: if it was there, its part is missing" for name in away]
        return Meeting(tuple(sessions), (*sorted(remarks), *compare_clocks(sessions).remarks))

    async def _of_group(self, node: str, of: Session) -> list[Session] | None:
        """Return a node's sessions of this one's group, back to its day; None without an answer."""
        found: list[Session] = []
        oldest = of.started_at - timedelta(days=1)
        for offset in range(0, MOST, AT_ONCE):
            request = {"group": of.group, "limit": AT_ONCE, "offset": offset}
            try:
                listed = (await self._hub.ask(node, "session/list", request)).get("sessions", ())
            except RefusedError as error:
                # What is too old to know of groups refuses the field.
                return [] if error.code == "invalid_request" else None
            except (SilentError, UnreachableError):
                return None
            for each in listed:
                with suppress(DocumentError):  # nothing of it can be merged
                    found.append(documents.session_of(each, node))
            if len(listed) < AT_ONCE or (found and found[-1].started_at < oldest):
                break
        return found

    async def transcript(self, node: str, session_id: str, suffix: str) -> str:
        """Return one transcript of the whole meeting, in the format of this suffix.

        Raises:
            RefusedError: `cannot_merge`.
            NodeError: as `Hub.ask`.
        """
        meeting = await self.find(node, session_id)
        asked = [self._hub.document(name, session.id) for name, session in meeting.sessions]
        answers = await asyncio.gather(*asked)
        try:
            parts = [
                documents.parse(body, name)
                for (name, _), body in zip(meeting.sessions, answers, strict=True)
            ]
            return await asyncio.to_thread(lambda: merged(parts, self._zone).write(suffix))
        except DocumentError as error:
            raise RefusedError("cannot_merge", str(error)) from error


def _checked(body: Any, node: str) -> Session:
    """Return the session that a node's answer describes.

    Raises:
        RefusedError: `cannot_merge`.
    """
    try:
        return documents.session_of(body, node)
    except DocumentError as error:
        raise RefusedError("cannot_merge", str(error)) from error
