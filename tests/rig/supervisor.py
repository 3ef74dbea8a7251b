"""What an add-on asks Home Assistant's Supervisor, answered by an HTTP server in this process."""

from __future__ import annotations

import json
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

from tests.rig.broker import HOST

if TYPE_CHECKING:
    from collections.abc import Mapping

TOKEN = "a-token"  # noqa: S105  # of this server only


class Supervisor:
    """Serves `answers`, the data for each path, to who has the token; everything else is refused.

    Both forms, of an answer and of a refusal, are those of Supervisor 2026.08.
    """

    def __init__(self, answers: Mapping[str, Any]) -> None:
        self._server = ThreadingHTTPServer((HOST, 0), _handler(answers))
        self._thread = threading.Thread(target=self._server.serve_forever)
        self.url = f"http://{HOST}:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _handler(answers: Mapping[str, Any]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.headers["Authorization"] != f"Bearer {TOKEN}":
                self._answer(HTTPStatus.UNAUTHORIZED, None)
            elif self.path not in answers:
                self._answer(HTTPStatus.BAD_REQUEST, None)
            else:
                self._answer(HTTPStatus.OK, answers[self.path])

        def _answer(self, status: HTTPStatus, data: object) -> None:
            refused = {"result": "error", "message": status.phrase}
            good = {"result": "ok", "data": data}
            body = json.dumps(good if status == HTTPStatus.OK else refused).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            """Print nothing."""

    return Handler


def audio_info(inputs: Mapping[str, str]) -> dict[str, Any]:
    """Return the answer to /audio/info; `inputs` maps a source's name to its description."""
    streams: list[dict[str, Any]] = [
        {
            "name": name,
            "index": index,
            "description": description,
            "volume": 1.0,
            "mute": False,
            "default": index == 0,
            "card": None,
            "applications": [],
        }
        for index, (name, description) in enumerate(inputs.items())
    ]
    audio = {"card": [], "input": streams, "output": [], "application": []}
    return {"version": "2025.08.0", "host": "172.30.32.4", "audio": audio}
