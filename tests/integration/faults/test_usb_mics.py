"""USB microphones plugged, pulled and replugged in other order; twins that come and go."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from node.adapters.capture import CardSource
from node.adapters.store import DATABASE, Store
from node.config import AudioConfig
from node.core.model import Assignment, MicInfo
from node.core.roster import Roster
from node.errors import MicError, StoreError
from node.service.inventory import Inventory
from tests.rig.node import TOPIC, Room, RunningNode, configuration
from tests.rig.processes import wait_until
from tests.rig.usbtree import Card, UsbTree

if TYPE_CHECKING:
    from pathlib import Path

    from tests.rig.broker import Broker
    from tests.rig.mqtt import Watcher
    from tests.rig.vmics import VirtualMics

HEADSETS = (
    Card(1, "1-1.2", name="Left headset"),
    Card(2, "1-1.3", name="Right headset"),
    Card(3, "1-1.4", usb_id="1234:5678", serial="A7", name="Studio"),
)


def test_usb_mics_come_and_go(broker: Broker, watcher: Watcher, tmp_path: Path) -> None:
    """The list follows the kernel's within 3 s; speakers stay, whatever the card number."""
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

        left, right, studio = "usb-1-1_2", "usb-1-1_3", "usb-1234-5678-a7"
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


TWIN = Card(1, "1-1.2", serial="2008", name="One of two")
OTHER_TWIN = Card(2, "1-1.3", serial="2008", name="Two of two")
FIRST_TWIN, SECOND_TWIN = "usb-0d8c-013c-2008", "usb-1-1_3"


def test_a_twin_that_comes_or_goes_takes_nobodys_name(
    broker: Broker, watcher: Watcher, virtual_mics: VirtualMics, tmp_path: Path
) -> None:
    """In mid-session, over a restart, and after a boot that finds them in another order."""
    tree = UsbTree(tmp_path / "machine").create()
    audio = {"proc_root": str(tree.proc_root), "sys_root": str(tree.sys_root)}
    tree.plug(TWIN)
    config = configuration(tmp_path, broker.port, ["desk"], audio=audio)
    with RunningNode(tmp_path, config) as node:
        node.wait_online(watcher)
        room = Room(node, virtual_mics, watcher)

        def listed() -> list[tuple[str, str | None, bool]]:
            mics = room.do("mics/detect")["mics"]
            return [(mic["mic"], mic["speaker"], mic["connected"]) for mic in mics[:-1]]

        room.do("mics/assign", assignments=[{"mic": FIRST_TWIN, "speaker": "Alice"}])
        room.start(desk="Chloé")
        tree.plug(OTHER_TWIN)
        assert listed() == [(FIRST_TWIN, "Alice", True), (SECOND_TWIN, None, True)]
        room.do("mics/assign", assignments=[{"mic": SECOND_TWIN, "speaker": "Bruno"}])
        tree.unplug(1)
        assert listed() == [(FIRST_TWIN, "Alice", False), (SECOND_TWIN, "Bruno", True)]
        room.stop()
        assert node.end() == 0
        tree.unplug(2)
        tree.plug(Card(1, "1-1.3", serial="2008"), Card(2, "1-1.2", serial="2008"))
        after = watcher.count()
        node.start().wait_online(watcher, after)
        assert listed() == [(FIRST_TWIN, "Alice", True), (SECOND_TWIN, "Bruno", True)]


def test_a_mic_pulled_while_a_session_starts(
    broker: Broker, watcher: Watcher, virtual_mics: VirtualMics, tmp_path: Path
) -> None:
    """Nobody's mic leaves the list at once, also where a start still refers to it."""
    tree = UsbTree(tmp_path / "machine").create()
    audio = {"proc_root": str(tree.proc_root), "sys_root": str(tree.sys_root)}
    tree.plug(*HEADSETS[:2])
    config = configuration(tmp_path, broker.port, ["desk"], audio=audio)
    with RunningNode(tmp_path, config) as node:
        node.wait_online(watcher)
        room = Room(node, virtual_mics, watcher)
        pulled = {"mic": "usb-1-1_2", "speaker": ""}
        body = {"assignments": [{"mic": "desk", "speaker": "Zoé"}, pulled]}
        watcher.publish(f"{TOPIC}/request/session/start", json.dumps(body))
        tree.unplug(1)
        listed = [mic["mic"] for mic in room.do("mics/detect")["mics"]]
        assert listed == ["usb-1-1_3", "desk"]
        started = watcher.wait_for(f"{TOPIC}/response/session/start").json()
        assert started["status"] == "ok", started
        room.stop()
        tree.unplug(2)
        seats = [{"mic": "desk", "speaker": "Zoé"}, {"mic": "usb-1-1_3", "speaker": "Bruno"}]
        refused = watcher.request(TOPIC, "session/start", {"assignments": seats})
        assert refused["error"]["code"] in ("mic_unavailable", "unknown_mic")
        assert room.do("mics/detect")["mics"][0]["mic"] == "desk"


