"""The HTTP API of the prototype that this project replaces, answered by a node.

Same paths, fields and statuses. With several nodes on the broker, `?node=` says which.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse, Response

from node.web.bodies import (
    Healthy,
    Problem,
    PrototypeMic,
    PrototypeMics,
    PrototypeStart,
    Started,
    Stopped,
    Transcription,
)
from node.web.hub import STOP, RefusedError, text_of

if TYPE_CHECKING:
    from node.web.hub import Hub

Node = Annotated[str | None, Query(description="only with several nodes on the broker")]
REFUSED: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "it cannot be done; the message says why"},
    503: {"model": Problem, "description": "the broker or the node is away"},
    504: {"model": Problem, "description": "the node does not answer"},
}


class Prototype:
    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def router(self) -> APIRouter:
        router = APIRouter(tags=["the prototype's API"], responses=REFUSED)
        add = router.add_api_route
        add("/detect_mics", self.detect_mics)
        add("/start_transcription", self.start_transcription, methods=["POST"])
        add("/stop_transcription", self.stop_transcription, methods=["POST"])
        add("/get_transcriptions", self.get_transcriptions)
        add(
            "/download_transcription",
            self.download_transcription,
            response_class=Response,
            responses={200: {"content": {"text/plain": {}}}},
        )
        add("/healthz", self.healthz, responses={503: {"model": Healthy}})
        return router

    def _node(self, named: str | None) -> str:
        """Return the node that is meant.

        Raises:
            RefusedError: it is not clear which.
        """
        if named is not None:
            return named
        online = self._hub.overview.online
        if len(online) > 1:
            raise RefusedError("which_node", f"add ?node= with one of {', '.join(sorted(online))}")
        known = [each["node"] for each in self._hub.overview.view()["nodes"]]
        return (online or known or ["?"])[0]

    async def detect_mics(self, node: Node = None) -> PrototypeMics:
        """Look for microphones."""
        data = await self._hub.ask(self._node(node), "mics/detect", {})
        return PrototypeMics(mics=[_mic(mic) for mic in data.get("mics", [])])

    async def start_transcription(self, body: PrototypeStart, node: Node = None) -> Started:
        """Start a session; each microphone gets a name."""
        if not body.assignments:
            raise RefusedError("no_assignments", "assignments: name at least one microphone")
        assignments = [{"mic": a.mic_id, "speaker": a.person_name} for a in body.assignments]
        data = await self._hub.ask(self._node(node), "session/start", {"assignments": assignments})
        count = len(assignments)
        message = f"transcription started for {count} microphone{'s' * (count > 1)}"
        return Started(message=message, session_id=str(data.get("session_id")))

    async def stop_transcription(self, node: Node = None) -> Stopped:
        """Stop the session; answered once everything is transcribed and written.

        Without a session it names the last one's file, as the prototype did.
        """
        name = self._node(node)
        try:
            data = await self._hub.ask(name, STOP, {})
        except RefusedError as refusal:
            if refusal.code != "not_recording":
                raise
            data = await self._last(name)
        return Stopped(file_path=data.get("file_path"))

    async def _last(self, node: str) -> dict[str, Any]:
        """Return the newest session as listed; empty if there is none."""
        listed = (await self._hub.ask(node, "session/list", {"limit": 1})).get("sessions")
        newest: dict[str, Any] = listed[0] if listed else {}
        return newest

    async def get_transcriptions(self, node: Node = None) -> Transcription:
        """Return the transcript of the running or last session; empty if there is none."""
        return Transcription(transcription=await self._text(node))

    async def download_transcription(self, node: Node = None) -> Response:
        """Return the same as a file."""
        text = await self._text(node)
        name = f"full_transcription_{datetime.now(UTC):%Y%m%d_%H%M%S}.txt"
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return Response(text, media_type="text/plain; charset=utf-8", headers=headers)

    async def _text(self, node: str | None) -> str:
        try:
            return await text_of(self._hub.pages(self._node(node), None, "text"), "text")
        except RefusedError as refusal:
            if refusal.code == "no_session":
                return ""
            raise

    async def healthz(self) -> Response:
        """Say whether a node can be asked: 200 or 503."""
        ok = bool(self._hub.overview.online)
        return JSONResponse({"ok": ok}, 200 if ok else 503)


def _mic(mic: dict[str, Any]) -> PrototypeMic:
    return PrototypeMic(
        mic_id=mic["index"],
        device_index=mic.get("card"),
        name=mic["name"],
        default_samplerate=mic.get("sample_rate"),
        mic=mic["mic"],
        person_name=mic.get("speaker"),
        connected=mic["connected"],
    )
