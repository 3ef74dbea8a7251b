"""A mosquitto with rules for anonymous clients that can be changed while they are connected."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.rig.broker import Broker

if TYPE_CHECKING:
    from tests.rig.mqtt import Watcher

PLUGIN = "mosquitto_dynamic_security.so"
CONTROL = "$CONTROL/dynamic-security/v1"
KINDS = ("publishClientSend", "publishClientReceive", "subscribe", "unsubscribe")


def rules(*acls: dict[str, Any], **defaults: bool) -> dict[str, Any]:
    """Return rules for everybody; `defaults` count where no ACL speaks, and allow all."""
    control = {"acltype": "publishClientSend", "topic": "$CONTROL/#", "allow": True}
    return {
        "defaultACLAccess": {**dict.fromkeys(KINDS, True), **defaults},
        "groups": [{"groupname": "all", "clients": [], "roles": [{"rolename": "anybody"}]}],
        "roles": [{"rolename": "anybody", "acls": [control, *acls]}],
        "anonymousGroup": "all",
    }


def ruled_broker(folder: Path, given: dict[str, Any]) -> Broker:
    """Return a broker, not started yet, with these rules; it keeps them in the folder."""
    (folder / "security.json").write_text(json.dumps(given))
    (plugin,) = Path("/usr/lib").glob(f"*/{PLUGIN}")
    lines = [f"plugin {plugin}", f"plugin_opt_config_file {folder}/security.json"]
    return Broker(extra="\n".join(lines))


def set_default(watcher: Watcher, kind: str, *, allow: bool) -> None:
    """Change a default; no client is disconnected for that."""
    acls = [{"acltype": kind, "allow": allow}]
    command = {"command": "setDefaultACLAccess", "acls": acls}
    watcher.publish(CONTROL, json.dumps({"commands": [command]}))
