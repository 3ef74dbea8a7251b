"""Recorders started one by one: the demo's tracks, with bleed, cut at different times."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import jiwer
import numpy as np
import pytest
import soxr

from node.adapters import sound_files
from node.core.model import SAMPLE_RATE
from tests.model.say import write_wav
from tests.rig.commands import run
from tests.rig.node import MODEL, ROOT
from tests.rig.recordings import damage, record

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    Sound = npt.NDArray[np.float64]

DEMO = ROOT / "config" / "demo"
NAMES = ("alice", "bruno", "chloe")
REFERENCE: list[dict[str, Any]] = json.loads((DEMO / "reference.json").read_text(encoding="utf-8"))
BLEED = 10 ** (-12 / 20)
NOISE = 18.0
"""RMS of a quiet room in steps of 16 bits: -65 dBFS."""
NEAR_S = 0.6
"""Between the time of a sentence and that of its line, which begins earlier."""
MAX_WER = 0.05
SILENT_AT_S, PAUSE_S = 16.6, 300.0
"""A moment at which nobody speaks, and the length of a break put there."""


@pytest.fixture(scope="module")
def separate() -> list[Sound]:
    """The demo's tracks as they are: nobody is heard in another's."""
    files = [DEMO / f"mic-{name}.wav" for name in NAMES]
    return [np.concatenate(list(sound_files.read(file))).astype(np.float64) for file in files]


@pytest.fixture(scope="module")
def together(separate: list[Sound]) -> list[Sound]:
    """The tracks as a room would record them."""
    everyone = np.sum(separate, axis=0)
    return [own + BLEED * (everyone - own) for own in separate]


def recorded(folder: Path, tracks: list[Sound], begins_s: tuple[float, ...]) -> list[Path]:
    """Files of recorders started at these times; the room is quiet until the meeting begins."""
    files: list[Path] = []
    for name, track, begin_s in zip(NAMES, tracks, begins_s, strict=True):
        count = round((max(begins_s) - begin_s) * SAMPLE_RATE)
        quiet = np.random.default_rng(len(files)).standard_normal(count) * NOISE
        files.append(folder / f"{name}.wav")
        write_wav(files[-1], np.rint(np.concatenate([quiet, track])).astype(np.int16), SAMPLE_RATE)
    return files


def transcribed(*arguments: str | Path) -> tuple[list[dict[str, Any]], str]:
    """Return the lines of the transcript, and what was printed beside it."""
    done = run("transcribe", *arguments, "--model", MODEL, "--format", "json")
    assert done.returncode == 0, done.stderr
    lines: list[dict[str, Any]] = json.loads(done.stdout)["seglst"]
    return lines, done.stderr


def assert_each_sentence_once(
    lines: list[dict[str, Any]], begin_s: float, pause_s: float = 0.0
) -> None:
    """All that is said in the demo, in order, from `begin_s` on and with that break."""
    expected = sorted(REFERENCE, key=lambda spoken: spoken["start"])
    assert len(lines) == len(expected)
    wanted = " ".join(f"{spoken['mic'][4:]}: {spoken['text']}" for spoken in expected)
    written = " ".join(f"{line['speaker']}: {line['words']}" for line in lines)
    assert jiwer.wer(wanted, written) <= MAX_WER
    for line, spoken in zip(lines, expected, strict=True):
        at_s = begin_s + spoken["start"] + (pause_s if spoken["start"] > SILENT_AT_S else 0)
        assert line["start_time"] == pytest.approx(at_s, abs=NEAR_S)


@pytest.mark.parametrize("begins_s", [(0.0, 0.5, 0.0), (75.0, 0.0, 20.0)])
def test_tracks_begun_apart_give_each_sentence_once(
    begins_s: tuple[float, ...], together: list[Sound], tmp_path: Path
) -> None:
    files = recorded(tmp_path, together, begins_s)
    lines, said = transcribed(*files)
    assert_each_sentence_once(lines, max(begins_s))
    first = files[begins_s.index(min(begins_s))]
    for file, begin_s in zip(files, begins_s, strict=True):
        line = f"{file} began {begin_s:.2f} s after {first}\n"
        assert (line in said) == (begin_s > 0), said


def test_a_clock_that_runs_fast_is_put_right(together: list[Sound], tmp_path: Path) -> None:
    at = round(SILENT_AT_S * SAMPLE_RATE)
    quiet = np.random.default_rng(9).standard_normal((3, round(PAUSE_S * SAMPLE_RATE))) * NOISE
    tracks = [
        np.concatenate([track[:at], pause, track[at:]])
        for track, pause in zip(together, quiet, strict=True)
    ]
    tracks[1] = soxr.resample(tracks[1], SAMPLE_RATE, SAMPLE_RATE * 1.00025)
    files = recorded(tmp_path, tracks, (0.0, 12.0, 0.0))
    lines, said = transcribed(*files)
    assert_each_sentence_once(lines, 12.0, PAUSE_S)
    clock = re.search(r"(.+): its clock is (\d+) ppm fast against that of (.+): corrected\n", said)
    assert clock is not None, said
    assert (clock[1], clock[3]) == (str(files[1]), str(files[0]))
    assert int(clock[2]) == pytest.approx(250, abs=25)


def test_tracks_begun_together_are_taken_as_they_are(together: list[Sound], tmp_path: Path) -> None:
    lines, said = transcribed(*recorded(tmp_path, together, (0.0, 0.0, 0.0)))
    assert_each_sentence_once(lines, 0.0)
    for word in ("began", "begun", "clock"):
        assert word not in said


def test_tracks_that_share_no_sound_are_named(separate: list[Sound], tmp_path: Path) -> None:
    alice, bruno, chloe = recorded(tmp_path, separate, (0.0, 0.0, 0.0))
    lines, said = transcribed(alice, bruno, chloe)
    assert_each_sentence_once(lines, 0.0)
    assert f"{alice}, {bruno} and {chloe} share no sound: assumed to start together" in said


def test_one_track_that_shares_no_sound_is_named(
    separate: list[Sound], together: list[Sound], tmp_path: Path
) -> None:
    apart = [together[0], together[1], separate[2][: 20 * SAMPLE_RATE]]
    files = recorded(tmp_path, apart, (5.0, 0.0, 5.0))
    _, said = transcribed(*files)
    assert f"{files[0]} began 5.00 s after {files[1]}\n" in said
    assert f"{files[2]}: no sound shared with the other tracks" in said


def test_the_offset_given_by_hand_counts(separate: list[Sound], tmp_path: Path) -> None:
    """From any moment: here from one two seconds after the first has begun."""
    files = recorded(tmp_path, separate, (75.0, 0.0, 20.0))
    offsets = [part for each in ("73", "-2", "18") for part in ("--offset", each)]
    lines, said = transcribed(*files, *offsets)
    assert_each_sentence_once(lines, 75.0)
    assert "share" not in said


def test_tracks_without_an_offset_begin_at_0(separate: list[Sound], tmp_path: Path) -> None:
    files = recorded(tmp_path, separate, (1.5, 0.0, 0.0))
    lines, _ = transcribed(*files, "--offset", "1.5")
    assert_each_sentence_once(lines, 1.5)


def test_what_is_left_out_moves_no_other_track(separate: list[Sound], tmp_path: Path) -> None:
    """Each offset belongs to the file in its place: here one is missing, one is given twice."""
    alice, bruno, chloe = recorded(tmp_path, separate, (1.5, 0.0, 0.0))
    files = (tmp_path / "missing.wav", alice, alice, bruno, chloe)
    offsets = [part for each in ("50", "1.5", "90", "0") for part in ("--offset", each)]
    done = run("transcribe", *files, *offsets, "--model", MODEL, "--format", "json")
    assert done.returncode == 1
    assert done.stderr.count(str(files[0])) == 1
    assert_each_sentence_once(json.loads(done.stdout)["seglst"], 1.5)


def test_a_damaged_track_is_placed_and_its_damage_said_once(
    together: list[Sound], tmp_path: Path
) -> None:
    """Even though a recording is read twice, to place it and to transcribe it."""
    alice, bruno, _ = recorded(tmp_path, together, (2.0, 0.0, 2.0))
    sound = np.rint(together[2]).astype(np.int16)
    chloe = damage(record(tmp_path / "chloe.mp3", sound, "libmp3lame"), 0.9, 0.92)
    _, said = transcribed(alice, bruno, chloe)
    assert said.count(f"{chloe}: damaged: could not be read") == 1
    assert re.search(
        rf"{re.escape(str(chloe))} began 2\.\d+ s after {re.escape(str(bruno))}\n", said
    )
