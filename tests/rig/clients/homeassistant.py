"""A real Home Assistant in a process of its own, driven over its HTTP interface."""

from __future__ import annotations

import json
import shutil
import signal
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import yaml

from tests.rig.broker import HOST, free_port
from tests.rig.clients import summariser
from tests.rig.clients.install import choose, home_assistant_folder
from tests.rig.processes import Program, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

START_TIMEOUT_S = 120
STOP_TIMEOUT_S = 60
STATE_TIMEOUT_S = 20

OWNER = {"name": "Owner", "username": "owner", "password": "a-password", "language": "en"}
CONFIG = Path(__file__).parents[3] / "config/home-assistant"

ONBOARDED = {
    "version": 4,
    "key": "onboarding",
    "data": {"done": ["core_config", "analytics", "integration"]},
}
"""All steps but the first user; they would add integrations that need the internet."""


def has_ai_tasks() -> bool:
    """Return whether the release that is installed has them."""
    _, release = choose()
    return tuple(map(int, release.split(".")[:2])) >= summariser.SINCE


class HomeAssistant:
    """Home Assistant with our blueprints and dashboard; can be stopped and started again.

    `automations` are as in `automations.yaml`.
    """

    def __init__(self, folder: Path, automations: Sequence[dict[str, Any]] = ()) -> None:
        _, self.release = choose()
        self.folder = folder
        self.port = free_port()
        self.url = f"http://{HOST}:{self.port}"
        self._token = ""
        self._program: Program | None = None
        self._configure(automations)

    def _configure(self, automations: Sequence[dict[str, Any]]) -> None:
        blueprints = self.folder / "blueprints/automation/scribe"
        shutil.copytree(CONFIG / "blueprints", blueprints)
        shutil.copy(CONFIG / "dashboard.yaml", self.folder / "scribe.yaml")
        if has_ai_tasks():
            summariser.install(self.folder)
        storage = self.folder / ".storage"
        storage.mkdir()
        (storage / "onboarding").write_text(json.dumps(ONBOARDED))
        dashboard = {"mode": "yaml", "title": "Scribe", "filename": "scribe.yaml"}
        everything: dict[str, Any] = {
            # Not `default_config`, which scans the network and calls home.
            "homeassistant": {"name": "Test", "time_zone": "Europe/Paris", "country": "FR"},
            "http": {"server_host": HOST, "server_port": self.port},
            "lovelace": {"dashboards": {"scribe-node": {**dashboard, "show_in_sidebar": True}}},
            **dict.fromkeys(("frontend", "api", "config", "history", "logbook", "recorder")),
            "input_button": {"start": {"name": "Start"}},
            "automation": list(automations),
        }
        text = yaml.safe_dump(everything, allow_unicode=True)
        (self.folder / "configuration.yaml").write_text(text, encoding="utf-8")

    def start(self) -> Self:
        """Start or restart, and wait until everything is loaded."""
        if self._program is not None:
            self._program.__exit__()
        hass = home_assistant_folder(self.release) / "bin/hass"
        command = [str(hass), "--config", str(self.folder), "--skip-pip"]
        self._program = Program(command).start()
        wait_until(self._answers, START_TIMEOUT_S, f"Home Assistant answers:\n{self.log()}")
        if self._token:
            self.wait_running()
        return self

    def _answers(self) -> bool:
        assert self.program.process.poll() is None, self.program.output()
        try:
            self._call("GET", "/manifest.json")
        except OSError:
            return False
        return True

    @property
    def program(self) -> Program:
        assert self._program is not None
        return self._program

    def wait_running(self) -> None:
        wait_until(
            lambda: self._get("/api/config")["state"] == "RUNNING",
            START_TIMEOUT_S,
            "it has started",
        )

    def stop(self) -> None:
        self.program.signal(signal.SIGTERM)
        self.program.wait(STOP_TIMEOUT_S)

    def onboard(self) -> None:
        """Create the owner and log in as them."""
        client = {"client_id": f"{self.url}/"}
        code = self._call("POST", "/api/onboarding/users", {**OWNER, **client})["auth_code"]
        grant = {"grant_type": "authorization_code", "code": code, **client}
        self._token = self._call("POST", "/auth/token", grant, form=True)["access_token"]
        self.wait_running()

    def connect(self, port: int, username: str, password: str) -> None:
        """Add the MQTT integration, as a person does in the settings."""
        flows = "/api/config/config_entries/flow"
        flow = self._post(flows, {"handler": "mqtt"})
        broker = {"broker": HOST, "port": port, "username": username, "password": password}
        while flow["type"] in {"menu", "form"}:
            assert not flow.get("errors"), flow
            answer = {"next_step_id": "broker"} if flow["type"] == "menu" else broker
            flow = self._post(f"{flows}/{flow['flow_id']}", answer)
        assert flow["type"] == "create_entry", flow

    def add_summariser(self) -> None:
        """Add the AI task of the tests, as a person adds an integration."""
        flow = self._post("/api/config/config_entries/flow", {"handler": summariser.DOMAIN})
        assert flow["type"] == "create_entry", flow

    def states(self) -> dict[str, dict[str, Any]]:
        return {state["entity_id"]: state for state in self._get("/api/states")}

    def state(self, entity: str) -> str | None:
        """Return the state of an entity; None if there is no such entity."""
        found = self.states().get(entity)
        return found["state"] if found else None

    def attributes(self, entity: str) -> dict[str, Any]:
        attributes: dict[str, Any] = self.states()[entity]["attributes"]
        return attributes

    def wait_state(
        self, entity: str, wanted: str | Callable[[str], object], timeout: float = STATE_TIMEOUT_S
    ) -> dict[str, Any]:
        """Wait until an entity has a state, or one that `wanted` accepts."""

        def fits() -> dict[str, Any] | None:
            found = self.states().get(entity)
            if found is None:
                return None
            state = found["state"]
            return found if (wanted(state) if callable(wanted) else state == wanted) else None

        have = self.states().get(entity)
        return wait_until(fits, timeout, f"{entity} is {wanted}; was {have}") or {}

    def act(self, action: str, entity: str, **data: Any) -> None:
        """Call an action such as `switch.turn_on` on an entity."""
        self._post(f"/api/services/{action.replace('.', '/')}", {"entity_id": entity, **data})

    def render(self, template: str) -> str:
        """Return what Home Assistant renders from a template."""
        return str(self._post("/api/template", {"template": template}))

    def log(self) -> str:
        """Return its log, from before its last restart and since."""
        files = sorted(self.folder.glob("home-assistant.log*"), reverse=True)
        return "".join(file.read_text(encoding="utf-8") for file in files)

    def _get(self, path: str) -> Any:
        return self._call("GET", path)

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        return self._call("POST", path, body)

    def _call(
        self, method: str, path: str, body: dict[str, Any] | None = None, *, form: bool = False
    ) -> Any:
        """Make a call and return the answer, parsed if it is JSON.

        Raises:
            OSError: it does not answer yet.
            AssertionError: it refuses.
        """
        encode = urllib.parse.urlencode if form else json.dumps
        kind = "application/x-www-form-urlencoded" if form else "application/json"
        request = urllib.request.Request(  # noqa: S310  # always http, to this machine
            self.url + path,
            data=None if body is None else encode(body).encode(),
            headers={"Content-Type": kind, "Authorization": f"Bearer {self._token}"},
            method=method,
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=30) as answer:
                raw = answer.read().decode()
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{method} {path}: {error}: {error.read().decode()}") from None
        try:
            return json.loads(raw)
        except ValueError:
            return raw

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, exception: type[BaseException] | None, *_rest: object) -> None:
        if exception is not None:
            print(self.log()[-5000:])
        self.program.__exit__()
