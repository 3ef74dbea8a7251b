from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.core.model import Assignment, MicInfo
from node.core.mqtt.messages import Assign
from node.core.roster import Live, Roster, natural
from node.errors import RequestError


def usb(port: str) -> MicInfo:
    return MicInfo(f"usb-{port}", "USB Mic", card=1, device="hw:1,0", usb_port=port)


DESK, WALL = MicInfo("desk", "Desk"), MicInfo("wall", "Wall")
ONE, TWO, TEN = usb("1-1.1"), usb("1-1.2"), usb("1-1.10")


def roster(*mics: MicInfo) -> Roster:
    made = Roster()
    made.found(mics)
    return made


def assign(mic: str | int, speaker: str = "Alice", language: str | None = None) -> Assign:
    return Assign.model_validate({"mic": mic, "speaker": speaker, "language": language})


def refused(there: Roster, *entries: Assign) -> RequestError:
    with pytest.raises(RequestError) as caught:
        there.check(entries)
    return caught.value


def payload_of(there: Roster, mic: str) -> dict[str, Any]:
    [payload] = [payload for payload in there.payloads() if payload["mic"] == mic]
    return dict(payload)


def test_usb_mics_come_first_in_the_order_of_their_ports() -> None:
    there = roster(WALL, TEN, DESK, TWO, ONE)
    assert list(there) == ["usb-1-1.1", "usb-1-1.2", "usb-1-1.10", "wall", "desk"]
    assert [payload["index"] for payload in there.payloads()] == [1, 2, 3, 4, 5]


@given(st.lists(st.text("0123456789-.²٣", max_size=6), max_size=6))
def test_any_ports_can_be_ordered(ports: list[str]) -> None:
    ordered = [natural(port) for port in sorted(ports, key=natural)]
    assert all(before <= after for before, after in pairwise(ordered))


def test_an_assigned_mic_keeps_its_place_while_it_is_away() -> None:
    there = roster(ONE, TWO, TEN)
    there.assign(there.check([assign(2)]))
    there.found([TEN, ONE])
    assert list(there) == ["usb-1-1.1", "usb-1-1.2", "usb-1-1.10"]
    assert not there.info("usb-1-1.2").connected
    there.found([ONE, TWO, TEN])
    assert there.info("usb-1-1.2").connected


def test_a_mic_that_is_nobodys_is_forgotten_when_it_is_away() -> None:
    there = roster(ONE, TWO)
    there.found([TWO])
    assert list(there) == ["usb-1-1.2"]
    assert "usb-1-1.1" not in there


def test_only_what_is_heard_is_recorded() -> None:
    there = roster(DESK)
    there.set_live("desk", Live(recording=True))
    assert payload_of(there, "desk")["recording"]
    there.assign({"desk": Assignment("Alice", enabled=False)})
    assert not payload_of(there, "desk")["recording"]
    there.assign({"desk": Assignment("Alice")})
    there.found([])
    assert not payload_of(there, "desk")["recording"]


def test_a_muted_or_recorded_mic_is_not_forgotten() -> None:
    there = roster(ONE, TWO)
    there.assign({"usb-1-1.1": Assignment(enabled=False)})
    there.set_live("usb-1-1.2", Live(recording=True))
    there.found([])
    assert list(there) == ["usb-1-1.1", "usb-1-1.2"]
    there.set_live("usb-1-1.2", None)
    there.found([])
    assert list(there) == ["usb-1-1.1"]


def test_a_mic_that_a_start_waits_for_is_not_forgotten() -> None:
    there = roster(ONE, TWO)
    there.hold(["usb-1-1.2"])
    there.found([])
    assert list(there) == ["usb-1-1.2"]
    assert not there.info("usb-1-1.2").connected
    there.hold(())
    there.found([])
    assert list(there) == []


