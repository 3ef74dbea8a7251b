"""Search over all that was said, on a real store."""

from __future__ import annotations

import itertools
import json
import signal
import sqlite3
import subprocess
import sys
import unicodedata
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.adapters.store import DATABASE, Store, search_index
from node.adapters.store.database import SCHEMA_VERSION, STEPS
from node.adapters.store.reading import segment_to_json
from node.core.model import Session, Transcription
from node.core.room.endpointing import Ended
from node.errors import StoreError
from node.service.transcribing.segments import segment_of
from tests.rig.node import ROOT
from tests.unit.spoken import line_text, segment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from node.adapters.store import Utterance
    from node.core.model import Segment

OLD, NEW = "20261122T100000Z-aaaa", "20261123T100000Z-bbbb"
BEGAN = {OLD: datetime(2026, 11, 22, 10, tzinfo=UTC), NEW: datetime(2026, 11, 23, 10, tzinfo=UTC)}
SECOND = 16000
DIE_WITHIN_COMMIT = """
import os, pathlib, signal, sys
from node.adapters.store import Store

store = Store(pathlib.Path(sys.argv[1]), keep_audio=False)
store.open()
store.traces.trim = None
with store.sessions._database.transaction() as db:
    db.execute(sys.argv[2])
    os.kill(os.getpid(), signal.SIGKILL)
"""


@dataclass
class Minutes:
    """A store in which sessions are held, without sound and engine."""

    folder: Path

    def __post_init__(self) -> None:
        self.reports: list[str] = []
        self.numbers = itertools.count()
        self.open()

    def open(self) -> None:
        self.store = Store(self.folder, keep_audio=False, report=self.reports.append)
        assert self.store.open() is None

    def begin(self, session: str, title: str | None = None) -> None:
        self.store.sessions.begin(Session(session, BEGAN[session], title), 0.0)

    def say(self, session: str, text: str, mic: str = "desk") -> Utterance:
        start = next(self.numbers) * 10 * SECOND
        utterances = self.store.utterances
        utterance, recording = utterances.open(session, mic, "Alice", None, start)
        recording.append(np.zeros(SECOND, np.int16))
        recording.finish(SECOND)
        utterances.captured(utterance, Ended(start + SECOND, speech=(start, start + SECOND)))
        (utterance,) = utterances.next()
        assert utterances.transcribed(utterance, made(utterance, text)) is not None
        return utterance

    def find(self, query: str, limit: int = 50, offset: int = 0) -> list[str]:
        return [match["text"] for match in self.store.search.find(query, limit, offset)[0]]

    def again(self) -> None:
        self.store.close()
        self.open()

    def change(self, statement: str, *values: object) -> None:
        """Change the closed database, and open it again."""
        self.store.close()
        with closing(sqlite3.connect(self.folder / DATABASE)) as database, database:
            database.execute(statement, values)
        self.open()

    def holds(self, *words: str) -> list[str]:
        """The files of the storage folder in which a word stands."""
        return [
            file.name
            for file in self.folder.rglob("*")
            if file.is_file() and any(word.encode() in file.read_bytes() for word in words)
        ]


def made(utterance: Utterance, text: str) -> Callable[[int], tuple[Segment, str, str]]:
    def make(seq: int) -> tuple[Segment, str, str]:
        spoken = segment_of(utterance, Transcription(text, "fr", 0.9, 0.9), seq, 0.5)
        return spoken, "topic", json.dumps(spoken.payload(BEGAN[OLD]))

    return make


@pytest.fixture
def minutes(tmp_path: Path) -> Iterator[Minutes]:
    made = Minutes(tmp_path)
    yield made
    made.store.close()


def test_a_match_says_where_it_was_said(minutes: Minutes) -> None:
    minutes.begin(OLD, "Budget")
    minutes.say(OLD, "Rien.")
    utterance = minutes.say(OLD, "Le château est vendu.")
    assert minutes.store.search.find("château", 50, 0) == (
        [
            {
                "session_id": OLD,
                "segment_id": utterance.id,
                "title": "Budget",
                "started_at": "2026-11-22T10:00:00.000Z",
                "mic": "desk",
                "speaker": "Alice",
                "start": "2026-11-22T10:00:10.000Z",
                "text": "Le château est vendu.",
            }
        ],
        1,
    )


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("CHATEAU", True),
        ("château d'eau", True),
        ("eau château", True),  # in any order
        ("châ", True),  # the last word may be incomplete
        ("chat", True),
        ("châ eau", False),  # the others may not
        ("château fort", False),
        ("deau", False),
        ("château !", True),
        ("—", False),
        ("!?", False),
    ],
)
def test_all_words_must_occur(minutes: Minutes, query: str, *, found: bool) -> None:
    minutes.begin(OLD)
    minutes.say(OLD, "Le Château d'eau : il fuit.")
    assert bool(minutes.find(query)) is found


