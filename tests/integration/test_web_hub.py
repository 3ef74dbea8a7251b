"""Requests find their answers, and open pages their news, without a broker."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from node.web import hub as module
from node.web.hub import (
    MAX_WAITING,
    Hub,
    RefusedError,
    SilentError,
    UnreachableError,
    text_of,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


class Link:
    """Takes the place of the connection: answers what is published with `answer`, if set."""

    def __init__(self) -> None:
        self.published: list[tuple[str, dict[str, Any]]] = []
        self.answer: Callable[[dict[str, Any]], dict[str, Any] | None] = lambda _request: None

    def start(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        up: Callable[[], None],
        down: Callable[[str], None],
        came: Callable[[str, bytes, bool], None],
    ) -> None:
        self.loop, self.up, self.down, self._came = loop, up, down, came

    def stop(self) -> None:
        """Nothing was started."""

    def publish(self, topic: str, payload: str) -> None:
        request = json.loads(payload)
        self.published.append((topic, request))
        answer = self.answer(request)
        if answer is not None:
            answer["transaction"] = request["transaction"]
            response = topic.replace("/request/", "/response/")
            self.loop.call_soon(self.tell, response, answer)

    def tell(self, topic: str, body: object, *, retained: bool = False) -> None:
        payload = body if isinstance(body, bytes) else json.dumps(body).encode()
        self._came(topic, payload, retained)


def lab() -> tuple[Hub, Link]:
    """Return a hub that knows one node, and its connection."""
    link = Link()
    hub = Hub(link, "scribe")  # type: ignore[arg-type]  # all that it uses of it
    hub.start()
    link.up()
    link.tell("scribe/lab/status", b"online", retained=True)
    return hub, link


def ok(data: dict[str, Any]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda _request: {"status": "ok", "data": data}


def test_a_request_gets_its_own_answer() -> None:
    async def run() -> None:
        hub, link = lab()
        link.answer = lambda request: {"status": "ok", "data": {"for": request["offset"]}}
        asked = [hub.ask("lab", "session/list", {"offset": number}) for number in range(3)]
        assert await asyncio.gather(*asked) == [{"for": number} for number in range(3)]
        assert {topic for topic, _ in link.published} == {"scribe/lab/request/session/list"}
        link.tell("scribe/lab/response/session/list", {"transaction": "another's"})

    asyncio.run(run())


def test_a_refusal_has_the_nodes_code() -> None:
    async def run() -> None:
        hub, link = lab()
        link.answer = lambda _request: {
            "status": "error",
            "error": {"code": "unknown_mic", "message": "there is no 9"},
        }
        with pytest.raises(RefusedError, match="there is no 9") as refused:
            await hub.ask("lab", "session/start", {})
        assert refused.value.code == "unknown_mic"

    asyncio.run(run())


def test_nothing_is_sent_to_a_node_that_is_away() -> None:
    async def run() -> None:
        hub, link = lab()
        link.down("pulled")
        for node in ("lab", "attic"):
            with pytest.raises(UnreachableError, match="pulled"):
                await hub.ask(node, "session/start", {})
        with pytest.raises(UnreachableError):
            await hub.switch("lab", "desk", on=True)
        assert link.published == []

    asyncio.run(run())


def test_a_mute_is_done_when_the_node_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node may be dead while its `online` is still there: then nobody is muted."""
    monkeypatch.setattr(module, "ANSWER_S", 0.2)

    async def run() -> None:
        hub, link = lab()
        desk = {"mic": "desk", "index": 1, "name": "Desk", "enabled": True, "connected": True}
        link.tell("scribe/lab/mics", {"mics": [desk]}, retained=True)
        link.publish = lambda *_given: None  # type: ignore[method-assign]
        with pytest.raises(SilentError, match="desk is off"):
            await hub.switch("lab", "desk", on=False)
        assert hub.overview.silent
        link.tell("scribe/lab/status", b"online")
        muting = asyncio.create_task(hub.switch("lab", "desk", on=False))
        await asyncio.sleep(0)
        link.tell("scribe/lab/mic/desk/state", {**desk, "enabled": False})
        await muting

    asyncio.run(run())


def test_less_is_asked_for_where_the_nodes_broker_takes_no_more() -> None:
    async def run() -> None:
        hub, link = lab()
        refusal = {"code": "too_large", "message": "ask for less"}
        link.answer = lambda request: (
            {"status": "error", "error": refusal}
            if request["limit"] > 12
            else {"status": "ok", "data": {"text": f"{request['limit']}", "next_offset": None}}
        )
        assert await text_of(hub.pages("lab", "s", "text"), "text") == "12"
        link.answer = lambda _request: {"status": "error", "error": refusal}
        with pytest.raises(RefusedError, match="ask for less"):
            await text_of(hub.pages("lab", "s", "text"), "text")

    asyncio.run(run())


