"""`transcribe` on what people give it: late, damaged, silent or doubled files, and others."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.model.sentences import SENTENCES
from tests.rig.commands import TIMEOUT_S, command, run
from tests.rig.node import MODEL, ROOT, spoken
from tests.rig.recordings import RATE, record
from tests.rig.vmics import write_wav

if TYPE_CHECKING:
    from pathlib import Path

    from tests.rig.recordings import Samples

ENGLISH = [sentence for sentence in SENTENCES if sentence.language == "en"]
FIRST, SECOND, THIRD = ENGLISH[:3]
PAUSE_S = 1.0


@pytest.fixture(scope="module")
def sound() -> Samples:
    return spoken(FIRST, SECOND, THIRD, pause_s=PAUSE_S)


def transcribe(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    done = run("transcribe", *arguments, "--model", MODEL)
    # The demo's model prints a notice, which does not matter here.
    said = done.stderr.splitlines(keepends=True)
    done.stderr = "".join(line for line in said if not line.endswith("real speech.\n"))
    return done


def lines(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Return the texts of a transcript."""
    return [line.partition(": ")[2] for line in done.stdout.splitlines()]


def test_faint_speech_above_an_offset_is_heard(sound: Samples, tmp_path: Path) -> None:
    """An offset of 1.8 % of full scale changes no word spoken in a quiet room."""
    room = np.random.default_rng(0).standard_normal(len(sound)) * 4
    faint = np.round(sound * 10 ** (-30 / 20) + room)
    texts = []
    for offset in (0, 600):
        path = write_wav(tmp_path / f"{offset}.wav", (faint + offset).astype(np.int16), RATE)
        texts.append(lines(transcribe(path)))
    assert texts[0] == texts[1]
    assert len(texts[1]) == 3


def test_who_joins_late_stands_where_they_spoke(sound: Samples, tmp_path: Path) -> None:
    alice = record(tmp_path / "alice.mka", sound, "libopus", rate=48000)
    bruno = record(
        tmp_path / "bruno.webm",
        spoken(THIRD),
        "libopus",
        rate=48000,
        begin_s=len(sound) / RATE + 10,
        live="1",
    )
    done = transcribe(alice, bruno, "--format", "json")
    document = json.loads(done.stdout)
    assert [line["speaker"] for line in document["seglst"]] == ["alice"] * 3 + ["bruno"]
    last = document["seglst"][-1]
    assert last["start_time"] == pytest.approx(len(sound) / RATE + 10.3, abs=0.4)
    assert document["session"]["duration_s"] == pytest.approx(
        (len(sound) + len(spoken(THIRD))) / RATE + 10, abs=0.2
    )
    assert f"{bruno}: by its time stamps nothing was recorded" in done.stderr


def test_what_can_be_read_is_transcribed_and_the_rest_is_said(
    sound: Samples, tmp_path: Path
) -> None:
    good = write_wav(tmp_path / "good.wav", sound, RATE)
    empty, missing = tmp_path / "empty.wav", tmp_path / "missing.wav"
    empty.touch()
    done = transcribe(empty, good, missing, "--speaker", "Alice", "--speaker", "Bruno")
    assert done.returncode == 1
    assert f"{empty}: is empty (0 bytes)" in done.stderr
    assert f"{missing}: cannot be read as sound: No such file" in done.stderr
    assert len(lines(done)) == 3
    assert all("] Bruno: " in line for line in done.stdout.splitlines())


def test_a_file_that_breaks_while_it_is_read_leaves_the_others(
    sound: Samples, tmp_path: Path
) -> None:
    """Its header is right, but no sound follows."""
    good = write_wav(tmp_path / "good.wav", sound, RATE)
    broken = record(tmp_path / "broken.flac", sound, "flac")
    content = broken.read_bytes()
    header = content.index(b"\xff\xf8")
    broken.write_bytes(content[:header] + bytes(len(content) - header))
    done = transcribe(good, broken)
    assert done.returncode == 1
    assert done.stderr.count(str(broken)) == 1
    assert len(lines(done)) == 3
    late = transcribe(good, broken, "--offset", "0", "--offset", "300", "--format", "json")
    assert late.returncode == 1
    assert json.loads(late.stdout)["session"]["duration_s"] < 100
    alone = transcribe(broken, "--output", tmp_path / "out")
    assert (alone.returncode, alone.stdout) == (1, "")
    assert str(broken) in alone.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("zeros", "it is silent from beginning to end"),
        ("noise", "there is no speech in it (level -"),
        ("short", "it is 0.00 s long"),
    ],
)
def test_an_empty_transcript_says_why(kind: str, reason: str, tmp_path: Path) -> None:
    noise = (np.random.default_rng(0).standard_normal(3 * RATE) * 20).astype(np.int16)
    made = {"zeros": np.zeros(3 * RATE, np.int16), "noise": noise, "short": noise[:3]}
    path = write_wav(tmp_path / "a.wav", made[kind], RATE)
    done = transcribe(path)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith(f"{path}: nothing was transcribed: {reason}")


