"""Meetings of the accuracy benchmark: rows by name, one conversation under every bleed, shares."""

from __future__ import annotations

import itertools
import json
import random
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from config.demo.speech import write_wav
from node.core.model import SAMPLE_RATE
from tests.bench.accuracy.meeting import Plan, synthetic
from tests.bench.accuracy.node_way import Line
from tests.bench.accuracy.outcome import Outcome, Score
from tests.bench.accuracy.report import Report
from tests.bench.accuracy.rows import QUICK_ROWS, ROWS, Recipe, Row, Speech, parse_row
from tests.bench.accuracy.setting import Acoustics, draw
from tests.bench.accuracy.store import Store
from tests.bench.accuracy.systems import ORACLE, _kept
from tests.bench.speech import SpeechError, recordings, seats
from tests.bench.trained import DEMO

if TYPE_CHECKING:
    from pathlib import Path

    from tests.bench.accuracy.scene import Scene
    from tests.bench.speech import Speakers

SAID = (
    *(("en", "ann", 12), ("fr", "bea", 12), ("en", "cy", 12), ("fr", "dora", 12)),
    *(("en", "eve", 1), ("fr", "flo", 1), ("en", "gil", 1)),
)
"""Language, name and number of utterances of 2 s; one with a single utterance says little."""

