"""A real Node-RED in a process of its own, with our flow."""

from __future__ import annotations

import json
import shutil
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tests.rig.broker import HOST, free_port
from tests.rig.clients.install import node_red_folder
from tests.rig.processes import Program, wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping

START_TIMEOUT_S = 60
FLOW = Path(__file__).parents[3] / "config/node-red/flow.json"

SETTINGS = """\
module.exports = {{
  uiHost: "127.0.0.1", uiPort: {port}, flowFile: "flow.json", credentialSecret: false,
  telemetry: {{ enabled: false, updateNotification: false }},
  editorTheme: {{ tours: false, palette: {{ catalogues: [] }} }},
  externalModules: {{ palette: {{ allowInstall: false }}, modules: {{ allowInstall: false }} }},
  logging: {{ console: {{ level: "info" }} }},
}};
"""


class NodeRed:
    """Node-RED with `config/node-red/flow.json`, in which only the broker's port is changed."""

    def __init__(self, folder: Path, broker_port: int, env: Mapping[str, str]) -> None:
        self.folder = folder
        self._port = free_port()
        flow = json.loads(FLOW.read_text(encoding="utf-8"))
        for node in flow:
            if node["type"] == "mqtt-broker":
                node.update(broker=HOST, port=str(broker_port))
        (folder / "flow.json").write_text(json.dumps(flow), encoding="utf-8")
        (folder / "settings.js").write_text(SETTINGS.format(port=self._port), encoding="utf-8")
        red = node_red_folder() / "node_modules/node-red/red.js"
        node_js = shutil.which("node")
        assert node_js is not None
        settings = folder / "settings.js"
        command = [node_js, str(red), "--userDir", str(folder), "--settings", str(settings)]
        self._program = Program(command, env, folder)

    def press(self, inject: str) -> None:
        """Press the button of an inject node."""
        self._call(f"/inject/{inject}", b"")

    def context(self, key: str) -> Any:
        """Return a value from the flow's context."""
        answer = json.loads(self._call(f"/context/flow/scribe-tab/{key}"))
        value = answer.get("memory", answer)
        value = value.get(key, value) if key in value else value
        return (
            json.loads(value["msg"]) if value.get("format", "").startswith("Obj") else value["msg"]
        )

    def output(self) -> str:
        return self._program.output()

    def _call(self, path: str, data: bytes | None = None) -> str:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://{HOST}:{self._port}{path}", data, timeout=10) as answer:
            return str(answer.read().decode())

    def __enter__(self) -> Self:
        self._program.start()
        wait_until(
            lambda: "Connected to broker" in self.output(), START_TIMEOUT_S, "Node-RED is connected"
        )
        return self

    def __exit__(self, exception: type[BaseException] | None, *_rest: object) -> None:
        if exception is not None:
            print(self.output())
        self._program.__exit__()
