"""Finds what became of every sentence spoken to a node that was killed again and again.

A sentence counts as heard if all of it was spoken while a session was recording; what a kill cut
off or was spoken while no process ran is excluded, as the promise says.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter, defaultdict
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.rig.node import TOPIC

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.rig.mqtt import Watcher
    from tests.rig.tapes import Line, Tape


@dataclass(frozen=True, slots=True)
class Span:
    """What one process is sure to have heard, in seconds of a session; `zero` is wall time."""

    session_id: str
    zero: float
    begin: float
    end: float


@dataclass(slots=True)
class Report:
    """What a campaign found; `wrong` lists broken promises, the rest are figures for the table."""

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


class Judge:
    """Compares the tapes with the subscriber, the transcripts and the storage folder."""

    def __init__(
        self,
        storage: Path,
        watcher: Watcher,
        tapes: Mapping[str, Tape],
        spans: Sequence[Span],
        report: Report,
    ) -> None:
        self._storage = storage
        self._watcher = watcher
        self._tapes = tapes
        self._spans = spans
        self._report = report

    def judge(self) -> None:
        segments = self._published()
        self._check_order(segments)
        for session_id, own in segments.items():
            self._check_final(session_id, own)
        self._check_sessions(set(segments))
        for span in self._spans:
            for tape in self._tapes.values():
                for line in tape.within(span.begin, span.end):
                    self._check_line(span, line, segments[span.session_id])
        self._check_leftovers()

    def _published(self) -> dict[str, list[dict[str, Any]]]:
        """Return segments by session, one for each id, in order of `seq`."""
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
        # An interjection splits the line it interrupts, so a segment may be in several lines.
        lines = sorted(document["seglst"], key=lambda line: line["part"])
        parts: dict[str, list[str]] = defaultdict(list)
        for line in lines:
            parts[line["segment"]].append(line["words"])
        self._expect(
            {key: " ".join(words) for key, words in parts.items()}
            == {b["id"]: b["text"] for b in own},
            f"{session_id}: the lines are not those of the segments",
        )
        text = Path(mine[0]["files"]["txt"]).read_text(encoding="utf-8").splitlines()
        self._expect(
            sorted(line.split(": ", 1)[1] for line in text) == sorted(x["words"] for x in lines),
            f"{session_id}: the text is not that of the lines",
        )

    def _check_sessions(self, published: set[str]) -> None:
        known = dict(rows(self._storage, "SELECT id, state FROM session"))
        self._report.sessions = len(known)
        unfinished = [session_id for session_id, state in known.items() if state != "done"]
        self._expect(not unfinished, f"sessions not done: {unfinished}")
        unknown = published - known.keys()
        self._expect(not unknown, f"segments of sessions that do not exist: {unknown}")

    def _check_line(self, span: Span, line: Line, own: list[dict[str, Any]]) -> None:
        self._report.expected += 1
        there = [body for body in own if body["mic"] == line.mic and _covers(body, line, span.zero)]
        place = f"{span.session_id} {line.mic} at {line.start:.1f} s"
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
            left = sorted(path.name for path in (self._storage / folder).iterdir())
            self._expect(not left, f"{folder}/ holds {left}")
        named = {
            Path(path).name
            for (files,) in rows(self._storage, "SELECT files FROM session")
            for path in json.loads(files).values()
        }
        orphans = {path.name for path in (self._storage / "transcripts").iterdir()} - named
        self._expect(not orphans, f"files of no session: {sorted(orphans)}")
        for table in ("utterance", "outbox"):
            self._expect(
                not rows(self._storage, f"SELECT 1 FROM {table}"),  # noqa: S608  # names of ours
                f"rows are left in {table}",
            )

    def _expect(self, holds: bool, otherwise: str) -> None:
        if not holds:
            self._report.wrong.append(otherwise)


def _covers(body: dict[str, Any], line: Line, zero: float) -> bool:
    """Return whether a segment covers the time a line was spoken."""
    start, end = (datetime.fromisoformat(body[key]).timestamp() - zero for key in ("start", "end"))
    return start < line.end and line.start < end


def rows(storage: Path, query: str, *values: object) -> list[tuple[Any, ...]]:
    """Return what a query finds in the database of a node, which may be running."""
    with closing(sqlite3.connect(f"file:{storage}/scribe.db?mode=ro", uri=True)) as database:
        return database.execute(query, values).fetchall()
