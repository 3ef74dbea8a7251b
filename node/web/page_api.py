"""What the page itself asks for: states and speech as they come, and requests to a node."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator  # noqa: TC003  # FastAPI reads it at run time
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Path, Query
from fastapi.responses import Response
from fastapi.sse import EventSourceResponse, ServerSentEvent

from node.core.mqtt.messages import SessionId
from node.core.text.format_names import SUFFIX
from node.web.bodies import Assign, Done, Mute, Search, Start, View
from node.web.hub import PAGE, STOP, RefusedError, text_of
from node.web.prototype import REFUSED

if TYPE_CHECKING:
    from node.web.hub import Hub
    from node.web.meetings import Meetings

Count = Annotated[int, Query(ge=1, le=200)]
Offset = Annotated[int, Query(ge=0)]
SessionInPath = Annotated[SessionId, Path()]
MEDIA = {
    "txt": "text/plain; charset=utf-8",
    "json": "application/json",
    "srt": "application/x-subrip; charset=utf-8",
    "vtt": "text/vtt; charset=utf-8",
    "md": "text/markdown; charset=utf-8",
}
FORM = {suffix: form for form, suffix in SUFFIX.items()}


def _check_suffix(suffix: str) -> None:
    if suffix not in FORM:
        raise RefusedError("invalid_request", f"suffix: one of {', '.join(FORM)}")


def _file(text: str, name: str, suffix: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}.{suffix}"'}
    return Response(text, media_type=MEDIA[suffix], headers=headers)


class PageApi:
    def __init__(self, hub: Hub, meetings: Meetings) -> None:
        self._hub = hub
        self._meetings = meetings

    def router(self) -> APIRouter:
        router = APIRouter(prefix="/api", tags=["the page's API"], responses=REFUSED)
        add = router.add_api_route
        add("/stream", self.stream, response_class=EventSourceResponse)
        add("/nodes", self.nodes)
        of_node = "/nodes/{node}"
        add(f"{of_node}/assign", self.assign, methods=["POST"])
        add(f"{of_node}/mics/{{mic}}/enabled", self.mute, methods=["POST"])
        add(f"{of_node}/start", self.start, methods=["POST"])
        add(f"{of_node}/stop", self.stop, methods=["POST"])
        add(f"{of_node}/search", self.search, methods=["POST"])
        add(f"{of_node}/sessions", self.sessions)
        add(f"{of_node}/sessions/{{session_id}}", self.delete, methods=["DELETE"])
        add(f"{of_node}/sessions/{{session_id}}/segments", self.segments)
        add(
            f"{of_node}/sessions/{{session_id}}/transcript.{{suffix}}",
            self.download,
            response_class=Response,
        )
        add(f"{of_node}/sessions/{{session_id}}/meeting", self.meeting)
        add(
            f"{of_node}/sessions/{{session_id}}/meeting.{{suffix}}",
            self.download_meeting,
            response_class=Response,
        )
        return router

    async def stream(self) -> AsyncIterator[ServerSentEvent]:
        """Server-sent events: `state` is all of `/api/nodes`, at first and on each change;
        `segment`, `partial` and `event` are `{"node", "body"}` with the body as on MQTT.
        """
        async for kind, body in self._hub.follow():
            text = json.dumps(body, ensure_ascii=False)
            yield ServerSentEvent(event=kind, raw_data=text, retry=1000)

    async def nodes(self) -> View:
        """Return what is known of every node."""
        return View.model_validate(self._hub.overview.view())

    async def assign(self, node: str, body: Assign) -> Done:
        """Name microphones, also during a session; an empty name takes the name away."""
        return await self._done(node, "mics/assign", body.model_dump(exclude_none=True))

    async def mute(self, node: str, mic: str, body: Mute) -> Done:
        """Mute a microphone or unmute it: of a muted one nothing is kept."""
        await self._hub.switch(node, mic, on=body.enabled)
        return Done(data={})

    async def start(self, node: str, body: Start) -> Done:
        """Start a session, by default with the names that the microphones have."""
        return await self._done(node, "session/start", body.model_dump(exclude_none=True))

    async def stop(self, node: str) -> Done:
        """Stop the session; answered once everything is transcribed and written."""
        return await self._done(node, STOP, {})

    async def search(self, node: str, body: Search) -> Done:
        """Search what was said in all sessions. It is a POST: words stay out of logs."""
        return await self._done(node, "session/search", body.model_dump())

    async def sessions(self, node: str, limit: Count = 50, offset: Offset = 0) -> Done:
        """List past sessions, newest first."""
        return await self._done(node, "session/list", {"limit": limit, "offset": offset})

    async def delete(self, node: str, session_id: SessionInPath) -> Done:
        """Delete a session with everything said in it."""
        return await self._done(node, "session/delete", {"session_id": session_id})

    async def segments(
        self, node: str, session_id: SessionInPath, limit: Count = PAGE, offset: Offset = 0
    ) -> Done:
        """Return a part of a session's segments, in the order of speech."""
        request = {"session_id": session_id, "limit": limit, "offset": offset}
        return await self._done(node, "transcript/get", {**request, "format": "json"})

    async def download(self, node: str, session_id: SessionInPath, suffix: str) -> Response:
        """Return a whole transcript as a file: txt, json, srt, vtt or md."""
        _check_suffix(suffix)
        if suffix == "json":
            whole = await self._hub.document(node, session_id)
            text = json.dumps(whole, ensure_ascii=False, indent=1)
        else:
            text = await text_of(self._hub.pages(node, session_id, FORM[suffix]), FORM[suffix])
        return _file(text, f"transcript_{session_id}", suffix)

    async def meeting(self, node: str, session_id: SessionInPath) -> Done:
        """Return which nodes have recorded this meeting, and what is said of their clocks."""
        found = await self._meetings.find(node, session_id)
        return Done(data={"nodes": found.nodes, "remarks": list(found.remarks)})

    async def download_meeting(self, node: str, session_id: SessionInPath, suffix: str) -> Response:
        """Return one transcript of all nodes that have recorded this meeting, as a file."""
        _check_suffix(suffix)
        text = await self._meetings.transcript(node, session_id, suffix)
        return _file(text, f"meeting_{session_id}", suffix)

    async def _done(self, node: str, verb: str, request: dict[str, Any]) -> Done:
        return Done(data=await self._hub.ask(node, verb, request))
