"""Start the node as an add-on, with its configuration made of the add-on's options, and the page.

The Supervisor's API says where the broker is and which inputs its sound server has. The options are
in DATA/options.json (config.yaml has their schema). Everything is written anew at each start, and
again when an input is plugged in.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import Any

import yaml

TIMEOUT_S = 10
MIC_CHARS = 64

INGRESS = "172.30.32.2"
"""The address that Home Assistant's ingress asks from, in the Supervisor's own network."""

LISTEN = "0.0.0.0:8099"  # nobody but the ingress is answered
BROKEN = (HTTPException, ValueError, LookupError, TypeError)
"""What an answer of the Supervisor may raise that is cut off, or not as it should be."""

PASSWORD = "mqtt-password"  # noqa: S105  # the file's name
PAGE_AGAIN_S, PAGE_STOP_S = 5.0, 5.0
LOOK_EVERY_S = 10.0

# An input of the sound server as an ALSA device, which is what PortAudio opens. The name begins so,
# because PortAudio takes names such as "front" or "side" for outputs.
PCM = """\
pcm.scribe_{name} {{
  type pulse
  device "{source}"
  hint {{ show on description "{name}" }}
}}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("/data"))
    parser.add_argument("--share", type=Path, default=Path("/share/scribe-node"))
    parser.add_argument("--page-folder", type=Path, default=Path("/run/scribe-page"))
    parser.add_argument("--page-user", help="the page's program runs as this user")
    parser.add_argument("--supervisor", default="http://supervisor")
    parser.add_argument("--ingress", default=INGRESS)
    parser.add_argument("--listen", default=LISTEN)
    arguments = parser.parse_args()
    options = json.loads((arguments.data / "options.json").read_text(encoding="utf-8"))
    broker = ask(arguments.supervisor, "services/mqtt")
    setup = Setup(arguments.data, options, broker)
    inputs = ask(arguments.supervisor, "audio/info")["audio"]["input"]
    try:
        setup.write(inputs)
    except AmbiguousError as error:
        sys.exit(str(error))
    share_transcripts(arguments.data / "storage", arguments.share)
    page = Page(arguments.page_folder, arguments.page_user, arguments.ingress, arguments.listen)
    page.prepare(setup.mqtt(arguments.page_folder), broker)
    sys.exit(serve(arguments, setup, page))


def serve(arguments: argparse.Namespace, setup: Setup, page: Page) -> int:
    """Run the node until it ends, the page beside it, and look for inputs; return its status."""
    told = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told.append(True))
    # The node begins so too: a change that comes before it can take one must not end it.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    command = ("scribe-node", "run", "--config", str(arguments.data / "node.yaml"))
    node = subprocess.Popen(command, env=without_token())
    look = time.monotonic() + LOOK_EVERY_S
    while (status := ended(node)) is None:
        if told:
            node.terminate()
            told.clear()
        page.keep()
        if time.monotonic() >= look:
            if setup.look(arguments.supervisor):
                node.send_signal(signal.SIGHUP)
            look = time.monotonic() + LOOK_EVERY_S
    page.stop()
    return status if status >= 0 else 128 - status


def ended(program: subprocess.Popen[bytes]) -> int | None:
    """Return the status of a program that ends within a second."""
    try:
        return program.wait(1)
    except subprocess.TimeoutExpired:
        return None


def without_token() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if key != "SUPERVISOR_TOKEN"}