def test_a_node_that_is_silent_is_not_waited_for_unless_it_writes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "ANSWER_S", 0.01)

    async def run() -> None:
        hub, link = lab()
        with pytest.raises(SilentError, match="has not answered session/stop"):
            await hub.ask("lab", "session/stop", {})
        link.tell("scribe/lab/session", {"state": "stopping"}, retained=True)
        with pytest.raises(SilentError):
            await hub.ask("lab", "session/list", {})
        stopping = asyncio.create_task(hub.ask("lab", "session/stop", {}))
        await asyncio.sleep(0.05)  # five times as long as a silent node gets
        assert not stopping.done()
        answer = {"status": "ok", "data": {}, "transaction": link.published[-1][1]["transaction"]}
        link.tell("scribe/lab/response/session/stop", answer)
        assert await stopping == {}

    asyncio.run(run())


def test_pages_are_told_of_a_node_that_does_not_answer_and_of_its_return(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "ANSWER_S", 0.01)

    async def run() -> None:
        hub, link = lab()
        stream = hub.follow()
        await anext(stream)
        with pytest.raises(SilentError):
            await hub.ask("lab", "session/list", {})
        _, body = await asyncio.wait_for(anext(stream), 10)
        assert body["nodes"][0]["troubles"] == [{"code": "unanswered", "text": ""}]
        link.tell("scribe/lab/response/session/list", {"transaction": "late"})
        _, body = await asyncio.wait_for(anext(stream), 10)
        assert body["nodes"][0]["troubles"] == []

    asyncio.run(run())


def test_a_page_gets_the_state_first_and_then_what_is_new() -> None:
    async def run() -> None:
        hub, link = lab()
        stream = hub.follow()
        kind, body = await anext(stream)
        assert (kind, body) == ("state", hub.overview.view())
        link.tell("scribe/lab/mic/desk/segment", {"text": "hi"})
        assert await anext(stream) == ("segment", {"node": "lab", "body": {"text": "hi"}})
        link.tell("scribe/lab/info", {"version": "1"})
        kind, body = await anext(stream)
        assert body["nodes"][0]["info"] == {"version": "1"}

    asyncio.run(run())


def test_a_page_that_reads_too_slowly_is_cut_off() -> None:
    async def run() -> None:
        hub, link = lab()
        stream = hub.follow()
        await anext(stream)
        for number in range(MAX_WAITING + 1):
            link.tell("scribe/lab/mic/desk/segment", {"seq": number})
        got = [body["body"]["seq"] async for kind, body in stream if kind == "segment"]
        assert got == list(range(MAX_WAITING))

    asyncio.run(run())


async def parts(*texts: str) -> AsyncIterator[dict[str, Any]]:
    for text in texts:
        yield {"text": text}


@pytest.mark.parametrize(
    ("form", "pages", "whole"),
    [
        ("text", ("a\n", "b\n"), "a\nb\n"),
        ("srt", ("1\nT\na\n\n2\nT\nb\n", "3\nT\nc\n"), "1\nT\na\n\n2\nT\nb\n\n3\nT\nc\n"),
        ("vtt", ("WEBVTT\n\nT\na\n", "WEBVTT\n\nT\nb\n"), "WEBVTT\n\nT\na\n\nT\nb\n"),
        ("md", ("# T\n\nA\n", "B\n"), "# T\n\nA\n\nB\n"),
    ],
)
def test_the_pages_of_a_transcript_join(form: str, pages: tuple[str, ...], whole: str) -> None:
    assert asyncio.run(text_of(parts(*pages), form)) == whole


def test_a_transcript_is_asked_for_page_by_page() -> None:
    async def run() -> None:
        hub, link = lab()
        link.answer = lambda request: {
            "status": "ok",
            "data": {
                "session_id": "s",
                "text": f"{request['offset']}\n",
                "next_offset": request["offset"] + 50 if request["offset"] < 100 else None,
            },
        }
        assert await text_of(hub.pages("lab", None, "text"), "text") == "0\n50\n100\n"
        assert [request.get("session_id") for _, request in link.published] == [None, "s", "s"]
        link.answer = ok({"session_id": "s", "text": "x", "next_offset": 0})  # never ends
        assert await text_of(hub.pages("lab", "s", "text"), "text") == "x"

    asyncio.run(run())
