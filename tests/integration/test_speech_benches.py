"""The benchmarks on a folder of a few espeak-ng sentences, with the demo's model."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from config.demo.speech import write_wav
from tests.bench.words.__main__ import PLACE
from tests.model.grammar import sentence
from tests.model.say import say
from tests.rig.node import ROOT
from tests.rig.processes import need

if TYPE_CHECKING:
    from pathlib import Path

SPEAKERS = (("ann", "en", "en-us"), ("bob", "fr", "fr-fr+m3"))
SENTENCES_EACH = 6


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    need("espeak-ng")
    folder: Path = tmp_path_factory.mktemp("speech")
    rng, lines = random.Random(2), []
    for speaker, lang, voice in SPEAKERS:
        for number in range(SENTENCES_EACH):
            text, name = sentence(lang, rng), f"{speaker}-{number}"
            write_wav(folder / f"{name}.wav", say(text, lang, voice), 16000)
            known = {"id": name, "lang": lang, "speaker": speaker, "text": text, "kind": "espeak"}
            lines.append(json.dumps({**known, "file": f"{name}.wav"}))
    (folder / "manifest.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return folder


def bench(name: str, *options: str | Path) -> str:
    """Return what a benchmark prints for the demo's model."""
    command = [sys.executable, "-m", f"tests.bench.{name}", "--model", "demo", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_words_of_clips(speech: Path, tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text(f"<!-- {PLACE} -->\n<!-- end of {PLACE} -->\n", encoding="utf-8")
    printed = bench("words", "--speech", speech, "--worst", "1", "--into", page)
    rows = [line.split("|")[1:-1] for line in printed.splitlines() if line.startswith("| ")]
    assert [row[0].strip() for row in rows] == ["Speech", "espeak, en", "espeak, fr", "all"]
    assert [row[1].strip() for row in rows[1:]] == ["6", "6", "12"]
    # The demo's model has not learned text after other text: "node" means nothing here.
    alone = rows[0].index(" word errors: node, each alone ")
    assert float(rows[-1][alone].split()[0]) < 10
    assert rows[-1][rows[0].index(" right language: node, each alone ")].strip() == "12"
    assert "    node, " in printed
    assert "| all | 12 |" in page.read_text(encoding="utf-8")


def test_words_through_the_whole_program(speech: Path) -> None:
    printed = bench("words", "--speech", speech, "--through", "--worst", "1")
    last = next(line for line in printed.splitlines() if line.startswith("| all "))
    assert last.startswith("| all | 2 | 12 |")
    assert float(last.split("|")[-2].split()[0]) < 30
    assert "    transcribe: " in printed


def test_words_behind_a_fan(speech: Path, tmp_path: Path) -> None:
    lines = (speech / "manifest.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    for name in (json.loads(lines[0])["file"], json.loads(lines[-1])["file"]):
        (tmp_path / name).symlink_to(speech / name)
    (tmp_path / "manifest.jsonl").write_text(lines[0] + lines[-1], encoding="utf-8")
    printed = bench("words", "--speech", tmp_path, "--fan", "--level", "-30")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in printed.splitlines()]
    assert [row[:3] for row in rows[2:] if len(row) > 1] == [
        ["-30 dBFS", "1 s", "2"],
        ["-30 dBFS", "120 s", "2"],
    ]
    assert all(row[5] == "0" for row in rows[2:4]), "a voice 25 dB above the fan is heard"


def test_words_without_speech_says_where_to_get_some() -> None:
    command = [sys.executable, "-m", "tests.bench.words"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "openslr.org/12" in done.stderr


def test_speed(speech: Path) -> None:
    options = ("--quick", "--length", "20", "--threads", "1", "--speech", speech)
    printed = bench("speed", *options, "--systems", "ours", "floor", "faster-blocks")
    assert "| this node, from the tracks | " in printed
    assert "second looks " in printed


def need_simulation() -> None:
    for extra in ("meeteval", "pyroomacoustics"):
        pytest.importorskip(extra, reason="make bench-accuracy installs it")


def test_accuracy(speech: Path, tmp_path: Path) -> None:
    need_simulation()
    figures, systems = tmp_path / "figures.json", ("oracle", "drop", "auxiva", "best-mic")
    rows = ("2@-3,0%,two", "2@-10,0%,two")
    options = ("--meetings", "1", "--length", "12", "--jobs", "1", "--json", figures)
    made = ("--speech", speech, "--cache", tmp_path / "cache", *options)
    printed = bench("accuracy", *made, "--systems", *systems, "--rows", *rows)
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in printed.splitlines()]
    assert [line[:2] for line in lines if line and "@" in line[0]] == [
        [row, system] for row in rows for system in systems
    ]
    summed = lines.index(next(line for line in lines if line[:1] == ["All rows"]))
    assert [line[0] for line in lines[summed + 2 : summed + 6]] == list(systems)
    loud, faint = json.loads(figures.read_text(encoding="utf-8"))["meetings"]
    assert loud["systems"]["oracle"] == faint["systems"]["oracle"]
    assert loud["systems"]["drop"]["words"] == faint["systems"]["drop"]["words"]
    assert loud["took_s"]["drop"] > 0


def test_accuracy_leaves_out_what_nobody_can_speak_unless_it_is_asked_for(
    speech: Path, tmp_path: Path
) -> None:
    need_simulation()
    made = ("--speech", speech, "--cache", tmp_path, "--jobs", "1", "--systems", "oracle")
    printed = bench("accuracy", *made, "--quick", "--length", "12")
    assert "Left out: 4@-10,10%: 4 people are needed; there are 2 who speak briefly" in printed
    assert "2@-10,10% meeting 1: oracle" in printed
    command = [sys.executable, "-m", "tests.bench.accuracy", "--model", "demo"]
    asked = [*command, *map(str, made), "--rows", "2@-10,10%,one"]
    done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "2 people (one) are needed; there are 1 of en, 1 of fr" in done.stderr
