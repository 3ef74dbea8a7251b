"""`merge`: sessions of several nodes as one transcript; what is wrong with a file is said."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from node.commands.merge import MAX_MB
from node.core.clocks import ClockState, SessionClock
from node.core.model import MB, SAMPLE_RATE, Segment, Session
from node.core.text.formats import to_json
from node.core.text.transcript import Transcript
from tests.rig.commands import run

if TYPE_CHECKING:
    from pathlib import Path

BEGAN = datetime(2026, 11, 22, 10, tzinfo=UTC)
IDS = {"kitchen": "20261122T100000Z-3f9c", "office": "20261122T100002Z-00aa"}
PARIS = "time_zone: Europe/Paris\n"


def write(folder: Path, node: str, speaker: str, later_s: float, *said: tuple[float, str]) -> Path:
    """Write the JSON file of a session that began so much later."""
    began = BEGAN + timedelta(seconds=later_s)
    clock = SessionClock(ClockState(True, 4.5))
    session = Session(IDS[node], began, "Budget", node=node, clock=clock)
    session.ended_at = began + timedelta(minutes=1)
    segments = [
        Segment(
            id=f"{session.id}/desk/{number}",
            session_id=session.id,
            seq=number,
            mic="desk",
            speaker=speaker,
            start=round(second * SAMPLE_RATE),
            end=round((second + 1) * SAMPLE_RATE),
            text=text,
            language="fr",
            language_probability=0.9,
            confidence=0.9,
        )
        for number, (second, text) in enumerate(said, 1)
    ]
    file = folder / f"{node}.json"
    file.write_text(to_json(Transcript(session, tuple(segments), UTC)), encoding="utf-8")
    return file


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return [
        write(tmp_path, "office", "Bob", 2.5, (1, "Deux, à côté."), (4, "Quatre.")),
        write(tmp_path, "kitchen", "Alice", 0, (1, "Un."), (5, "Trois.")),
    ]


def test_the_transcript_of_two_rooms(files: list[Path], tmp_path: Path) -> None:
    config = tmp_path / "node.yaml"
    config.write_text(PARIS)
    done = run("merge", *files, "--config", config)
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "[11:00:01] Alice: Un.",
        "[11:00:03] Bob: Deux, à côté.",
        "[11:00:05] Alice: Trois.",
        "[11:00:06] Bob: Quatre.",
    ]
    assert done.stderr == (
        "the clocks of kitchen and office agree within 10 ms: lines closer to each other may be in"
        " the wrong order\n"
    )


@pytest.mark.parametrize(
    ("form", "mark"),
    [
        ("srt", "00:00:03,500 --> 00:00:04,500\nBob (office): Deux, à côté.\n"),
        ("vtt", "<v Bob (office)>Deux, à côté."),
        ("md", "**Bob (office)** ("),
        ("json", '"speaker": "Bob (office)"'),
    ],
)
def test_its_formats_in_a_file(files: list[Path], tmp_path: Path, form: str, mark: str) -> None:
    output = tmp_path / f"meeting.{form}"
    done = run("merge", *files, "--by-node", "--format", form, "--output", output)
    assert (done.returncode, done.stdout) == (0, "")
    assert mark in output.read_text(encoding="utf-8")
    if form == "json":
        assert [n["node"] for n in json.loads(output.read_text())["nodes"]] == ["kitchen", "office"]


def test_what_cannot_be_read_is_named_all_at_once(files: list[Path], tmp_path: Path) -> None:
    text, latin, folder, large = (tmp_path / name for name in ("t.txt", "l.json", "f", "h.json"))
    text.write_text("[11:00:01] Alice: Un.\n")
    latin.write_bytes('{"text": "é"}'.encode("latin-1"))
    folder.mkdir()
    with large.open("wb") as opened:
        os.truncate(opened.fileno(), MAX_MB * MB + 1)
    done = run("merge", *files, text, latin, folder, large, tmp_path / "none.json")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [
        f"{text}: it is not JSON",
        f"{latin}: it is not JSON in UTF-8",
        f"{folder}: it cannot be read: Is a directory",
        f"{large}: it has more than {MAX_MB} MB",
        f"{tmp_path / 'none.json'}: it cannot be read: No such file or directory",
    ]


def test_one_file_twice(files: list[Path]) -> None:
    done = run("merge", *files, files[0])
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"{files[0]}: it is the session {IDS['office']} of office, as {files[0]} is;"
        " give each session once\n"
    )


def test_a_file_that_is_read_is_not_overwritten(files: list[Path]) -> None:
    before = files[0].read_bytes()
    done = run("merge", *files, "--output", files[0])
    assert done.returncode == 78
    assert done.stderr == f"--output: {files[0]} is one of the files to read\n"
    assert files[0].read_bytes() == before


def test_nothing_is_written_if_they_are_of_two_meetings(files: list[Path], tmp_path: Path) -> None:
    later = write(tmp_path, "office", "Bob", 7200, (1, "Plus tard."))
    output = tmp_path / "meeting.txt"
    done = run("merge", files[1], later, "--output", output)
    assert done.returncode == 1
    assert f"{later}: it begins 1 h 59 min after {files[1]} ends" in done.stderr
    assert not output.exists()
