"""A model hub on the loopback interface, for the real client of faster-whisper."""

from __future__ import annotations

import hashlib
import json
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING

from tests.rig.broker import HOST
from tests.rig.node import MODEL

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REVISION = "0123456789abcdef0123456789abcdef01234567"


class Hub(BaseHTTPRequestHandler):
    """Just enough of the Hugging Face Hub to serve the demo's model under any name."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = self.path.partition("?")[0]
        if "/revision/" in path:
            names = [{"rfilename": file.name} for file in MODEL.iterdir()]
            self._send(json.dumps({"id": "demo", "sha": REVISION, "siblings": names}).encode())
        elif "/tree/" in path:
            entries = [
                {"type": "file", "path": f.name, "size": f.stat().st_size, "oid": etag(f)}
                for f in MODEL.iterdir()
            ]
            self._send(json.dumps(entries).encode())
        else:
            file = MODEL / path.rpartition("/")[2]
            self._send(file.read_bytes(), ETag=f'"{etag(file)}"', **{"X-Repo-Commit": REVISION})

    def _send(self, body: bytes, **headers: str) -> None:
        self.send_response(HTTPStatus.OK)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Keep quiet."""


def etag(file: Path) -> str:
    return hashlib.sha1(file.read_bytes(), usedforsecurity=False).hexdigest()


@contextmanager
def hub() -> Iterator[int]:
    """Run a hub on the loopback interface; yield its port."""
    server = ThreadingHTTPServer((HOST, 0), Hub)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def hub_env(folder: Path, port: int) -> dict[str, str]:
    """Return an environment that uses the hub on `port`, but no cache or proxy of this machine."""
    return {
        "HF_ENDPOINT": f"http://{HOST}:{port}",
        "HF_HOME": str(folder / "hf"),
        "NO_PROXY": HOST,
        "no_proxy": HOST,
    }
