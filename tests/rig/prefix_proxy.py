"""A reverse proxy that serves the page below a path, as Home Assistant's ingress does.

As that of Home Assistant 2026.2 it compresses by the type alone, and flushes nothing meanwhile.
"""

from __future__ import annotations

import threading
import zlib
from http.client import HTTPConnection, IncompleteRead
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from http.client import HTTPResponse

PREFIX = "/api/hassio_ingress/token-1"
HOST = "127.0.0.1"
HOP_BY_HOP = {"connection", "transfer-encoding", "keep-alive"}
UNCOMPRESSED = ("video/", "audio/", "font/", "application/octet-stream")


class PrefixProxy:
    """Hands on what is below `PREFIX` to a port of this machine, without the prefix.

    Args:
        port: where the page is.
        address: the address of this machine that it asks from.
    """

    def __init__(self, port: int, address: str = HOST) -> None:
        class Handler(_Handler):
            target = port
            source = address

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
    source: str

    def do_GET(self) -> None:
        if not self.path.startswith(f"{PREFIX}/"):
            self.send_error(404)
            return
        connection = HTTPConnection(HOST, self.target, source_address=(self.source, 0))
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        headers = {**dict(self.headers), "X-Ingress-Path": PREFIX}
        headers.pop("Accept-Encoding", None)
        try:
            connection.request(self.command, self.path.removeprefix(PREFIX), body, headers)
            self._hand_back(connection.getresponse())
        except ConnectionRefusedError:
            self.send_error(502)  # the page is not there yet
        except (BrokenPipeError, ConnectionResetError, IncompleteRead):
            self.close_connection = True  # the browser or the page's program has gone
        finally:
            connection.close()

    do_POST = do_GET  # noqa: N815  # as http.server names them
    do_DELETE = do_GET  # noqa: N815

    def _hand_back(self, answer: HTTPResponse) -> None:
        packer = self._packer(answer.headers.get("content-type", ""))
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in HOP_BY_HOP and not (packer and name.lower() == "content-length"):
                self.send_header(name, value)
        if packer:
            self.send_header("Content-Encoding", "deflate")
        self.send_header("Connection", "close")
        self.end_headers()
        while part := answer.read1():
            self.wfile.write(packer.compress(part) if packer else part)
            self.wfile.flush()
        self.wfile.write(packer.flush() if packer else b"")

    def _packer(self, content_type: str) -> zlib._Compress | None:
        accepted = "deflate" in (self.headers["Accept-Encoding"] or "")
        return (
            zlib.compressobj() if accepted and not content_type.startswith(UNCOMPRESSED) else None
        )

    def log_message(self, *_: object) -> None:
        """Say nothing."""