@pytest.mark.parametrize(
    "query",
    [
        '"',
        '""',
        'il"',
        "il OR rien",
        "il NOT fuit",
        "NEAR(il fuit)",
        "text:il",
        "{text} : il",
        "^le",
        "(il",
        "il + fuit",
        "il*",
        "- il",
        "il AND",
        "'; DROP TABLE spoken; --",
    ],
)
def test_a_query_is_words_and_nothing_else(minutes: Minutes, query: str) -> None:
    minutes.begin(OLD)
    minutes.say(OLD, "Le château : il fuit.")
    minutes.say(OLD, f"Quoted: {query} and no more")
    found = minutes.find(query)
    assert (f"Quoted: {query} and no more" in found) is any(map(str.isalnum, query))
    assert minutes.find("château") == ["Le château : il fuit."]


@given(line_text.map(str.strip).filter(bool))
@settings(max_examples=300, deadline=None)
def test_no_query_raises(tmp_path_factory: pytest.TempPathFactory, query: str) -> None:
    found, total = _shared(tmp_path_factory).store.search.find(query, 50, 0)
    assert len(found) == total


_SHARED: list[Minutes] = []


def _shared(factory: pytest.TempPathFactory) -> Minutes:
    """One store for all examples: opening takes longer than a search."""
    if not _SHARED:
        _SHARED.append(Minutes(factory.mktemp("shared")))
        _SHARED[0].begin(OLD)
        _SHARED[0].say(OLD, "a b c 1 2 3")
    return _SHARED[0]


