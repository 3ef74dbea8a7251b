"""What the page shows, of the messages that have come."""

from __future__ import annotations

import json
from typing import Any, Literal

import pytest

from node.web.overview import MAX_EVENTS, MAX_MICS, MAX_NODES, Changed, News, Overview, Reply

MIC = {"mic": "desk", "index": 1, "name": "Desk", "speaker": None, "connected": True}


def take(overview: Overview, topic: str, body: object, *, retained: bool = True) -> object:
    payload = body if isinstance(body, bytes) else json.dumps(body).encode()
    return overview.take(topic, payload, retained=retained)


@pytest.fixture
def lab() -> Overview:
    """One node, online, with one microphone."""
    overview = Overview("scribe")
    overview.connected()
    take(overview, "scribe/lab/status", b"online")
    take(overview, "scribe/lab/mics", {"mics": [MIC]})
    return overview


def node(overview: Overview) -> dict[str, Any]:
    (only,) = overview.view()["nodes"]
    assert isinstance(only, dict)
    return only


def codes(overview: Overview) -> list[str]:
    return [trouble["code"] for trouble in node(overview)["troubles"]]


def test_a_node_is_known_by_its_status(lab: Overview) -> None:
    assert lab.online == ["lab"]
    assert lab.why_not("lab") is None
    assert lab.why_not("attic") == "the node attic is offline"
    assert take(lab, "scribe/lab/status", b"offline") == Changed()
    assert lab.online == []
    assert codes(lab) == ["offline"]
    assert take(lab, "scribe/lab/status", b"") == Changed()
    assert lab.view()["nodes"] == []
    assert take(lab, "scribe/lab/status", b"") is None


def test_a_node_writes_while_it_stops_and_finishes(lab: Overview) -> None:
    assert not lab.is_writing("lab")
    take(lab, "scribe/lab/session", {"state": "stopping"})
    assert lab.is_writing("lab")
    take(lab, "scribe/lab/session", {"state": "idle", "finishing": ["a"]})
    assert lab.is_writing("lab")
    take(lab, "scribe/lab/status", b"offline")
    assert not lab.is_writing("lab")


def test_without_the_broker_nobody_can_be_asked(lab: Overview) -> None:
    lab.disconnected("pulled")
    assert lab.online == []
    assert lab.why_not("lab") == "no connection to the broker: pulled"
    assert lab.view()["broker"] == {"connected": False, "reason": "pulled"}
    assert node(lab)["mics"] == [MIC]


def test_a_node_that_does_not_answer_is_named_until_it_says_something(lab: Overview) -> None:
    """Its `online` stands on a broker that was killed, and so lost its last will."""
    lab.unanswered("lab", lab.heard("lab"))
    lab.unanswered("attic", lab.heard("attic"))
    assert (codes(lab), lab.silent) == (["unanswered"], frozenset({"lab"}))
    take(lab, "scribe/lab/status", b"online")
    take(lab, "scribe/lab/session", {"problem": "no model"})
    assert codes(lab) == ["unanswered", "problem"], "what is retained is old"
    take(lab, "scribe/lab/response/session/list", {"transaction": "1"}, retained=False)
    assert (codes(lab), lab.silent) == (["problem"], frozenset())
    lab.unanswered("lab", lab.heard("lab") - 1)
    assert codes(lab) == ["problem"], "it has come back since it was asked"
    lab.unanswered("lab", lab.heard("lab"))
    lab.connected()
    assert codes(lab) == ["problem"], "it may have spoken while the broker was away"
    lab.unanswered("lab", lab.heard("lab"))
    take(lab, "scribe/lab/status", b"offline", retained=False)
    assert codes(lab) == ["offline"]


def test_states_are_shown_as_they_come(lab: Overview) -> None:
    for name in ("info", "session"):
        assert take(lab, f"scribe/lab/{name}", {"a": 1}) == Changed()
        assert node(lab)[name] == {"a": 1}
    louder = {**MIC, "level_dbfs": -20.0}
    assert take(lab, "scribe/lab/mic/desk/state", louder) == Changed()
    assert node(lab)["mics"] == [louder]


