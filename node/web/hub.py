"""Between the broker and the open pages: passes news on, and carries requests to a node."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from node.core.model import SCHEMA
from node.core.mqtt.topics import Topics
from node.core.text.markdown import joined
from node.errors import NodeError
from node.web.overview import Changed, News, Overview, Reply

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from node.web.link import BrokerLink

MAX_WAITING = 1000
"""News that may wait for a slow page; then it is disconnected, connects again and starts afresh."""

TOGETHER_S = 0.1
"""Changes within this time go to a page in one message."""

ANSWER_S = 20.0
"""How long a node may take to answer."""

STOP = "session/stop"
"""Answered only when all is transcribed and written, however long that takes."""

PAGE = 50
"""Segments asked for at once. With times, 60 words take 6 KiB, of 1 MiB that fit."""


class UnreachableError(NodeError):
    """The request cannot reach a node: the broker or the node is away."""

    code = "unreachable"


class SilentError(NodeError):
    """The node has not answered in time."""

    code = "silent"


class RefusedError(NodeError):
    """The node refuses; `code` is its error code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Page:
    """One open page. What waits for it is bounded; `lost` is set when it was too much."""

    def __init__(self) -> None:
        self.stale = True
        self.lost = False
        self.waiting: deque[News] = deque()
        self.wake = asyncio.Event()

    def put(self, news: News) -> None:
        if len(self.waiting) < MAX_WAITING:
            self.waiting.append(news)
        else:
            self.lost = True
        self.wake.set()

    def change(self) -> None:
        self.stale = True
        self.wake.set()