BLEEDS = ("4@-2.5,10%,two", "4@-10,10%,two", "4@none,10%,two")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings of noise: each speaker has a sound, and no two utterances are alike."""
    made: Path = tmp_path_factory.mktemp("speech")
    rng, lines = np.random.default_rng(1), []
    for lang, speaker, count in SAID:
        for number in range(count):
            name = f"{speaker}-{number}"
            sound = np.round(rng.standard_normal(2 * SAMPLE_RATE) * 3000).astype(np.int16)
            write_wav(made / f"{name}.wav", sound, SAMPLE_RATE)
            entry = {"id": name, "lang": lang, "speaker": speaker, "text": f"{speaker} {number}"}
            lines.append(json.dumps({**entry, "kind": "noise", "file": f"{name}.wav"}))
    (made / "manifest.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return made


@pytest.fixture(scope="module")
def people(folder: Path) -> Speakers:
    return recordings(folder)


def recipe(row: str, number: int = 1, voices: str = "report", speech: Path | None = None) -> Recipe:
    known = None if speech is None else Speech(speech, "digest")
    return Recipe(parse_row(row), number, 20.0, voices, known)


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("4@-10,10%", Row(4, -10, 10)),
        ("2@-2.5,0%,one", Row(2, -2.5, 0, "one")),
        ("3@none,25%,two", Row(3, None, 25, "two")),
        ("2@-6,10%,fr", Row(2, -6, 10, "fr")),
        ("8@-20,10%,uneven", Row(8, -20, 10, uneven=True)),
        ("4@-6,25%,two,uneven", Row(4, -6, 25, "two", uneven=True)),
    ],
)
def test_a_row_is_known_by_its_name(name: str, row: Row) -> None:
    assert parse_row(name) == row
    assert row.name == name


def test_all_rows_can_be_read() -> None:
    for name in (*ROWS[:-1], *QUICK_ROWS[:-1]):
        assert parse_row(name).name == name
    assert len(set(ROWS)) == len(ROWS)


@pytest.mark.parametrize(
    "name",
    [
        *("", "4", "4@-10", "4@10,10%", "1@-10,10%", "9@-10,10%", "4@-10,10", "4@-10,10%,three"),
        *("4@-10,10%,uneven,two", "4@-10,10%,one,two", "4@-,10%", "4@-2.55,10%", "4@-10,10%,de"),
    ],
)
def test_what_is_no_row_is_said_to_be_none(name: str) -> None:
    with pytest.raises(ValueError, match="is not a row: use speakers@bleed"):
        parse_row(name)


def test_whatever_makes_another_conversation_has_another_seed() -> None:
    rows = ("4@-10,10%", "4@-10,0%", "3@-10,10%", "4@-10,10%,one", "4@-10,10%,two")
    each = itertools.product(rows, (1, 2), ("tuning", "report"))
    assert len({recipe(*one).seed for one in each}) == len(rows) * 4


def test_rows_that_differ_in_bleed_are_the_same_conversation(folder: Path) -> None:
    spoken = [recipe(row, speech=folder).converse() for row in (*BLEEDS, f"{BLEEDS[0]},uneven")]
    for other in spoken[1:]:
        assert [(s.speaker, s.start, s.text) for s in other] == [
            (s.speaker, s.start, s.text) for s in spoken[0]
        ]
        for one, same in zip(other, spoken[0], strict=True):
            assert np.array_equal(one.sound, same.sound)
    assert len({s.speaker for s in spoken[0]}) > 1


def test_the_bleed_changes_nothing_else_of_a_setting() -> None:
    loud, faint, none = (draw(4, parse_row(row).acoustics, 7) for row in BLEEDS)
    assert loud.bleeds_db is not None
    assert faint.bleeds_db is not None
    assert loud.bleeds_db - faint.bleeds_db == pytest.approx(np.full((4, 4), 7.5))
    assert none.bleeds_db is None
    for other in (faint, none):
        assert other.rt60_s == loud.rt60_s
        for name in ("angles", "loudness", "gains", "delays_s", "drifts_ppm"):
            assert np.array_equal(getattr(other, name), getattr(loud, name))


def test_uneven_only_widens_what_was_drawn() -> None:
    even, uneven = draw(4, Acoustics(), 7), draw(4, parse_row("4@-10,10%,uneven").acoustics, 7)
    assert uneven.gains == pytest.approx(even.gains**2)
    assert uneven.delays_s == pytest.approx(even.delays_s * 4)
    assert np.array_equal(uneven.drifts_ppm, even.drifts_ppm)


def test_the_tracks_of_one_conversation_differ_by_the_bleed_alone(
    folder: Path, tmp_path: Path
) -> None:
    pytest.importorskip("pyroomacoustics", reason="make bench-accuracy installs it")
    from tests.bench.accuracy.scene import scene  # noqa: PLC0415  # needs the room's simulation

    loud, faint, none = (scene(recipe(row, speech=folder), Store(tmp_path)) for row in BLEEDS)
    own = np.array([s.speaker for s in loud.said])[:, None] == np.arange(4)
    for other in (faint, none):
        assert other.said_key == loud.said_key
        assert other.key != loud.key
        assert [s.text for s in other.said] == [s.text for s in loud.said]
        heard, there = loud.recording, other.recording
        assert np.array_equal(there.delays_s, heard.delays_s)
        assert np.array_equal(there.noise_db, heard.noise_db)
        assert there.levels_db[own] == pytest.approx(heard.levels_db[own])
        assert there.tracks.shape == heard.tracks.shape
        assert not np.array_equal(there.tracks, heard.tracks)
    away = loud.recording.levels_db[~own] - faint.recording.levels_db[~own]
    assert away == pytest.approx(np.full(len(away), 7.5), abs=0.01)


def test_the_oracle_is_asked_once_for_all_bleeds(tmp_path: Path) -> None:
    asked: list[str] = []

    def answer(scene: Scene, _model: Path) -> list[Line]:
        asked.append(scene.key)
        return [Line(0, 1.0, 2.0, scene.key)]

    scenes: list[Any] = [SimpleNamespace(key=k, said_key="said") for k in ("loud", "faint")]
    for name in (ORACLE, "vad"):
        system = _kept(name, lambda: "1", answer)
        for one in scenes:
            system(one, Store(tmp_path), DEMO)
    assert asked == ["loud", "loud", "faint"]


def seated(people: Speakers, count: int, languages: str | None, seed: int = 1) -> list[str]:
    found = seats(people, count, random.Random(seed), languages)
    return [said[0].lang for said in found]


def test_a_table_of_one_language(people: Speakers) -> None:
    drawn = [seated(people, 2, "one", seed) for seed in range(20)]
    assert {tuple(langs) for langs in drawn} == {("en", "en"), ("fr", "fr")}
    assert seated(people, 4, "one") == ["en"] * 4  # there are three of the other language
    assert seated(people, 3, "fr") == ["fr"] * 3


def test_a_table_of_two_languages(people: Speakers) -> None:
    for seed in range(20):
        langs = seated(people, 4, "two", seed)
        assert langs in (["en", "fr", "en", "fr"], ["fr", "en", "fr", "en"])
        assert seated(people, 7, "two", seed) == ["en", "fr"] * 3 + ["en"]
    assert [len(said) for said in seats(people, 4, None, "two")] == [12] * 4


def test_those_with_enough_to_say_have_most_seats(people: Speakers) -> None:
    few = {name: said for name, said in people.items() if name not in ("ann", "cy")}
    for seed in range(20):  # "eve" and "gil" have little to say, and English
        assert seated(few, 3, "two", seed) == ["fr", "en", "fr"]
        assert seated(few, 2, "one", seed) == ["fr"] * 2


def test_too_few_of_a_language_are_complained_of(people: Speakers) -> None:
    english = {name: said for name, said in people.items() if said[0].lang == "en"}
    for table, count, languages in ((people, 5, "one"), (english, 2, "two"), (people, 4, "fr")):
        with pytest.raises(SpeechError, match=rf"{count} people \({languages}\) .* of en, . of fr"):
            seats(table, count, None, languages)
    assert len(seats(english, 2)) == 2


def test_voices_of_one_language_speak_where_nothing_is_recorded() -> None:
    drawn = [synthetic(Plan(seed, 4, 0.1, 10.0, languages="one")) for seed in range(20)]
    assert {tuple(lang for lang, _ in table) for table in drawn} == {("en",) * 4, ("fr",) * 4}
    assert [lang for lang, _ in synthetic(Plan(1, 3, 0.1, 10.0))] == ["en", "fr", "en"]
    with pytest.raises(SpeechError, match="5 people are needed; there are 4 voices"):
        recipe("5@-10,10%,one").check()


def counted(**counts: int) -> Score:
    zeros = dict.fromkeys(Score.__slots__, 0)
    return Score(**{**zeros, "words": 100, "sentences": 20, "lines": 10, "own_s": 1, **counts})


def test_shares_are_of_sentences_and_of_lines() -> None:
    ours = counted(cp=30, doubled=2, misnamed=1, strays=3, lost=4)
    assert (ours.cpwer, ours.doubled_share, ours.misnamed_share) == (0.3, 0.1, 0.05)
    assert ours.stray_share == 0.3
    assert counted(lines=0).stray_share == 0
    oracle = counted(cp=10, lost=1)
    assert ours.lost_beyond(oracle) == pytest.approx(0.15)
    assert ours.above(oracle) == pytest.approx(0.2)
    both = ours + counted(cp=10, lines=30)
    assert (both.cpwer, both.stray_share, both.doubled_share) == (0.2, 3 / 40, 2 / 40)


def test_the_report_sums_all_rows() -> None:
    rows = ("2@-3,10%,one", "2@-10,10%,one")
    report = Report(rows, (ORACLE, "drop", "best-mic"))
    for row, errors in zip(rows, (40, 20), strict=True):
        scores = {
            ORACLE: counted(cp=10, lost=1),
            "drop": counted(cp=errors, lost=2, doubled=1, misnamed=3, strays=1),
            "best-mic": counted(cp=40),
        }
        took = {ORACLE: 1.0, "drop": errors / 10, "best-mic": 5.0}
        report.add(Outcome(recipe(row), scores, took, []))
    lines = [line.strip("| ").split(" | ") for line in report.markdown().splitlines()]
    ours = [line for line in lines if "drop" in line[:2]]
    assert [line[:5] for line in ours[:2]] == [
        [rows[0], "drop", "40.0 %", "+30.0", "1.00"],
        [rows[1], "drop", "20.0 %", "+10.0", "0.50"],
    ]
    head = next(line for line in lines if line[0] == "All rows")
    assert dict(zip(head, ours[2], strict=True)) == {
        "All rows": "drop",
        "cpWER": "30.0 %",
        "above oracle": "+20.0",
        "x best mic": "0.75",
        "doubled": "5.0 %",
        "wrong name": "15.0 %",
        "stray lines": "10.0 %",
        "lost beyond oracle": "5.0 %",
        "CPU s a meeting": "3.0",
    }


def test_one_microphone_is_counted_without_names() -> None:
    pytest.importorskip("meeteval", reason="make bench-accuracy installs it")
    from tests.bench.accuracy.meeting import Spoken  # noqa: PLC0415  # beside the next
    from tests.bench.accuracy.score import score  # noqa: PLC0415  # needs meeteval

    sound = np.zeros(2 * SAMPLE_RATE, np.float32)
    said = [Spoken(0, 1.0, "one two three", sound), Spoken(1, 4.0, "four five six", sound)]
    lines = [Line(1, 1, 3, "one two three"), Line(1, 4, 6, "four five seven"), Line(1, 7, 8, "…")]
    named, nameless = score(said, lines), score(said, lines, named=False)
    assert (named.cp, named.orc, named.misnamed, named.lines) == (6, 1, 1, 2)
    assert (nameless.cp, nameless.orc, nameless.misnamed) == (1, 1, 0)


def test_separated_voices_go_to_the_microphones_that_are_theirs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("pyroomacoustics", reason="make bench-accuracy installs it")
    from tests.bench.accuracy import separation  # noqa: PLC0415  # needs pyroomacoustics

    rng = np.random.default_rng(1)
    seconds = 20
    steps = rng.random((2, seconds * 4)) > 0.5  # each speaks at different times
    loudness = np.repeat(steps, SAMPLE_RATE // 4, axis=1) + 0.001
    voices = rng.standard_normal(loudness.shape) * loudness * 1000
    mixing = np.array([[4.0, 5.0], [0.5, 1.0]])  # the louder microphone hears both best
    tracks = np.round(mixing @ voices).astype(np.int16)
    memory = separation.WORK_BYTES
    for work_bytes in (memory, memory // 50):
        monkeypatch.setattr(separation, "WORK_BYTES", work_bytes)
        apart = separation.separated(tracks)
        assert apart.shape == tracks.shape
        for mic in range(2):
            right = np.corrcoef(apart[mic], voices[mic])[0, 1]
            assert right > 0.98