class Page:
    """The page's program, which is started again if it ends. It asks nobody for a password:
    Home Assistant has, before its ingress hands a request on, and others are refused.

    Args:
        folder: for its configuration.
        user: whom it runs as; None: as this program.
        ingress: the address that requests may come from.
        listen: where it listens.
    """

    def __init__(self, folder: Path, user: str | None, ingress: str, listen: str) -> None:
        self._folder = folder
        self._user = user
        options = ("--ingress", ingress, "--listen", listen)
        places = ("--config", folder / "node.yaml", "--password-file", folder / "no-password")
        self._command = ("scribe-node", "web", *places, *options)
        self._program: subprocess.Popen[bytes] | None = None
        self._again_at = 0.0

    def prepare(self, mqtt: dict[str, Any], broker: dict[str, Any]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        config = yaml.safe_dump({"mqtt": mqtt, **time_zone()}, allow_unicode=True)
        (self._folder / "node.yaml").write_text(config, encoding="utf-8")
        password = write_password(self._folder, broker)
        if self._user is not None:
            shutil.chown(password, self._user, self._user)

    def keep(self) -> None:
        if self._program is not None and self._program.poll() is None:
            return
        if self._program is not None and not self._again_at:
            print(f"The page has ended with {self._program.returncode}; it is started again.")
            self._again_at = time.monotonic() + PAGE_AGAIN_S
        if time.monotonic() >= self._again_at:
            self._again_at = 0.0
            # No group of root's, and no word of the node's: it needs the broker alone.
            rights = {"user": self._user, "group": self._user, "extra_groups": ()}
            self._program = subprocess.Popen(
                self._command, env=without_token(), **(rights if self._user else {})
            )

    def stop(self) -> None:
        if self._program is not None:
            self._program.terminate()
            try:
                self._program.wait(PAGE_STOP_S)
            except subprocess.TimeoutExpired:
                self._program.kill()


def ask(supervisor: str, path: str) -> dict[str, Any]:
    """Return the data of an answer of the Supervisor; end with its message if it refuses."""
    try:
        return ask_again(supervisor, path)
    except urllib.error.HTTPError as error:
        said = error.read().decode(errors="replace")
        hint = " Install the add-on `Mosquitto broker`." if path == "services/mqtt" else ""
        sys.exit(f"The Supervisor answers {error.code} for {path}: {said}.{hint}")
    except OSError as error:
        sys.exit(f"The Supervisor cannot be reached for {path}: {error}")


def ask_again(supervisor: str, path: str) -> dict[str, Any]:
    """Return the data of an answer of the Supervisor.

    Raises:
        OSError: it refuses or cannot be reached.
    """
    token = os.environ.get("SUPERVISOR_TOKEN", "")
    request = urllib.request.Request(  # noqa: S310  # http, to the Supervisor
        f"{supervisor}/{path}", headers={"Authorization": f"Bearer {token}"}
    )
    # Never through a proxy: the Supervisor is on a network of its own.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=TIMEOUT_S) as answer:
        data: dict[str, Any] = json.load(answer)["data"]
    return data


class AmbiguousError(Exception):
    """Several inputs fit what an option names."""


def choose(wanted: list[dict[str, str]], inputs: list[dict[str, Any]]) -> dict[str, str]:
    """Return the sound server's source of each microphone that is there, by its name.

    Without any in the options, all inputs are taken, with names made from their descriptions.
    """
    real = [one for one in inputs if not one["name"].endswith(".monitor")]
    if not wanted:
        return {unique(one["description"], real, one): one["name"] for one in real}
    known = "".join(f"\n  {one['description']} ({one['name']})" for one in real) or " none"
    chosen = {}
    for mic in wanted:
        part = mic["input"].casefold()
        fitting = [one for one in real if part in f"{one['description']} {one['name']}".casefold()]
        what = f"`{mic['input']}` of microphone {mic['name']}"
        if len(fitting) > 1:
            raise AmbiguousError(f"{len(fitting)} inputs fit {what}; give a part of one:{known}")
        if fitting:
            chosen[mic["name"]] = fitting[0]["name"]
        else:
            print(f"No input fits {what} yet. The inputs are:{known}", flush=True)
    return chosen


def unique(description: str, inputs: list[dict[str, Any]], one: dict[str, Any]) -> str:
    """Return a description as a microphone's id; with the source's name where two are alike."""
    alike = [other for other in inputs if slug(other["description"]) == slug(description)]
    return slug(description if len(alike) == 1 else one["name"])


def slug(text: str) -> str:
    """Return what an id may have of a text; its end tells more than its beginning."""
    return re.sub(r"[^a-z0-9]+", "_", text.casefold()).strip("_")[-MIC_CHARS:] or "input"


class Setup:
    """The files that the node reads: its configuration, and an ALSA device for each input.

    A microphone that was there once stays: unplugged, it is shown as not connected.
    """

    def __init__(self, data: Path, options: dict[str, Any], broker: dict[str, Any]) -> None:
        self._data = data
        self._options = options
        self._broker = broker
        self._inputs: list[dict[str, Any]] = []
        self._mics: dict[str, str] = {}

    def look(self, supervisor: str) -> bool:
        """Return whether there are other inputs than before; the files are written then."""
        try:
            inputs = ask_again(supervisor, "audio/info")["audio"]["input"]
            if names(inputs) == names(self._inputs):
                return False
            self.write(inputs)
        except (AmbiguousError, OSError, *BROKEN) as error:  # recording goes on
            print(f"Inputs: {error!r}", flush=True)
            return False
        return True

    def write(self, inputs: list[dict[str, Any]]) -> None:
        """Write the files.

        Raises:
            AmbiguousError: an option fits several inputs.
        """
        self._inputs = inputs
        known = set(self._mics.values())
        chosen = choose(self._options["microphones"], inputs)
        self._mics |= {mic: source for mic, source in chosen.items() if source not in known}
        pcms = [PCM.format(name=mic, source=source) for mic, source in self._mics.items()]
        replace(self._data / ".asoundrc", "".join(pcms))
        write_password(self._data, self._broker)
        config = yaml.safe_dump(self._configuration(), allow_unicode=True)
        replace(self._data / "node.yaml", config)

    def mqtt(self, folder: Path) -> dict[str, Any]:
        """Return how to reach the broker; the password is in the folder."""
        broker = self._broker
        login = (
            {"username": broker["username"], "password_file": str(folder / PASSWORD)}
            if broker.get("username")
            else {}
        )
        tls = {"tls": {"enabled": True}} if broker.get("ssl") else {}
        return {"host": broker["host"], "port": broker["port"], **login, **tls}

    def _configuration(self) -> dict[str, Any]:
        """Return the node's configuration; config/node.yaml explains its keys."""
        options = self._options
        # Sound cards belong to the sound server: the node must not look for USB microphones itself.
        nowhere = str(self._data / "no-cards")
        return {
            "node": {"id": "homeassistant"},
            "mqtt": self.mqtt(self._data),
            "audio": {
                "devices": [{"mic": mic, "device": f"scribe_{mic}"} for mic in self._mics],
                "proc_root": nowhere,
                "sys_root": nowhere,
            },
            "transcription": {"model": options["model"], "languages": options["languages"]},
            "storage": {"path": str(self._data / "storage")},
            "homeassistant": {"enabled": True, "language": options["entity_names"]},
            **time_zone(),
        }


def time_zone() -> dict[str, str]:
    return {"time_zone": os.environ["TZ"]} if os.environ.get("TZ") else {}


def names(inputs: list[dict[str, Any]]) -> set[tuple[str, str]]:
    return {(one["name"], one["description"]) for one in inputs}


def replace(file: Path, text: str) -> None:
    """Write a file of which a reader sees the old or the new text, never a part."""
    new = file.with_name(f"{file.name}.new")
    new.write_text(text, encoding="utf-8")
    new.replace(file)


def write_password(folder: Path, broker: dict[str, Any]) -> Path:
    """Write the broker's password for this user alone; return its file."""
    password = folder / PASSWORD
    password.touch(mode=0o600)
    password.write_text(broker.get("password") or "", encoding="utf-8")
    return password


def share_transcripts(storage: Path, share: Path) -> None:
    """Put the transcripts, and only these, where a person can reach them."""
    storage.mkdir(mode=0o700, parents=True, exist_ok=True)
    share.mkdir(parents=True, exist_ok=True)
    transcripts = storage / "transcripts"
    if not transcripts.is_symlink():
        transcripts.symlink_to(share, target_is_directory=True)


if __name__ == "__main__":
    main()