class Hub:
    """All of it runs in the event loop's thread."""

    def __init__(self, link: BrokerLink, base: str) -> None:
        self.overview = Overview(base)
        self._link = link
        self._base = base
        self._pages: set[Page] = set()
        self._asked: dict[str, asyncio.Future[dict[str, Any]]] = {}

    def start(self) -> None:
        """Connect; call from within the running loop."""
        self._link.start(asyncio.get_running_loop(), up=self._up, down=self._down, came=self._came)

    def stop(self) -> None:
        self._link.stop()

    def _up(self) -> None:
        self.overview.connected()
        self._change()

    def _down(self, reason: str) -> None:
        self.overview.disconnected(reason)
        self._change()

    def _came(self, topic: str, payload: bytes, retained: bool) -> None:
        silent = self.overview.silent
        match self.overview.take(topic, payload, retained=retained):
            case News() as news:
                for page in self._pages:
                    page.put(news)
                if news.kind == "event":
                    self._change()
            case Reply(body):
                asked = self._asked.get(str(body.get("transaction")))
                if asked is not None and not asked.done():
                    asked.set_result(body)
            case Changed():
                self._change()
        if self.overview.silent != silent:
            self._change()

    def _change(self) -> None:
        for page in self._pages:
            page.change()

    async def follow(self) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        """Yield `state` with everything at first and on each change, and all news by its kind."""
        page = Page()
        self._pages.add(page)
        try:
            while not page.lost:
                page.wake.clear()
                if page.stale:
                    page.stale = False
                    yield "state", self.overview.view()
                while page.waiting:
                    news = page.waiting.popleft()
                    yield news.kind, {"node": news.node, "body": news.body}
                await asyncio.sleep(TOGETHER_S)
                await page.wake.wait()
        finally:
            self._pages.discard(page)

    async def ask(self, node: str, verb: str, request: dict[str, Any]) -> dict[str, Any]:
        """Send a request and return the data of its answer.

        Raises:
            UnreachableError: the broker or the node is away.
            SilentError: no answer has come, and the node is not writing a session meanwhile.
            RefusedError: the node refuses.
        """
        if (why := self.overview.why_not(node)) is not None:
            raise UnreachableError(why)
        heard = self.overview.heard(node)
        transaction = f"web-{token_hex(8)}"
        asked = self._asked[transaction] = asyncio.get_running_loop().create_future()
        payload = json.dumps({**request, "transaction": transaction}, ensure_ascii=False)
        self._link.publish(Topics(self._base, node).request(verb), payload)
        try:
            await asyncio.wait([asked], timeout=ANSWER_S)
            while not asked.done() and verb == STOP and self.overview.is_writing(node):
                await asyncio.wait([asked], timeout=ANSWER_S)
        finally:
            del self._asked[transaction]
        if not asked.done():
            raise self._silence(node, heard, verb)
        return _data(asked.result())

    async def switch(self, node: str, mic: str, *, on: bool) -> None:
        """Mute a microphone or unmute it, and wait until its node says that it is done.

        Raises:
            UnreachableError: the broker or the node is away.
            SilentError: the node has not said so in time.
            RefusedError: there is no such microphone.
        """
        if (why := self.overview.why_not(node)) is not None:
            raise UnreachableError(why)
        if not self.overview.has_mic(node, mic):
            raise RefusedError("unknown_mic", f"there is no mic {mic}")
        heard = self.overview.heard(node)
        topic = Topics(self._base, node).enabled_set(mic)
        self._link.publish(topic, "ON" if on else "OFF")
        try:
            async with asyncio.timeout(ANSWER_S):
                await self._changed(lambda: self.overview.is_enabled(node, mic) is on)
        except TimeoutError:
            raise self._silence(node, heard, f"that {mic} is {'on' if on else 'off'}") from None

    async def _changed(self, wanted: Callable[[], bool]) -> None:
        """Wait until something has become true of what is known of the nodes."""
        watching = Page()
        self._pages.add(watching)
        try:
            while not wanted():
                watching.wake.clear()
                await watching.wake.wait()
        finally:
            self._pages.discard(watching)

    def _silence(self, node: str, heard: int, of: str) -> SilentError:
        self.overview.unanswered(node, heard)
        self._change()
        return SilentError(f"the node {node} has not answered {of} in {ANSWER_S:g} s")

    async def pages(
        self, node: str, session_id: str | None, form: str
    ) -> AsyncIterator[dict[str, Any]]:
        """Yield a transcript page by page, as in the answers to `transcript/get`.

        Raises:
            NodeError: as `ask`.
        """
        offset: int | None = 0
        limit = PAGE
        while offset is not None:
            request: dict[str, Any] = {"format": form, "offset": offset, "limit": limit}
            if session_id is not None:
                request["session_id"] = session_id
            try:
                page = await self.ask(node, "transcript/get", request)
            except RefusedError as error:
                if error.code != "too_large" or limit == 1:
                    raise
                limit //= 2  # for the node's broker
                continue
            yield page
            following = page.get("next_offset")
            offset = following if isinstance(following, int) and following > offset else None
            session_id = page.get("session_id", session_id)

    async def document(self, node: str, session_id: str) -> dict[str, Any]:
        """Return what the session's JSON file has; an older node gives only the segments.

        Raises:
            NodeError: as `ask`.
        """
        pages = [page async for page in self.pages(node, session_id, "json")]
        whole: dict[str, Any] = {"schema": SCHEMA}
        if "session" in pages[-1]:
            whole["session"] = pages[-1]["session"]
        for part in ("segments", "seglst"):
            if part in pages[0]:
                whole[part] = [each for page in pages for each in page[part]]
        return whole


def _data(answer: dict[str, Any]) -> dict[str, Any]:
    """Return the data of an answer.

    Raises:
        RefusedError: it is a refusal.
    """
    if answer.get("status") != "ok":
        error = answer.get("error") or {}
        raise RefusedError(str(error.get("code")), str(error.get("message")))
    data = answer.get("data")
    return data if isinstance(data, dict) else {}


async def text_of(pages: AsyncIterator[dict[str, Any]], form: str) -> str:
    """Join the pages of a transcript in the format text, srt, vtt or md."""
    parts = [str(page.get("text", "")) async for page in pages]
    if form == "md":
        return joined(parts)
    if form == "vtt":
        return "".join([parts[0], *(part.removeprefix("WEBVTT\n") for part in parts[1:])])
    return ("\n" if form == "srt" else "").join(parts)


@contextlib.asynccontextmanager
async def running(hub: Hub) -> AsyncIterator[None]:
    hub.start()
    try:
        yield
    finally:
        hub.stop()
