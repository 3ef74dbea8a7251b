"""USB microphones plugged, pulled and replugged in other order, while nothing is recorded."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.rig.node import TOPIC, RunningNode, configuration
from tests.rig.processes import wait_until
from tests.rig.usbtree import Card, UsbTree

if TYPE_CHECKING:
    from pathlib import Path

    from tests.rig.broker import Broker
    from tests.rig.mqtt import Watcher

HEADSETS = (
    Card(1, "1-1.2", name="Left headset"),
    Card(2, "1-1.3", name="Right headset"),
    Card(3, "1-1.4", usb_id="1234:5678", serial="A7", name="Studio"),
)


def test_usb_mics_come_and_go(broker: Broker, watcher: Watcher, tmp_path: Path) -> None:
    """The list follows the kernel's within 3 s; who sits where stays, whatever the card number."""
    tree = UsbTree(tmp_path / "machine").create()
    audio = {"proc_root": str(tree.proc_root), "sys_root": str(tree.sys_root)}
    tree.plug(*HEADSETS)
    with RunningNode(tmp_path, configuration(tmp_path, broker.port, [], audio=audio)) as node:
        node.wait_online(watcher)

        watcher.wait_for(f"{TOPIC}/mics")

        def shown(*wanted: tuple[str, int | None, bool]) -> None:
            def is_shown() -> bool:
                newest = watcher.messages(f"{TOPIC}/mics")[-1].json()["mics"]
                return [(m["mic"], m["card"], m["connected"]) for m in newest] == list(wanted)

            wait_until(is_shown, 3, f"{wanted} are listed")

        left, right, studio = "usb-1-1.2", "usb-1-1.3", "usb-1234-5678-a7"
        shown((left, 1, True), (right, 2, True), (studio, 3, True))
        body = {"assignments": [{"mic": left, "speaker": "Alice"}, {"mic": 3, "speaker": "Bruno"}]}
        assert watcher.request(TOPIC, "mics/assign", body)["status"] == "ok"
        tree.unplug(1)
        shown((left, 1, False), (right, 2, True), (studio, 3, True))
        tree.unplug(2)
        shown((left, 1, False), (studio, 3, True))
        tree.unplug(3)
        shown((left, 1, False), (studio, 3, False))
        tree.plug(Card(1, "1-1.4", usb_id="1234:5678", serial="A7", name="Studio"))
        tree.plug(Card(2, "1-1.2", name="Left headset"))
        shown((left, 2, True), (studio, 1, True))
        # Clients that keep asking must not keep the node from looking.
        tree.plug(Card(5, "1-1.3", name="Right headset"))
        for _ in range(10):
            watcher.request(TOPIC, "health/check")
            time.sleep(0.25)  # as a client that polls
        shown((left, 2, True), (right, 5, True), (studio, 1, True))
        speakers = [m["speaker"] for m in watcher.messages(f"{TOPIC}/mics")[-1].json()["mics"]]
        assert speakers == ["Alice", None, "Bruno"]
