"""The demo as a newcomer runs it, and the same recordings through `transcribe`."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from typing import TYPE_CHECKING, Any

import jiwer
import psutil
import pytest

from tests.rig.node import MODEL, ROOT
from tests.rig.processes import Program, alive, need, wait_until

if TYPE_CHECKING:
    from pathlib import Path

DEMO = ROOT / "config" / "demo"
REFERENCE: list[dict[str, Any]] = json.loads((DEMO / "reference.json").read_text(encoding="utf-8"))
MAX_WER = 0.05  # 0 when measured; a word or two may go on a starved machine


def said() -> list[str]:
    """`Alice: Good morning everyone.`, in order of speech."""
    ordered = sorted(REFERENCE, key=lambda spoken: spoken["start"])
    return [f"{spoken['speaker']}: {spoken['text']}" for spoken in ordered]


def wer(lines: list[str]) -> float:
    """Word error rate with the speaker as the first word of each line."""
    return float(jiwer.wer(" ".join(said()), " ".join(lines)))


def test_the_demo_shows_the_meeting_and_goes_on_serving(tmp_path: Path) -> None:
    need("mosquitto", "make")
    env = {**os.environ, "XDG_DATA_HOME": str(tmp_path), "COLUMNS": "120"}
    with Program(["make", "run"], env, ROOT) as demo:
        demo.wait_output("Ctrl-C ends it", 240)
        page = re.search(r"The same as a page: open (http://127\.0\.0\.1:\d+/)", demo.output())
        assert page, demo.output()
        with urllib.request.urlopen(f"{page[1]}get_transcriptions", timeout=60) as answer:  # noqa: S310
            assert "Alice: " in json.load(answer)["transcription"]
        processes = [process.pid for process in psutil.Process(demo.pid).children(recursive=True)]
        demo.signal_group(signal.SIGINT)
        demo.wait(30)
        wait_until(lambda: not any(alive(pid) for pid in processes), 10, "all has ended")
        output = demo.output()
    assert "demonstration model" in output
    assert re.search(r"point MQTT Explorer at localhost:\d+", output)
    live, _, merged = output.partition("Transcript, in order of speech")
    assert sum(spoken["text"] in live for spoken in REFERENCE) >= 0.9 * len(REFERENCE)
    lines = re.findall(r"\[\d\d:\d\d:\d\d\] (.+?) *│", merged)
    assert wer(lines) <= MAX_WER
    (text,) = (tmp_path / "scribe-node-demo/transcripts").glob("*.txt")
    assert str(text) in output.replace("\n", "")


@pytest.mark.parametrize("form", ["text", "json", "srt", "vtt", "md"])
def test_transcribe_takes_recorded_tracks(form: str, tmp_path: Path) -> None:
    tracks = [DEMO / f"mic-{name}.wav" for name in ("alice", "bruno", "chloe")]
    output = tmp_path / "out"
    names = [part for name in ("Alice", "Bruno", "Chloé") for part in ("--speaker", name)]
    command: list[str | Path] = [sys.executable, "-m", "node", "transcribe", *tracks]
    command += [*names, "--model", MODEL]
    subprocess.run([*command, "--format", form, "--output", output], cwd=ROOT, check=True)
    text = output.read_text(encoding="utf-8")
    if form == "text":
        assert wer([line.partition("] ")[2] for line in text.splitlines()]) <= MAX_WER
    elif form == "json":
        document = json.loads(text)
        assert len(document["seglst"]) == len(REFERENCE)
        first = document["seglst"][0]
        assert abs(first["start_time"] - REFERENCE[0]["start"]) < 0.5
    elif form == "md":
        assert text.startswith("**Alice**, **Bruno**, **Chloé**\n\n**Alice** (00:00:0")
        assert sum(spoken["text"] in text for spoken in REFERENCE) >= 0.9 * len(REFERENCE)
    else:
        assert text.count(" --> ") == len(REFERENCE)


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["missing.wav"], 1, "missing.wav: cannot be read as sound"),
        ([str(DEMO / "node.yaml")], 1, "cannot be read as sound"),
        ([str(DEMO / "mic-alice.wav"), "--model", "./nowhere"], 1, "transcription.model"),
        ([str(DEMO / "mic-alice.wav"), "--language", "xx"], 78, "--language"),
        ([str(DEMO / "mic-alice.wav"), "--speaker", "A", "--speaker", "B"], 78, "--speaker"),
        (
            [str(DEMO / "mic-alice.wav"), "--offset", "1", "--offset", "2"],
            78,
            "2 offsets for 1 file",
        ),
        ([str(DEMO / "mic-alice.wav"), "--offset", "nan"], 78, "--offset: nan"),
        ([str(DEMO / "mic-alice.wav"), "--offset", "90000"], 78, "--offset: 90000"),
    ],
)
def test_transcribe_says_what_is_wrong(arguments: list[str], status: int, words: str) -> None:
    command = [sys.executable, "-m", "node", "transcribe", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