@given(st.text(st.characters(categories=["Ll", "Nd"], max_codepoint=0x24F), min_size=1))
@settings(max_examples=100, deadline=None)
def test_what_was_said_is_found(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    minutes = _shared(tmp_path_factory)
    minutes.say(OLD, text)
    assert text in minutes.find(text, limit=200)
    assert text in minutes.find(unicodedata.normalize("NFD", text), limit=200)


def test_the_newest_session_comes_first_and_pages_go_on(minutes: Minutes) -> None:
    minutes.begin(NEW)
    minutes.begin(OLD)
    for number in range(3):
        minutes.say(OLD, f"old word {number}")
        minutes.say(NEW, f"new word {number}")
    whole = [f"new word {n}" for n in range(3)] + [f"old word {n}" for n in range(3)]
    assert minutes.find("word") == whole
    assert minutes.find("word", limit=2, offset=2) == whole[2:4]
    assert minutes.store.search.find("word", 2, 4)[1] == 6
    assert minutes.store.search.find("word", 2, 99) == ([], 6)


def test_a_segment_that_is_withdrawn_is_not_found(minutes: Minutes) -> None:
    minutes.begin(OLD)
    utterance = minutes.say(OLD, "Bonjour Alice.")
    minutes.say(OLD, "Bonjour Bruno.")
    minutes.store.utterances.withdraw(
        utterance, "door", keep=False, tell=lambda segment: ("topic", segment.id)
    )
    assert minutes.find("bonjour") == ["Bonjour Bruno."]
    assert minutes.find("alice") == []


def test_what_a_mic_heard_of_another_is_not_found(minutes: Minutes) -> None:
    minutes.begin(OLD)
    heard = segment(0, text="Copied words.", session_id=OLD, crosstalk_of="door")
    minutes.change(
        "INSERT INTO segment (id, session_id, seq, body) VALUES (?, ?, 0, ?)",
        *(heard.id, OLD, segment_to_json(heard)),
    )
    assert minutes.find("copied") == []


def test_a_deleted_session_leaves_no_word_in_the_index(minutes: Minutes) -> None:
    minutes.begin(OLD)
    minutes.begin(NEW)
    for number in range(40):  # more than FTS5 merges by itself
        minutes.say(OLD, f"Quetzalcoatl xylophone{number} à Château-Thierry")
        minutes.say(NEW, f"vacances {number}")
    assert minutes.holds("quetzalcoatl")
    minutes.store.traces.strike(OLD)
    assert minutes.store.traces.trim()
    assert minutes.find("quetzalcoatl") == []
    assert minutes.holds("quetzal", "Quetzal", "xylophone", "thierry", "ylophone") == []
    assert minutes.holds("vacances") == [DATABASE]
    with closing(sqlite3.connect(minutes.folder / DATABASE)) as db:
        db.execute("CREATE VIRTUAL TABLE temp.term USING fts5vocab(main, spoken_index, instance)")
        terms = {term for (term,) in db.execute("SELECT term FROM term")}
    assert terms == {"vacances", *map(str, range(40))}
    assert len(minutes.find("vacances")) == 40


def test_the_only_session_leaves_nothing_either(minutes: Minutes) -> None:
    minutes.begin(OLD)
    minutes.say(OLD, "Quetzalcoatl")
    minutes.store.traces.strike(OLD)
    assert minutes.store.traces.trim()
    assert minutes.holds("quetzal", "Quetzal") == []


def older(file: Path, version: int, texts: list[str]) -> None:
    """Make a database as an older version has left it."""
    with closing(sqlite3.connect(file)) as db:
        for step in STEPS[:version]:
            db.executescript(step)
        db.execute(f"PRAGMA user_version={version}")
        db.execute(
            "INSERT INTO session (id, started_at, speakers, files, state)"
            " VALUES (?, '2026-11-22T10:00:00.000Z', '{}', '{}', 'done')",
            (OLD,),
        )
        for number, text in enumerate(texts):
            spoken = segment(number, text=text, session_id=OLD)
            db.execute(
                "INSERT INTO segment (id, session_id, seq, body) VALUES (?, ?, ?, ?)",
                (spoken.id, OLD, number, segment_to_json(spoken)),
            )
        heard = segment(98, text="Bonjour, copied.", session_id=OLD, crosstalk_of="door")
        for number, body in ((98, segment_to_json(heard)), (99, "{"), (100, '{"text": 7}')):
            db.execute("INSERT INTO segment VALUES (?, ?, 0, ?)", (str(number), OLD, body))
        db.commit()


@pytest.mark.parametrize("version", range(1, SCHEMA_VERSION))
def test_what_an_older_version_stored_is_found(tmp_path: Path, version: int) -> None:
    older(tmp_path / DATABASE, version, ["Bonjour Alice.", "Au revoir."])
    minutes = Minutes(tmp_path)
    assert minutes.find("bonjour") == ["Bonjour Alice."]
    minutes.say(OLD, "Bonjour encore.")
    assert minutes.find("bonjour") == ["Bonjour Alice.", "Bonjour encore."]
    assert not any("index" in report for report in minutes.reports)
    minutes.store.close()


def garble(blob: str) -> str:
    return f"UPDATE spoken_index_data SET block={blob} WHERE id > 1"  # noqa: S608


DAMAGE = {
    "no pages": "DELETE FROM spoken_index_data",
    "garbled pages": garble(f"x'{'ff' * 40}'"),
    "zeros": garble("zeroblob(length(block))"),
    "empty pages": garble("x''"),
    "garbled structure": "UPDATE spoken_index_data SET block=x'ffffffffffff' WHERE id=10",
    "another format": "UPDATE spoken_index_config SET v=99 WHERE k='version'",
}


@pytest.mark.parametrize("statement", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_index_is_made_again_at_the_start(minutes: Minutes, statement: str) -> None:
    minutes.begin(OLD)
    minutes.say(OLD, "Bonjour Alice.")
    minutes.change(statement)
    (report,) = minutes.reports
    assert report.startswith("the index for session/search was damaged")
    assert minutes.find("bonjour") == ["Bonjour Alice."]
    minutes.say(OLD, "Bonjour encore.")
    minutes.again()
    assert len(minutes.find("bonjour")) == 2
    assert minutes.reports == [report]
    assert list(minutes.folder.glob("*.damaged-*")) == []


def test_an_index_whose_pages_the_disk_lost_is_made_again(minutes: Minutes) -> None:
    """SQLite's own check of the file fails, and would set the whole database aside."""
    minutes.begin(OLD)
    for number in range(200):
        minutes.say(OLD, f"Bonjour {number}.")
    minutes.store.close()
    file = minutes.folder / DATABASE
    with closing(sqlite3.connect(file)) as db:
        query = "SELECT rootpage FROM sqlite_schema WHERE name='spoken_index_data'"
        (page,) = db.execute(query).fetchone()
        (size,) = db.execute("PRAGMA page_size").fetchone()
    with file.open("r+b") as stream:
        stream.seek((page - 1) * size + 8)
        stream.write(b"\xff" * 100)
    with closing(sqlite3.connect(file)) as db:  # only the first: to go on may fail, or not
        assert db.execute("PRAGMA quick_check(1)").fetchone() != ("ok",)
    minutes.open()
    assert len(minutes.reports) == 1
    assert len(minutes.find("bonjour", limit=200)) == 200


def test_an_index_that_fails_while_it_is_used_is_made_again(minutes: Minutes) -> None:
    minutes.begin(OLD)
    minutes.say(OLD, "Bonjour Alice.")
    with minutes.store.sessions._database.transaction() as db:
        db.execute(DAMAGE["garbled pages"])
    assert minutes.find("bonjour") == ["Bonjour Alice."]
    assert len(minutes.reports) == 1


@pytest.mark.parametrize(
    "statement", ["DELETE FROM segment", "UPDATE segment SET body='{}'"], ids=["delete", "change"]
)
def test_a_process_that_dies_leaves_index_and_segments_alike(
    minutes: Minutes, statement: str
) -> None:
    minutes.begin(OLD)
    minutes.say(OLD, "Bonjour Alice.")
    minutes.store.close()
    died = subprocess.run(
        [sys.executable, "-c", DIE_WITHIN_COMMIT, str(minutes.folder), statement],
        cwd=ROOT,
        check=False,
    )
    assert died.returncode == -signal.SIGKILL
    minutes.open()
    assert minutes.find("bonjour") == ["Bonjour Alice."]
    assert minutes.reports == []


def test_without_fts5_only_the_search_is_missing(
    minutes: Minutes, monkeypatch: pytest.MonkeyPatch
) -> None:
    minutes.begin(OLD)
    minutes.say(OLD, "Quetzalcoatl un.")
    with monkeypatch.context() as patch:
        patch.setattr(search_index, "supported", lambda _db: False)
        minutes.again()
        minutes.say(OLD, "Deux.")
        with pytest.raises(StoreError, match="built without FTS5"):
            minutes.find("deux")
        minutes.again()
        minutes.say(OLD, "Encore deux.")
        minutes.begin(NEW)
        minutes.store.traces.strike(OLD)
        assert minutes.store.traces.trim()
        assert minutes.holds("quetzalcoatl", "Quetzalcoatl") == []
        minutes.say(NEW, "Trois.")
    minutes.again()
    assert minutes.find("trois") == ["Trois."]
    assert minutes.find("un") == minutes.find("deux") == []
    assert minutes.reports == []


def test_a_damaged_segment_is_left_out(minutes: Minutes) -> None:
    minutes.begin(OLD)
    minutes.say(OLD, "Bonjour Alice.")
    minutes.say(OLD, "Bonjour Bruno.")
    minutes.store.close()
    with closing(sqlite3.connect(minutes.folder / DATABASE)) as db, db:
        db.execute("DROP TRIGGER segment_changed")  # as the disk damages it: unnoticed
        db.execute("UPDATE segment SET body='{' WHERE seq=1")
    minutes.open()
    assert minutes.find("bonjour") == ["Bonjour Bruno."]
    minutes.store.sessions.segments(OLD)  # sets it aside
    assert minutes.store.search.find("bonjour", 50, 0)[1] == 1


def test_times_are_those_of_the_session(minutes: Minutes) -> None:
    minutes.begin(OLD)
    minutes.numbers = itertools.count(360)
    minutes.say(OLD, "Une heure plus tard.")
    matches: list[dict[str, Any]] = minutes.store.search.find("heure", 1, 0)[0]
    begin = BEGAN[OLD] + timedelta(hours=1)
    assert datetime.fromisoformat(matches[0]["start"]) == begin
