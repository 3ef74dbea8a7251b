"""A node that is killed at instants of chance while people speak without end, and what it kept.

Each kill is SIGKILL to the whole process group. A sentence counts as heard when it was spoken
wholly while a session was recording, and ended at least `LOST_S` before the kill; every other
sentence is excluded, as the promise says.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.rig.node import TOPIC
from tests.rig.processes import alive, children, wait_until

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator, Sequence

    from tests.rig.mqtt import Message, Watcher
    from tests.rig.node import RunningNode
    from tests.rig.tapes import Line, Tape

LOST_S = 0.5
OPEN_S = 1.5
"""From `recording` on T/session until the players surely deliver after a restart."""

KILL_AFTER_S = (0.2, 7.0)
POLL_S = 0.02
DRAIN_S = 60


@dataclass(frozen=True, slots=True)
class Span:
    """What one process has surely heard of a session, in seconds of it."""

    session_id: str
    begin: float
    end: float


@dataclass(slots=True)
class Report:
    """`wrong` says what broke the promise, in sentences; the rest are figures for the table."""

    kills: int = 0
    sessions: int = 0
    expected: int = 0
    found: int = 0
    lost: int = 0
    doubled: int = 0
    altered: int = 0
    repeats: int = 0
    online_s: list[float] = field(default_factory=list)
    replayed_s: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


class Campaign:
    """Kills a node again and again; with `resume` one session goes on over all kills."""

    def __init__(
        self,
        node: RunningNode,
        watcher: Watcher,
        tapes: Sequence[Tape],
        rng: random.Random,
        *,
        resume: bool,
    ) -> None:
        self._node = node
        self._watcher = watcher
        self._tapes = {tape.mic: tape for tape in tapes}
        self._rng = rng
        self._resume = resume
        self._spans: list[Span] = []
        self._report = Report()

    def run(self, kills: int) -> Report:
        """Kill so often, then let the last process finish; says what became of every sentence."""
        for _ in range(kills):
            self._live(self._rng.uniform(*KILL_AFTER_S))
            self._report.kills += 1
        self._finish()
        self._judge()
        return self._report

    # One life of the process.

    def _live(self, seconds: float) -> None:
        after, began = self._watcher.count(), time.monotonic()
        self._node.start()
        asked = False
        while time.monotonic() < began + seconds:
            if not asked and self._may_start(after):
                self._ask_for_session()
                asked = True
            assert self._node.program.process.poll() is None, self._node.program.output()
            time.sleep(POLL_S)
        recorders = children(self._node.pid)
        self._node.program.kill_group()
        killed_at = time.time()
        self._note_span(after, killed_at - LOST_S)
        self._note_recovery(after, began)
        wait_until(lambda: not any(map(alive, recorders)), 5, "the capture processes end with it")

    def _may_start(self, after: int) -> bool:
        states = self._session_states(after)
        if not states or states[-1].json()["state"] != "idle":
            return False
        return not self._resume or not self._spans

    def _ask_for_session(self) -> None:
        assignments = [{"mic": mic, "speaker": mic.title()} for mic in self._tapes]
        request = json.dumps({"assignments": assignments})
        self._watcher.publish(f"{TOPIC}/request/session/start", request)

    def _session_states(self, after: int) -> list[Message]:
        return [m for m in self._watcher.messages(f"{TOPIC}/session", after) if not m.retain]

    def _note_span(self, after: int, until: float) -> None:
        """`until` is wall time, as is `started_at`: both are of this machine."""
        for message in self._session_states(after):
            state = message.json()
            if state["state"] == "recording":
                zero = datetime.fromisoformat(state["started_at"]).timestamp()
                wall = message.time + time.time() - time.monotonic()
                span = Span(state["session_id"], wall + OPEN_S - zero, until - zero)
                self._spans.append(span)
                return

    def _note_recovery(self, after: int, began: float) -> None:
        online = [
            m.time
            for m in self._watcher.messages(f"{TOPIC}/status", after)
            if m.text == "online" and not m.retain
        ]
        segments = self._watcher.messages(f"{TOPIC}/mic/+/segment", after)
        replayed = [m.time for m in segments if m.json()["replayed"]]
        if online and self._report.kills:
            self._report.online_s.append(online[0] - began)
        if replayed:
            self._report.replayed_s.append(replayed[-1] - began)

    # The last life: it finishes what all the others have left.

    def _finish(self) -> None:
        after, began = self._watcher.count(), time.monotonic()
        self._node.start().wait_online(self._watcher, after)
        if self._resume:
            self._await_state(after, "recording")
            # Not before the last utterance is over: a stop in mid-sentence is no fault to count.
            until = time.time()
            answer = self._watcher.request(TOPIC, "session/stop", timeout=DRAIN_S)
            assert answer["status"] == "ok", answer
            self._note_span(after, until - LOST_S)
        self._await_state(after, "idle")
        wait_until(lambda: self._outbox() == 0, DRAIN_S, "the outbox is empty")
        self._note_recovery(after, began)
        assert self._node.end() == 0, self._node.program.output()

    def _await_state(self, after: int, wanted: str) -> None:
        wait_until(
            lambda: any(m.json()["state"] == wanted for m in self._session_states(after)[-1:]),
            DRAIN_S,
            f"the session is {wanted}",
        )

    def _outbox(self) -> int:
        return int(self._rows("SELECT count(*) FROM outbox")[0][0])

    def _rows(self, query: str) -> list[tuple[Any, ...]]:
        database = sqlite3.connect(f"file:{self._node.storage}/scribe.db?mode=ro", uri=True)
        try:
            return database.execute(query).fetchall()
        finally:
            database.close()

    # The judgement.

    def _judge(self) -> None:
        segments = self._published()
        self._check_order(segments)
        for session_id, own in segments.items():
            self._check_final(session_id, own)
        self._check_sessions(set(segments))
        for span in self._spans:
            for tape in self._tapes.values():
                for line in tape.within(span.begin, span.end):
                    self._check_line(span.session_id, line, segments[span.session_id])
        self._check_leftovers()

    def _published(self) -> dict[str, list[dict[str, Any]]]:
        """Segments by session, one for each id, in order of `seq`."""
        known: dict[str, dict[str, Any]] = {}
        for message in self._watcher.messages(f"{TOPIC}/mic/+/segment"):
            body = message.json()
            first = known.setdefault(body["id"], body)
            if first is not body:
                self._report.repeats += 1
                self._expect(
                    {**body, "replayed": None} == {**first, "replayed": None},
                    f"a replay differs: {first} {body}",
                )
        sessions: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for body in sorted(known.values(), key=lambda body: int(body["seq"])):
            sessions[body["session_id"]].append(body)
        return sessions

    def _check_order(self, segments: dict[str, list[dict[str, Any]]]) -> None:
        for session_id, own in segments.items():
            numbers = [body["seq"] for body in own]
            self._expect(
                numbers == list(range(1, len(own) + 1)), f"{session_id}: seq goes {numbers}"
            )

    def _check_final(self, session_id: str, own: list[dict[str, Any]]) -> None:
        finals = [m.json() for m in self._watcher.messages(f"{TOPIC}/transcript/final")]
        mine = [final for final in finals if final["session_id"] == session_id]
        if not mine:
            self._report.wrong.append(f"{session_id} has no final transcript")
            return
        self._expect(all(final == mine[0] for final in mine), f"{session_id}: finals differ")
        document = json.loads(Path(mine[0]["files"]["json"]).read_text(encoding="utf-8"))
        kept, sent = Counter(s["id"] for s in document["segments"]), {body["id"] for body in own}
        self._expect(
            kept == Counter(sent),
            f"{session_id}: {set(kept) ^ sent or kept} are not in both transcript and segments",
        )
        text = Path(mine[0]["files"]["txt"]).read_text(encoding="utf-8").splitlines()
        self._expect(
            sorted(line.split(": ", 1)[1] for line in text) == sorted(b["text"] for b in own),
            f"{session_id}: the text is not that of the segments",
        )

    def _check_sessions(self, published: set[str]) -> None:
        rows = self._rows("SELECT id, state FROM session")
        self._report.sessions = len(rows)
        unfinished = [row for row in rows if row[1] != "done"]
        self._expect(not unfinished, f"sessions not done: {unfinished}")
        unknown = published - {row[0] for row in rows}
        self._expect(not unknown, f"segments of sessions that are not there: {unknown}")

    def _check_line(self, session_id: str, line: Line, own: list[dict[str, Any]]) -> None:
        self._report.expected += 1
        there = [body for body in own if body["mic"] == line.mic and _covers(body, line)]
        place = f"{session_id} {line.mic} at {line.start:.1f} s"
        if not there:
            self._report.lost += 1
            self._report.wrong.append(f"{place}: {line.text!r} is lost")
        elif len(there) > 1:
            self._report.doubled += 1
            self._report.wrong.append(f"{place}: {line.text!r} is there {len(there)} times")
        elif there[0]["text"] != line.text or there[0]["speaker"] != line.mic.title():
            self._report.altered += 1
            said = f"{there[0]['speaker']}: {there[0]['text']}"
            self._report.wrong.append(f"{place}: {line.text!r} became {said!r}")
        else:
            self._report.found += 1

    def _check_leftovers(self) -> None:
        for folder in ("spool", "failed", "audio"):
            left = sorted(path.name for path in (self._node.storage / folder).iterdir())
            self._expect(not left, f"{folder}/ holds {left}")
        named = {
            Path(path).name
            for (files,) in self._rows("SELECT files FROM session")
            for path in json.loads(files).values()
        }
        orphans = {path.name for path in (self._node.storage / "transcripts").iterdir()} - named
        self._expect(not orphans, f"files of no session: {sorted(orphans)}")
        for table in ("utterance", "outbox"):
            self._expect(
                not self._rows(f"SELECT 1 FROM {table}"),  # noqa: S608  # names of ours
                f"rows are left in {table}",
            )

    def _expect(self, holds: bool, otherwise: str) -> None:
        if not holds:
            self._report.wrong.append(otherwise)


def _covers(body: dict[str, Any], line: Line) -> bool:
    """Whether a segment lies where a line was spoken; its times are wall times of its session."""
    stamp, number = body["id"].split("/")[0], body["_zero"]
    assert stamp
    start, end = (datetime.fromisoformat(body[key]).timestamp() - number for key in ("start", "end"))
    return start < line.end and line.start < end


def spans_of(spans: Sequence[Span], session_id: str) -> Iterator[Span]:
    return (span for span in spans if span.session_id == session_id)