def inventory(tree: UsbTree, store: Store) -> Inventory:
    """As at the start of a node."""
    audio = AudioConfig(proc_root=tree.proc_root, sys_root=tree.sys_root)
    made = Inventory(audio, store.sessions.know_mics)
    made.recall(store.sessions.remembered_mics())
    return made


@pytest.fixture
def tree(tmp_path: Path) -> UsbTree:
    return UsbTree(tmp_path / "machine").create()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "storage", keep_audio=False)
    made.open()
    return made


def test_the_twin_that_was_there_first_is_opened_under_its_id(tree: UsbTree, store: Store) -> None:
    tree.plug(TWIN)
    mics, roster = inventory(tree, store), Roster()
    mics.refresh(roster)
    tree.plug(OTHER_TWIN)
    mics.refresh(roster)
    sources = [mics.source(mic, 0.0)() for mic in (FIRST_TWIN, SECOND_TWIN)]
    assert [source.card for source in sources if isinstance(source, CardSource)] == [1, 2]
    tree.unplug(1)
    with pytest.raises(MicError, match=f"{FIRST_TWIN} is not plugged in"):
        mics.source(FIRST_TWIN, 0.0)()


def test_ids_that_nobody_is_assigned_to_outlive_a_restart(tree: UsbTree, store: Store) -> None:
    tree.plug(TWIN)
    inventory(tree, store).refresh(Roster())
    tree.plug(OTHER_TWIN)
    inventory(tree, store).refresh(Roster())
    tree.unplug(1)
    assert [mic.mic for mic in inventory(tree, store).find()] == [SECOND_TWIN]


def test_an_id_with_dots_is_kept_by_who_is_assigned_to_it(tree: UsbTree, store: Store) -> None:
    tree.plug(Card(1, "1-1.2"), Card(2, "1-1.3"))
    old = [MicInfo(f"usb-{port}", "Mic", usb_port=port) for port in ("1-1.2", "1-1.3")]
    store.sessions.remember_mics(zip(old, [Assignment("Alice"), Assignment()], strict=True))
    mics, roster = inventory(tree, store), Roster()
    roster.restore(store.sessions.remembered_mics())
    mics.refresh(roster)
    assert list(roster) == ["usb-1-1.2", "usb-1-1_3"]
    assert roster.speakers() == {"usb-1-1.2": "Alice"}


def test_what_is_known_is_bounded_and_assignments_are_not_touched(store: Store) -> None:
    alice = MicInfo("usb-alice", "Mic", usb_port="1-1")
    store.sessions.remember_mics([(alice, Assignment("Alice", "fr", enabled=False))])
    for number in range(300):
        store.sessions.know_mics([MicInfo(f"usb-{number}", "Mic", usb_port="1-1.2"), alice])
    known = store.sessions.remembered_mics()
    assert known[0] == (alice, Assignment("Alice", "fr", enabled=False))
    assert [info.mic for info, _ in known[1:]] == [f"usb-{number}" for number in range(44, 300)]


def test_a_disk_that_refuses_keeps_no_mic_from_being_found(
    tree: UsbTree, store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What could not be stored is stored at the next scan."""
    tree.plug(TWIN)
    known: list[MicInfo] = []

    def keep(mics: list[MicInfo]) -> None:
        if not known:
            known.extend(mics)
            raise StoreError(f"{tmp_path / DATABASE}: disk full")
        store.sessions.know_mics(mics)

    mics = Inventory(AudioConfig(proc_root=tree.proc_root, sys_root=tree.sys_root), keep)
    roster = Roster()
    mics.refresh(roster)
    assert list(roster) == [FIRST_TWIN]
    assert "the ids of new microphones are not stored yet" in caplog.text
    assert not store.sessions.remembered_mics()
    mics.refresh(roster)
    assert [info.mic for info, _ in store.sessions.remembered_mics()] == [FIRST_TWIN]
