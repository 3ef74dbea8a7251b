"""`scribe-node web` as a subprocess, asked over HTTP; and a meeting of recordings for its node."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import sys
import threading
import urllib.error
import urllib.request
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any, Self

from tests.rig.node import ROOT, configuration
from tests.rig.patience import stretched
from tests.rig.processes import Program, wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping
    from email.message import Message
    from pathlib import Path

START_TIMEOUT_S = 60
ANSWER_TIMEOUT_S = 120
PEOPLE = {"mic-alice": "Alice", "mic-bruno": "Bruno", "mic-chloe": "Chloé"}


def meeting(folder: Path, port: int, **sections: Any) -> dict[str, Any]:
    """Return the configuration of a node that plays the demonstration's recordings for ever."""
    demo = ROOT / "config" / "demo"
    files = [{"mic": mic, "file": str(demo / f"{mic}.wav"), "loop": True} for mic in PEOPLE]
    audio = {"source": "files", "files": files}
    return configuration(folder, port, [], audio=audio, **sections)


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Message
    text: str

    def json(self) -> Any:
        return json.loads(self.text)


class RunningPage:
    """Runs the page within its context, on a port of its own choice."""

    def __init__(
        self, config: Path, *arguments: str, password_file: Path, listen: str = "127.0.0.1:0"
    ) -> None:
        self._command = [sys.executable, "-m", "node", "web", "--config", str(config)]
        self._command += ["--listen", listen, "--password-file", str(password_file), *arguments]
        self._program: Program | None = None
        self.url = ""

    def __enter__(self) -> Self:
        program = self._program = Program(self._command, None, ROOT).start()
        program.wait_output("The page is at ", START_TIMEOUT_S)
        found = re.search(r"The page is at (http://\S+/)", program.output())
        assert found, program.output()
        self.url = found[1].replace("0.0.0.0", "127.0.0.1")  # noqa: S104  # what was listened on
        return self

    def __exit__(self, exception: type[BaseException] | None, *_rest: object) -> None:
        if exception is not None:
            sys.stderr.write(self.program.output())
        self.program.__exit__()

    @property
    def program(self) -> Program:
        assert self._program is not None
        return self._program

    @property
    def port(self) -> int:
        return int(self.url.rstrip("/").rpartition(":")[2])

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, headers=headers)

    def post(self, path: str, body: object = None, **headers: str) -> Answer:
        return self.ask("POST", path, body, headers)

    def ask(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send a request; underscores in names of headers become hyphens."""
        data = None if body is None else json.dumps(body).encode()
        sent = {} if body is None else {"Content-Type": "application/json"}
        sent |= {name.replace("_", "-"): value for name, value in (headers or {}).items()}
        request = urllib.request.Request(self.url + path, data, sent, method=method)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=stretched(ANSWER_TIMEOUT_S)) as answer:  # noqa: S310
                return Answer(answer.status, answer.headers, answer.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.headers, error.read().decode())

    def view(self) -> dict[str, Any]:
        found: dict[str, Any] = self.get("api/nodes").json()
        return found

    def node(self) -> dict[str, Any]:
        """Return what is shown of the only node; empty if there is none."""
        nodes = self.view()["nodes"]
        return nodes[0] if nodes else {}

    def wait_online(self) -> Self:
        wait_until(lambda: self.node().get("online"), START_TIMEOUT_S, "the page sees the node")
        return self


class Stream:
    """Follows the page's server-sent events within its context."""

    def __init__(self, page: RunningPage, **headers: str) -> None:
        self._headers = headers
        self._connection = HTTPConnection("127.0.0.1", page.port)
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.content_type: str | None = None

    def __enter__(self) -> Self:
        self._connection.request("GET", "/api/stream", headers=self._headers)
        self._answer = self._connection.getresponse()
        self.content_type = self._answer.headers["content-type"]
        self._thread = threading.Thread(target=self._read)
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        with contextlib.suppress(OSError):  # it has ended by itself
            self._connection.sock.shutdown(socket.SHUT_RDWR)  # wakes the reader
        self._thread.join()
        self._answer.close()
        self._connection.close()

    def _read(self) -> None:
        kind = ""
        with contextlib.suppress(OSError, ValueError):
            for raw in self._answer:
                line = raw.decode().rstrip("\n")
                if line.startswith("event: "):
                    kind = line.removeprefix("event: ")
                elif line.startswith("data: "):
                    self.events.append((kind, json.loads(line.removeprefix("data: "))))

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [body for name, body in list(self.events) if name == kind]