@pytest.mark.parametrize(
    ("topic", "body"),
    [
        ("scribe/lab/health", {}),
        ("scribe/lab/mic/wall/state", MIC),
        ("scribe/lab/mic/desk/state", {"mic": "wall"}),
        ("scribe/attic/info", {}),
        ("scribe/attic/event", {"event_type": "mic_lost"}),
        ("scribe/all/status", b"online"),
        ("other/lab/status", b"online"),
        ("scribe/lab/event", b"\xff"),
        ("scribe/lab/event", [1]),
        ("scribe/lab/response/mics/detect", b"{"),
        ("scribe/lab/mic/desk/segment", b"null"),
        # What no page could read.
        ("scribe/lab/event", b'{"event_type": "x", "message": "\\ud800"}'),
        ("scribe/lab/event", b'{"event_type": NaN}'),
        ("scribe/lab/mic/desk/segment", b'{"start": 1e999}'),
    ],
)
def test_what_does_not_concern_the_page_changes_nothing(
    lab: Overview, topic: str, body: object
) -> None:
    before = lab.view()
    assert take(lab, topic, body, retained=False) is None
    assert lab.view() == before


def test_news_and_replies_are_passed_on_unless_they_are_old(lab: Overview) -> None:
    kinds: tuple[Literal["segment", "partial"], ...] = ("segment", "partial")
    for kind in kinds:
        topic = f"scribe/lab/mic/desk/{kind}"
        news = take(lab, topic, {"text": "hi"}, retained=False)
        assert news == News(kind, "lab", {"text": "hi"})
        assert take(lab, topic, {"text": "hi"}) is None
    reply = take(lab, "scribe/lab/response/mics/detect", {"transaction": "1"}, retained=False)
    assert reply == Reply({"transaction": "1"})
    assert take(lab, "scribe/lab/response/mics/detect", {}) is None
    assert take(lab, "scribe/lab/event", {"event_type": "mic_lost"}) is None


def test_the_last_events_are_kept_but_for_withdrawals(lab: Overview) -> None:
    for number in range(MAX_EVENTS + 1):
        event = {"event_type": "mic_lost", "message": str(number)}
        assert isinstance(take(lab, "scribe/lab/event", event, retained=False), News)
    gone = {"event_type": "segment_withdrawn", "id": "s/desk/1"}
    assert take(lab, "scribe/lab/event", gone, retained=False) == News("event", "lab", gone)
    assert [event["message"] for event in node(lab)["events"]] == [
        str(number) for number in range(1, MAX_EVENTS + 1)
    ]


def test_what_is_wrong_is_named(lab: Overview) -> None:
    assert codes(lab) == []
    take(lab, "scribe/lab/info", {"model_notice": "a demonstration model"})
    take(lab, "scribe/lab/session", {"problem": "no model", "message": "the disk is full"})
    take(lab, "scribe/lab/mics", {"mics": [{**MIC, "connected": False}]})
    assert codes(lab) == ["problem", "message", "notice"]
    take(lab, "scribe/lab/mics", {"mics": [{**MIC, "connected": False, "speaker": "Alice"}]})
    assert node(lab)["troubles"][-1] == {"code": "mic_away", "text": "Desk"}
    take(lab, "scribe/lab/mics", {"mics": [{**MIC, "speaker": "Alice"}]})
    assert "mic_away" not in codes(lab)
    take(lab, "scribe/lab/mics", {"mics": [{"mic": "desk", "connected": False}]})
    take(lab, "scribe/lab/session", {"speakers": {"desk": "Alice"}})
    assert node(lab)["troubles"][-1] == {"code": "mic_away", "text": "desk"}


def test_microphones_are_in_order_and_nonsense_is_left_out(lab: Overview) -> None:
    first, last = {**MIC, "mic": "b", "index": 1}, {"mic": "c", "index": None}
    listed = [{**MIC, "mic": "a", "index": 2}, first, last, {"mic": "No!"}, "wall", {}]
    take(lab, "scribe/lab/mics", {"mics": listed})
    assert [mic["mic"] for mic in node(lab)["mics"]] == ["b", "a", "c"]
    assert lab.has_mic("lab", "b")
    assert not lab.has_mic("lab", "No!")
    assert not lab.has_mic("attic", "b")
    take(lab, "scribe/lab/mics", {"mics": 7})
    assert node(lab)["mics"] == []


def test_nobody_can_fill_the_memory(lab: Overview) -> None:
    for number in range(MAX_NODES + 5):
        take(lab, f"scribe/n{number}/status", b"online")
    assert len(lab.view()["nodes"]) == MAX_NODES
    many = [{**MIC, "mic": f"m{number}"} for number in range(MAX_MICS + 5)]
    take(lab, "scribe/lab/mics", {"mics": many})
    assert len(lab.view()["nodes"][0]["mics"]) == MAX_MICS
    deep = b"[" * 100_000
    assert take(lab, "scribe/lab/event", deep, retained=False) is None