def test_mics_kept_over_a_restart_are_away_until_found() -> None:
    there = Roster()
    there.restore([(TWO, Assignment("Bob")), (DESK, Assignment())])
    assert not there.info("usb-1-1.2").connected
    there.found([ONE])
    assert list(there) == ["usb-1-1.1", "usb-1-1.2"]
    assert there.speaker("usb-1-1.2") == "Bob"


@pytest.mark.parametrize("wanted", ["usb-1-1.2", 2, "2", "02", "٢"])
def test_a_mic_is_found_by_id_or_index(wanted: str | int) -> None:
    assert roster(ONE, TWO).resolve(wanted) == "usb-1-1.2"


def test_an_id_that_looks_like_an_index_is_an_id() -> None:
    assert roster(ONE, MicInfo("1", "named 1")).resolve("1") == "1"


@pytest.mark.parametrize("wanted", ["", "0", 0, 3, -1, "-1", "3", "²", "1.0", "USB-1-1.1", 10**30])
def test_an_unknown_mic_is_answered_with_those_there_are(wanted: str | int) -> None:
    with pytest.raises(RequestError, match=r"mics: 1 = usb-1-1\.1, 2 = usb-1-1\.2") as caught:
        roster(ONE, TWO).resolve(wanted)
    assert caught.value.code == "unknown_mic"


def test_an_unknown_mic_where_there_is_none() -> None:
    assert "none connected" in str(refused(roster(), assign(1)))


def test_a_mic_may_be_named_once() -> None:
    error = refused(roster(ONE, TWO), assign("usb-1-1.1"), assign(1, "Bob"))
    assert error.code == "duplicate_mic"
    assert "usb-1-1.1" in str(error)


def test_a_check_changes_nothing() -> None:
    there = roster(ONE, TWO)
    before = there.payloads()
    wanted = there.check([assign(1, "Alice", "fr")])
    refused(there, assign(2), assign("nowhere"))
    assert there.payloads() == before
    there.assign(wanted)
    assert payload_of(there, "usb-1-1.1")["speaker"] == "Alice"


def test_an_assignment_sets_speaker_and_language_and_leaves_the_mute() -> None:
    there = roster(ONE)
    there.assign({"usb-1-1.1": Assignment("Alice", enabled=False)})
    assert there.check([assign(1, "Bob", "fr")]) == {"usb-1-1.1": Assignment("Bob", "fr", False)}
    assert there.check([assign(1, "", "auto")]) == {"usb-1-1.1": Assignment(None, "auto", False)}


def test_a_label_is_the_speaker_or_the_index() -> None:
    there = roster(ONE, TWO)
    there.assign(there.check([assign(1)]))
    assert [there.speaker(mic) for mic in there] == ["Alice", "Micro 2"]
    assert there.speakers() == {"usb-1-1.1": "Alice"}


def test_a_mic_can_come_and_go_by_itself() -> None:
    there = roster(ONE)
    there.set_connected("usb-1-1.1", connected=False)
    there.set_connected("nowhere", connected=True)
    assert not there.info("usb-1-1.1").connected
    assert "nowhere" not in there


def test_a_mic_as_published() -> None:
    there = roster(TWO)
    there.assign(there.check([assign(1, "Zoé", "fr")]))
    there.set_live("usb-1-1.2", Live(recording=True, level_dbfs=-31.5, sample_rate=48000))
    assert there.payloads() == [
        {
            "mic": "usb-1-1.2",
            "index": 1,
            "name": "USB Mic",
            "card": 1,
            "device": "hw:1,0",
            "usb_port": "1-1.2",
            "usb_id": None,
            "serial": None,
            "speaker": "Zoé",
            "language": "fr",
            "enabled": True,
            "connected": True,
            "recording": True,
            "level_dbfs": -31.5,
            "sample_rate": 48000,
        }
    ]
    there.set_live("usb-1-1.2", None)
    assert payload_of(there, "usb-1-1.2")["level_dbfs"] is None
