"""Stands before everything else: refuses unauthorised requests, sets the headers of answers."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import JSONResponse

from node.web.checks import SAFE_METHODS, host_allowed, same_origin

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from node.web.logins import Logins

COOKIE = "scribe_login"
PUBLIC = frozenset({"/", "/healthz", "/api/login"})
"""What needs no password: the page asks for it, and holds nothing itself."""

MAX_BODY_BYTES = 64 * 1024
"""Of a request, as a node takes it: anybody may send one that asks for the password."""

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
        " connect-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'none';"
        " frame-ancestors 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


@dataclass(frozen=True, slots=True)
class Rules:
    """Whose requests are taken.

    Args:
        names: what this server may be called in a `Host` header, beside any address.
        ingress: addresses of proxies that have checked who asks, as Home Assistant's does.
        loopback: whether the server can be reached from this machine only.
    """

    names: frozenset[str]
    ingress: frozenset[str]
    loopback: bool


class Guard:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, rules: Rules, logins: Logins) -> None:
        self._app = app
        self._rules = rules
        self._logins = logins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._guarded(scope, receive, send)
        # There are no WebSockets here; uvicorn refuses one that is not answered.

    async def _guarded(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                headers.setdefault("Cache-Control", _caching(scope["path"]))
            await send(message)

        refusal = _too_long(scope) or await self._refusal(scope)
        await (refusal or self._app)(scope, _bounded(receive), send_with_headers)

    async def _refusal(self, scope: Scope) -> JSONResponse | None:
        headers = Headers(scope=scope)
        trusted = (scope.get("client") or ("", 0))[0] in self._rules.ingress
        if not trusted and not host_allowed(headers.get("host", ""), self._rules.names):
            return _refuse(400, "this name is not known here: start with --host NAME to allow it")
        if scope["method"] not in SAFE_METHODS and not same_origin(headers):
            return _refuse(403, "this request comes from another site's page")
        if trusted:
            return None
        if not self._logins.needed:
            open_to_all = self._rules.loopback
            return None if open_to_all else _refuse(403, "only for requests through the proxy")
        path = scope["path"]
        if path in PUBLIC or path.startswith("/static/") or await self._logged_in(headers):
            return None
        return _refuse(401, "a password is needed")

    async def _logged_in(self, headers: Headers) -> bool:
        token = cookie_parser(headers.get("cookie", "")).get(COOKIE)
        if token is not None and self._logins.knows(token):
            return True
        password = _basic_password(headers.get("authorization", ""))
        return password is not None and await run_in_threadpool(self._logins.check, password)


def _too_long(scope: Scope) -> JSONResponse | None:
    length = int(Headers(scope=scope).get("content-length", 0))  # uvicorn refuses other than digits
    if length <= MAX_BODY_BYTES:
        return None
    return _refuse(413, f"a request may have at most {MAX_BODY_BYTES // 1024} KiB")


def _bounded(receive: Receive) -> Receive:
    """Hang up on a body that is too long, whatever length it was said to have."""
    received = 0

    async def receive_some() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        return message if received <= MAX_BODY_BYTES else {"type": "http.disconnect"}

    return receive_some


def _basic_password(authorization: str) -> str | None:
    """Return the password of HTTP Basic authentication, whatever the user's name."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(encoded, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return None


def _caching(path: str) -> str:
    return "no-cache" if path.startswith("/static/") else "no-store"


def _refuse(status: int, message: str) -> JSONResponse:
    return JSONResponse({"status": "error", "message": message}, status)