def test_a_track_that_holds_only_anothers_speech_is_named(sound: Samples, tmp_path: Path) -> None:
    near = write_wav(tmp_path / "near.wav", sound, RATE)
    far = write_wav(tmp_path / "far.wav", sound // 4, RATE)
    done = transcribe(near, far)
    assert done.returncode == 0
    assert len(lines(done)) == 3
    assert f"{far}: nothing was transcribed: all speech in it is heard better" in done.stderr


def test_two_channels_that_cancel_each_other_are_heard_and_named(
    sound: Samples, tmp_path: Path
) -> None:
    path = write_wav(tmp_path / "a.wav", np.stack([sound, -sound], axis=1), RATE)
    done = transcribe(path)
    assert len(lines(done)) == 3
    assert f"{path}: its two channels cancel each other" in done.stderr


def test_further_sound_tracks_are_named(sound: Samples, tmp_path: Path) -> None:
    path = record(tmp_path / "a.mkv", sound, "libopus", rate=48000, tracks=2, video=True)
    done = transcribe(path)
    assert len(lines(done)) == 3
    assert f"{path}: has 2 sound tracks; only the first is used" in done.stderr


def test_one_file_twice_is_read_once_and_one_name_twice_is_said(
    sound: Samples, tmp_path: Path
) -> None:
    path = write_wav(tmp_path / "a.wav", sound, RATE)
    link = tmp_path / "b.wav"
    link.symlink_to(path)
    twice = transcribe(path, link)
    assert twice.returncode == 0
    assert f"{link}: given twice" in twice.stderr
    assert len(lines(twice)) == 3
    other = write_wav(tmp_path / "c.wav", spoken(THIRD), RATE)
    namesakes = transcribe(path, other, "--speaker", "Zoé", "--speaker", "Zoé")
    assert "Zoé: 2 tracks have this name" in namesakes.stderr


@pytest.mark.parametrize("place", ["no/such/folder/out", "recording.wav", ".", "circle"])
def test_the_place_of_the_output_is_tried_before_the_work(
    place: str, sound: Samples, tmp_path: Path
) -> None:
    path = write_wav(tmp_path / "recording.wav", sound, RATE)
    (tmp_path / "circle").symlink_to("circle")
    before = path.read_bytes()
    done = run("transcribe", path, "--output", tmp_path / place, "--model", "./no-such-model")
    assert done.returncode == 78
    assert done.stderr.startswith("--output: ")
    assert path.read_bytes() == before


def test_a_wrong_option_has_the_status_that_no_restart_follows(tmp_path: Path) -> None:
    done = run("transcribe", tmp_path / "a.wav", "--offset", "abc")
    assert done.returncode == 78
    assert "--offset" in done.stderr


def test_a_link_to_a_place_that_is_not_there_yet_is_left_alone(
    sound: Samples, tmp_path: Path
) -> None:
    path = write_wav(tmp_path / "recording.wav", sound, RATE)
    link, there = tmp_path / "link.txt", tmp_path / "there.txt"
    link.symlink_to(there)
    done = run("transcribe", path, "--output", link, "--model", "./no-such-model")
    assert "no-such-model" in done.stderr
    assert link.is_symlink()
    assert not there.exists()
    assert transcribe(path, "--output", link).returncode == 0
    assert there.read_text(encoding="utf-8")


def test_what_cannot_be_written_in_the_end_is_not_lost(sound: Samples, tmp_path: Path) -> None:
    """The output fails after the work is done, here because a device is full."""
    path = write_wav(tmp_path / "a.wav", sound, RATE)
    done = transcribe(path, "--output", "/dev/full")
    assert done.returncode == 1
    assert "/dev/full cannot be written: No space left on device" in done.stderr
    assert len(lines(done)) == 3


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_has_enough_ends_it_without_a_complaint(
    unbuffered: str, sound: Samples, tmp_path: Path
) -> None:
    path = write_wav(tmp_path / "a.wav", sound, RATE)
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        command("transcribe", path, "--model", MODEL),
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    os.close(writing)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


def test_a_name_that_is_no_text_is_written_all_the_same(sound: Samples, tmp_path: Path) -> None:
    path = write_wav(tmp_path / os.fsdecode(b"zo\xe9: 1.wav"), sound, RATE)
    done = transcribe(path)
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 3
    assert "] zo\ufffd: 1: " in done.stdout
