"""A reverse proxy that serves the page below a path, as nginx or Home Assistant's ingress does."""

from __future__ import annotations

import threading
from http.client import HTTPConnection, IncompleteRead
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from http.client import HTTPResponse

PREFIX = "/api/hassio_ingress/token-1"
HOST = "127.0.0.1"
HOP_BY_HOP = {"connection", "transfer-encoding", "keep-alive"}


class PrefixProxy:
    """Hands on what is below `PREFIX` to a port of this machine, without the prefix."""

    def __init__(self, port: int) -> None:
        class Handler(_Handler):
            target = port

        self._server = ThreadingHTTPServer((HOST, 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self._server.server_port}{PREFIX}/"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    target: int

    def do_GET(self) -> None:
        if not self.path.startswith(f"{PREFIX}/"):
            self.send_error(404)
            return
        connection = HTTPConnection(HOST, self.target)
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        headers = {**dict(self.headers), "X-Ingress-Path": PREFIX}
        try:
            connection.request(self.command, self.path.removeprefix(PREFIX), body, headers)
            self._hand_back(connection.getresponse())
        except (BrokenPipeError, ConnectionResetError, IncompleteRead):
            self.close_connection = True  # the browser or the page's program has gone
        finally:
            connection.close()

    do_POST = do_GET  # noqa: N815  # as http.server names them
    do_DELETE = do_GET  # noqa: N815

    def _hand_back(self, answer: HTTPResponse) -> None:
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in HOP_BY_HOP:
                self.send_header(name, value)
        self.send_header("Connection", "close")
        self.end_headers()
        while part := answer.read1():
            self.wfile.write(part)
            self.wfile.flush()

    def log_message(self, *_: object) -> None:
        """Say nothing."""
