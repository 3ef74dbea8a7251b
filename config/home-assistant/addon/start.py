"""Start the node as an add-on: write its configuration from the add-on's options, and become it.

The Supervisor's API says where the broker is and which inputs its sound server has. The options are
in DATA/options.json (config.yaml has their schema). Everything is written anew at each start.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import yaml

TIMEOUT_S = 30
MIC_CHARS = 64

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
    parser.add_argument("--supervisor", default="http://supervisor")
    arguments = parser.parse_args()
    options = json.loads((arguments.data / "options.json").read_text(encoding="utf-8"))
    broker = ask(arguments.supervisor, "services/mqtt")
    inputs = ask(arguments.supervisor, "audio/info")["audio"]["input"]
    mics = choose(options["microphones"], inputs)
    config = configuration(options, broker, mics, arguments.data)
    write(arguments.data, config, broker, mics)
    share_transcripts(arguments.data / "storage", arguments.share)
    command = ("scribe-node", "run", "--config", str(arguments.data / "node.yaml"))
    os.execvp(command[0], command)  # noqa: S606  # no shell is wanted


def ask(supervisor: str, path: str) -> dict[str, Any]:
    """Return the data of an answer of the Supervisor; end with its message if it refuses."""
    token = os.environ.get("SUPERVISOR_TOKEN", "")
    request = urllib.request.Request(  # noqa: S310  # http, to the Supervisor
        f"{supervisor}/{path}", headers={"Authorization": f"Bearer {token}"}
    )
    # Never through a proxy: the Supervisor is on a network of its own.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=TIMEOUT_S) as answer:
            data: dict[str, Any] = json.load(answer)["data"]
    except urllib.error.HTTPError as error:
        said = error.read().decode(errors="replace")
        hint = " Install the add-on `Mosquitto broker`." if path == "services/mqtt" else ""
        sys.exit(f"The Supervisor answers {error.code} for {path}: {said}.{hint}")
    except OSError as error:
        sys.exit(f"The Supervisor cannot be reached for {path}: {error}")
    return data


def choose(wanted: list[dict[str, str]], inputs: list[dict[str, Any]]) -> dict[str, str]:
    """Return the sound server's source of each microphone, by the microphone's name.

    Without any in the options, all inputs are taken, with names made from their descriptions.
    """
    real = [one for one in inputs if not one["name"].endswith(".monitor")]
    if not wanted:
        return {unique(one["description"], real, one): one["name"] for one in real}
    chosen = {}
    for mic in wanted:
        part = mic["input"].casefold()
        fitting = [one for one in real if part in f"{one['description']} {one['name']}".casefold()]
        if len(fitting) != 1:
            known = "".join(f"\n  {one['description']} ({one['name']})" for one in real)
            sys.exit(
                f"{len(fitting)} inputs fit `{mic['input']}` of microphone {mic['name']}; give a"
                f" part of exactly one of these:{known or ' there is none'}"
            )
        chosen[mic["name"]] = fitting[0]["name"]
    return chosen


def unique(description: str, inputs: list[dict[str, Any]], one: dict[str, Any]) -> str:
    """Return a description as a microphone's id; with the source's name where two are alike."""
    alike = [other for other in inputs if slug(other["description"]) == slug(description)]
    return slug(description if len(alike) == 1 else one["name"])


def slug(text: str) -> str:
    """Return what an id may have of a text; its end tells more than its beginning."""
    return re.sub(r"[^a-z0-9]+", "_", text.casefold()).strip("_")[-MIC_CHARS:] or "input"


def configuration(
    options: dict[str, Any], broker: dict[str, Any], mics: dict[str, str], data: Path
) -> dict[str, Any]:
    """Return the node's configuration; config/node.yaml explains its keys."""
    login = (
        {"username": broker["username"], "password_file": str(data / "mqtt-password")}
        if broker.get("username")
        else {}
    )
    mqtt = {"host": broker["host"], "port": broker["port"], **login}
    if broker.get("ssl"):
        mqtt["tls"] = {"enabled": True}
    # Sound cards belong to the sound server: the node must not look for USB microphones itself.
    nowhere = str(data / "no-cards")
    return {
        "node": {"id": "homeassistant"},
        "mqtt": mqtt,
        "audio": {
            "devices": [{"mic": mic, "device": f"scribe_{mic}"} for mic in mics],
            "proc_root": nowhere,
            "sys_root": nowhere,
        },
        "transcription": {"model": options["model"], "languages": options["languages"]},
        "storage": {"path": str(data / "storage")},
        "homeassistant": {"enabled": True, "language": options["entity_names"]},
        **({"time_zone": os.environ["TZ"]} if os.environ.get("TZ") else {}),
    }


def write(data: Path, config: dict[str, Any], broker: dict[str, Any], mics: dict[str, str]) -> None:
    (data / "node.yaml").write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")
    password = data / "mqtt-password"
    password.touch(mode=0o600)
    password.write_text(broker.get("password") or "", encoding="utf-8")
    pcms = [PCM.format(name=mic, source=source) for mic, source in mics.items()]
    (data / ".asoundrc").write_text("".join(pcms), encoding="utf-8")


def share_transcripts(storage: Path, share: Path) -> None:
    """Put the transcripts, and only these, where a person can reach them."""
    storage.mkdir(mode=0o700, parents=True, exist_ok=True)
    share.mkdir(parents=True, exist_ok=True)
    transcripts = storage / "transcripts"
    if not transcripts.is_symlink():
        transcripts.symlink_to(share, target_is_directory=True)


if __name__ == "__main__":
    main()
