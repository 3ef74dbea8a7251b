"""The application: the page, the two APIs, logging in, and what is answered to errors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import FastAPI, HTTPException
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request  # noqa: TC002  # FastAPI reads it at run time

from node import __version__
from node.errors import NodeError
from node.web.bodies import Done, Login
from node.web.checks import path_of_cookie
from node.web.guard import COOKIE, Guard
from node.web.hub import RefusedError, SilentError, UnreachableError, running
from node.web.logins import LASTS_S
from node.web.meetings import Meetings
from node.web.page_api import PageApi
from node.web.plain_stream import PlainStream
from node.web.prototype import Prototype

if TYPE_CHECKING:
    from datetime import tzinfo

    from starlette.responses import Response

    from node.web.guard import Rules
    from node.web.hub import Hub
    from node.web.logins import Logins

STATIC = Path(__file__).with_name("static")
STATUSES: dict[type[NodeError], int] = {RefusedError: 400, UnreachableError: 503, SilentError: 504}


def application(hub: Hub, rules: Rules, logins: Logins, zone: tzinfo) -> FastAPI:
    """Return the whole application; it connects to the broker when it starts."""
    app = FastAPI(
        title="Scribe Node",
        version=__version__,
        summary="Start and stop sessions, follow them, and read transcripts.",
        docs_url=None,  # FastAPI's own pages load scripts from elsewhere
        redoc_url=None,
        # Relative to the document: right behind any proxy.
        servers=[{"url": "."}],
        lifespan=lambda _app: running(hub),
    )
    app.include_router(Prototype(hub).router())
    app.include_router(PageApi(hub, Meetings(hub, zone)).router())
    _add_pages(app)
    _add_login(app, logins)
    _add_errors(app)
    app.add_middleware(PlainStream)
    app.add_middleware(Guard, rules=rules, logins=logins)
    return app


def _add_pages(app: FastAPI) -> None:
    async def page() -> Response:
        return FileResponse(STATIC / "index.html")

    async def docs() -> Response:
        return FileResponse(STATIC / "docs.html")

    app.add_api_route("/", page, include_in_schema=False)
    app.add_api_route("/docs", docs, include_in_schema=False)
    app.mount("/static", StaticFiles(directory=STATIC))


def _add_login(app: FastAPI, logins: Logins) -> None:
    async def log_in(request: Request, body: Login) -> Response:
        """Check the password; the answer sets a cookie."""
        if not await run_in_threadpool(logins.check, body.password):
            pause_s = round(logins.pause_s())
            message = f"too many tries; wait {pause_s} s" if pause_s else "the password is wrong"
            raise HTTPException(429 if pause_s else 403, message)
        answer = JSONResponse({"status": "ok", "data": {}})
        answer.set_cookie(
            COOKIE,
            logins.open(),
            max_age=LASTS_S,
            path=path_of_cookie(_prefix(request)),
            httponly=True,
            samesite="strict",
            secure=_is_https(request),
        )
        return answer

    async def log_out(request: Request) -> Response:
        """End the login of this browser."""
        logins.close(request.cookies.get(COOKIE, ""))
        answer = JSONResponse({"status": "ok", "data": {}})
        answer.delete_cookie(COOKIE, path=path_of_cookie(_prefix(request)))
        return answer

    for path, function in (("/api/login", log_in), ("/api/logout", log_out)):
        app.add_api_route(
            path, function, methods=["POST"], response_model=Done, tags=["logging in"]
        )


def _prefix(request: Request) -> str:
    """Return the path that a proxy takes off before it hands a request on."""
    headers = request.headers
    return headers.get("x-ingress-path") or headers.get("x-forwarded-prefix") or ""


def _is_https(request: Request) -> bool:
    return "https" in {request.url.scheme, request.headers.get("x-forwarded-proto")}


def _add_errors(app: FastAPI) -> None:
    """Answer every error in one form, and a wrong request with 400, as the prototype did."""

    async def failed(_request: Request, error: Exception) -> Response:
        body: dict[str, str] = {"status": "error", "message": str(error)}
        if isinstance(error, RefusedError | SilentError | UnreachableError):
            body["code"] = error.code
        return JSONResponse(body, STATUSES.get(type(error), 500))  # type: ignore[arg-type]  # only types that are in the table

    async def invalid(_request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        said = [f"{'.'.join(map(str, each['loc'][1:]))}: {each['msg']}" for each in error.errors()]
        body = {"status": "error", "code": "invalid_request", "message": "; ".join(said)}
        return JSONResponse(body, 400)

    async def refused(_request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return JSONResponse({"status": "error", "message": error.detail}, error.status_code)

    app.add_exception_handler(NodeError, failed)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, refused)
