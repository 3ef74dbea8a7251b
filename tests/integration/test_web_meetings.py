"""The page finds the sessions of one meeting on several nodes, and merges them."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from node.core.clocks import ClockState, SessionClock
from node.core.model import Session, iso
from node.core.text.formats import to_json
from node.core.text.transcript import Transcript
from node.web import hub as module
from node.web.hub import Hub, RefusedError
from node.web.meetings import Meetings
from tests.integration.test_web_hub import Link
from tests.unit.spoken import PARIS, STARTED, segment

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

ID, OTHER = "20261122T100000Z-3f9c", "20261122T100002Z-00aa"
AGREE = "the clocks of kitchen and office agree within 10 ms:"


class Nodes(Link):
    """Takes the place of nodes with one session each."""

    def __init__(self) -> None:
        super().__init__()
        self.documents: dict[str, dict[str, Any]] = {}
        self.older: set[str] = set()
        self.silent: set[str] = set()
        self.busy: set[str] = set()
        self.newer = 0

    def add(
        self, node: str, session_id: str, later_s: float, *said: str, group: str | None = "budget"
    ) -> None:
        """Add a node whose session began so much later; a line is said every two seconds."""
        began = STARTED + timedelta(seconds=later_s)
        session = Session(session_id, began, ended_at=began + timedelta(minutes=1))
        session.node, session.group = node, group
        session.clock = SessionClock(ClockState(True, 4.5))
        segments = tuple(
            segment(n, 2.0 * n, text, id=f"{session.id}/desk/{n}", speaker=node)
            for n, text in enumerate(said, 1)
        )
        self.documents[node] = json.loads(to_json(Transcript(session, segments, PARIS)))
        self.tell(f"scribe/{node}/status", b"online", retained=True)

    def publish(self, topic: str, payload: str) -> None:
        _, node, _, verb = topic.split("/", 3)
        request = json.loads(payload)
        answer = self._list(node, request) if verb == "session/list" else self._page(node, request)
        if node not in self.silent:
            body = {**answer, "transaction": request["transaction"]}
            self.loop.call_soon(self.tell, f"scribe/{node}/response/{verb}", body)

    def _list(self, node: str, request: dict[str, Any]) -> dict[str, Any]:
        if node in self.older:
            return {"status": "error", "error": {"code": "invalid_request", "message": "group"}}
        if node in self.busy:
            return {"status": "error", "error": {"code": "busy", "message": "try again"}}
        session = self.documents[node]["session"]
        own = [session] if session["group"] == request["group"] else []
        listed = [*(self._later(session, n) for n in range(self.newer)), {"session_id": 7}, *own]
        page = listed[request["offset"] :][: request["limit"]]
        return {"status": "ok", "data": {"sessions": page, "total": len(listed)}}

    def _later(self, session: dict[str, Any], number: int) -> dict[str, Any]:
        began = STARTED + timedelta(days=1 + self.newer - number)
        ended = began + timedelta(minutes=1)
        session_id = f"{began:%Y%m%dT%H%M%SZ}-0000"
        times = {"started_at": iso(began), "ended_at": iso(ended)}
        return {**session, **times, "session_id": session_id}

    def _page(self, node: str, request: dict[str, Any]) -> dict[str, Any]:
        """Answer one segment per page, whatever the limit."""
        document, at = self.documents[node], request["offset"]
        page = {
            "session_id": request["session_id"],
            "session": document["session"],
            "segments": document["segments"][at : at + 1],
            "seglst": document["seglst"][at : at + 1],
            "next_offset": at + 1 if at + 1 < len(document["segments"]) else None,
        }
        if node in self.older:
            del page["session"], page["seglst"]
        return {"status": "ok", "data": page}


def told(
    ask: Callable[[Meetings], Awaitable[Any]], arrange: Callable[[Nodes], None] = lambda _: None
) -> Any:
    """Return what is answered about the session of the kitchen, where the office took part."""

    async def run() -> Any:
        nodes = Nodes()
        hub = Hub(nodes, "scribe")  # type: ignore[arg-type]  # all that it uses of it
        hub.start()
        nodes.up()
        nodes.add("kitchen", ID, 0, "Un.", "Trois.")
        nodes.add("office", OTHER, 1, "Deux.", "Quatre.")
        arrange(nodes)
        return await ask(Meetings(hub, PARIS))

    return asyncio.run(run())


def find(meetings: Meetings) -> Awaitable[Any]:
    return meetings.find("kitchen", ID)


def test_the_nodes_of_a_meeting_are_found_and_their_clocks_compared() -> None:
    meeting = told(find)
    assert meeting.nodes == ["kitchen", "office"]
    assert [session.id for _, session in meeting.sessions] == [ID, OTHER]
    (remark,) = meeting.remarks
    assert remark.startswith(AGREE)


def test_one_transcript_is_made_of_all_their_pages() -> None:
    text = told(lambda meetings: meetings.transcript("kitchen", ID, "txt"))
    assert text.splitlines() == [
        "[11:00:02] kitchen: Un.",
        "[11:00:03] office: Deux.",
        "[11:00:04] kitchen: Trois.",
        "[11:00:05] office: Quatre.",
    ]
    document = json.loads(told(lambda meetings: meetings.transcript("office", OTHER, "json")))
    assert [node["node"] for node in document["nodes"]] == ["kitchen", "office"]
    assert document["clocks_agree_within_ms"] == 10


def test_a_meeting_of_long_ago_is_found_behind_newer_ones() -> None:
    """A group may be used for years."""

    def arrange(nodes: Nodes) -> None:
        nodes.newer = 450

    assert told(find, arrange).nodes == ["kitchen", "office"]


def test_a_session_without_a_group_is_alone() -> None:
    def arrange(nodes: Nodes) -> None:
        for node, session_id in (("kitchen", ID), ("office", OTHER)):
            nodes.add(node, session_id, 0, "Un.", group=None)

    assert told(find, arrange).nodes == ["kitchen"]
    assert (
        told(lambda m: m.transcript("kitchen", ID, "txt"), arrange) == "[11:00:02] kitchen: Un.\n"
    )


@pytest.mark.parametrize(
    ("group", "later_s"), [("dinner", 0), ("budget", 60 + 3601), ("budget", -3661)]
)
def test_another_meeting_is_left_out(group: str, later_s: float) -> None:
    meeting = told(find, lambda nodes: nodes.add("office", OTHER, later_s, "Non.", group=group))
    assert (meeting.nodes, meeting.remarks) == (["kitchen"], ())


def test_nodes_that_may_be_missing_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ANSWER_S", 0.05)

    def arrange(nodes: Nodes) -> None:
        nodes.silent.add("office")
        nodes.tell("scribe/attic/status", b"offline", retained=True)

    assert told(find, arrange).remarks == (
        "attic is offline: if it was there, its part is missing",
        "office does not answer: what was said there is missing",
    )


def test_a_node_that_has_no_time_to_answer_is_named() -> None:
    meeting = told(find, lambda nodes: nodes.busy.add("office"))
    remark = "office does not answer: what was said there is missing"
    assert (meeting.nodes, meeting.remarks) == (["kitchen"], (remark,))


def test_older_nodes_know_no_groups() -> None:
    meeting = told(find, lambda nodes: nodes.older.add("office"))
    assert (meeting.nodes, meeting.remarks) == (["kitchen"], ())
    with pytest.raises(RefusedError, match="kitchen is too old") as refused:
        told(find, lambda nodes: nodes.older.add("kitchen"))
    assert refused.value.code == "no_group"


def test_what_cannot_be_merged_is_said() -> None:
    def lines(nodes: Nodes) -> None:
        del nodes.documents["office"]["seglst"][0]

    def head(nodes: Nodes) -> None:
        nodes.documents["kitchen"]["session"]["started_at"] = "soon"

    for arrange, said in ((lines, "office: seglst: "), (head, "kitchen: started_at: ")):
        with pytest.raises(RefusedError, match=said) as refused:
            told(lambda meetings: meetings.transcript("kitchen", ID, "txt"), arrange)
        assert refused.value.code == "cannot_merge"
