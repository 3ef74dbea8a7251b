"""Serves the stream under a content type that no proxy compresses, to clients that ask for it.

Home Assistant's ingress compresses `text/event-stream` and flushes nothing, so a few lines stay in
its compressor until there are many. It leaves `application/octet-stream` alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

PLAIN = "application/octet-stream"
EVENTS = "text/event-stream"


class PlainStream:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_plain(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if headers.get("content-type", "").startswith(EVENTS):
                    headers["content-type"] = PLAIN
            await send(message)

        wanted = scope["type"] == "http" and Headers(scope=scope).get("accept") == PLAIN
        await self._app(scope, receive, send_plain if wanted else send)
