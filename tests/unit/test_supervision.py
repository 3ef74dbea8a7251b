"""When systemd is told that the node is up and alive, and what it is told of its state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import pytest

from node.adapters.systemd import Notifier
from node.core.deadlines import Deadlines
from node.core.model import MicInfo
from node.core.roster import Roster
from node.core.session import State
from node.service.supervision import DEAF_S, Supervision
from tests.rig.notified import Manager

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from node.service.conductor import Conductor
    from node.service.publishing.publisher import Publisher
    from node.service.watchdog import Watchdog

WATCHDOG_S = 60.0
MIC = MicInfo("desk", "Desk", None, "hw:1", None, None, None, connected=True)


@dataclass
class Session:
    """What a conductor reports."""

    state: State = State.IDLE
    message: str | None = None
    backlog: float = 0.0

    def backlog_s(self) -> float:
        return self.backlog


@dataclass
class Workers:
    """What a watchdog reports."""

    in_doubt: str | None = None


@dataclass
class Voice:
    """What a publisher reports about its broker."""

    away: str | None = "not connected yet"


class Desk:
    """A supervision between a listening manager and parts whose state is set by hand."""

    def __init__(self, path: Path) -> None:
        self._manager = Manager(path)
        self.session = Session()
        self.workers = Workers()
        self.voice = Voice()
        self.deadlines = Deadlines()
        self.roster = Roster()
        self.roster.found([MIC])
        self.supervision = Supervision(
            deadlines=self.deadlines,
            notifier=Notifier(str(path), WATCHDOG_S),
            conductor=cast("Conductor", self.session),
            roster=self.roster,
            publisher=cast("Publisher", self.voice),
            watchdog=cast("Watchdog", self.workers),
        )
        self.supervision.start()

    def tick(self, now: float) -> list[str]:
        """Return what is sent at `now`, together with what was sent before."""
        self.deadlines.run(now)
        self.supervision.look(now)
        self.supervision.settle()
        return self._manager.received()

    def pings(self, *moments: float) -> list[float]:
        """Return those of these moments at which the watchdog was pinged."""
        return [now for now in moments if "WATCHDOG=1" in self.tick(now)]

    def close(self) -> None:
        self._manager.close()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path / "notify")
    yield desk
    desk.close()


def test_the_start_is_extended_until_the_node_is_up(desk: Desk) -> None:
    assert "EXTEND_TIMEOUT_USEC=120000000" in desk.tick(0)
    assert not [m for m in desk.tick(5) if m.startswith("EXTEND")]
    assert "EXTEND_TIMEOUT_USEC=120000000" in desk.tick(10)
    desk.supervision.up()
    assert "READY=1" in desk.tick(20)
    assert not [m for m in desk.tick(40) if m.startswith("EXTEND")]


def test_the_watchdog_is_pinged_at_half_its_period(desk: Desk) -> None:
    assert desk.pings(0, 2, 29, 30, 31, 59, 60) == [0, 30, 60]


def test_no_ping_while_a_worker_may_have_stalled(desk: Desk) -> None:
    assert desk.pings(0) == [0]
    desk.workers.in_doubt = "the listener thread has stalled"
    assert desk.pings(30, 40, 70) == []
    desk.workers.in_doubt = None
    assert desk.pings(72) == [72]


def test_no_ping_while_a_session_hears_nothing(desk: Desk) -> None:
    desk.session.state = State.RECORDING
    assert desk.pings(0, 30) == [0]
    desk.supervision.heard(31)
    assert desk.pings(32, 31 + DEAF_S + 31) == [32]
    desk.session.state = State.IDLE
    assert desk.pings(100) == [100]


def test_the_status_says_what_is_wrong(desk: Desk) -> None:
    assert "STATUS=idle; 1 of 1 microphones; broker: not connected yet" in desk.tick(0)
    desk.voice.away = None
    assert desk.tick(1) == ["STATUS=idle; 1 of 1 microphones"]
    desk.voice.away = "connection lost"
    desk.roster.set_connected("desk", connected=False)
    desk.session.state, desk.session.backlog = State.STOPPING, 12.3
    (status,) = desk.tick(2)
    assert status == (
        "STATUS=stopping; 0 of 1 microphones, disconnected: desk; 12 s to transcribe;"
        " broker: connection lost"
    )
    desk.supervision.ending()
    assert desk.tick(3)[0] == "STOPPING=1"


def test_why_it_ends_is_the_last_it_says(desk: Desk) -> None:
    desk.tick(0)
    desk.supervision.failed("another node has this id")
    assert desk.tick(1) == ["STATUS=another node has this id"]


def test_a_reload_is_begun_and_ended(desk: Desk) -> None:
    desk.supervision.up()
    desk.tick(0)
    desk.supervision.reloading()
    desk.supervision.up()
    begun, ended = desk.tick(1)
    assert begun.startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert ended == "READY=1"
