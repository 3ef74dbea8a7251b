"""Capture children as processes: their end, their parent's end, and broken streams."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from node.adapters import capture
from node.adapters.capture import (
    Block,
    CaptureProcess,
    Exited,
    Failed,
    FileSource,
    Opened,
    PortAudioSource,
)
from node.core.capture_records import HEADER
from tests.rig.processes import Program, alive, children, wait_until
from tests.rig.recorder import PATIENCE_S, Recorders, noise
from tests.rig.vmics import write_wav


def run_python(script: Path) -> Program:
    root = Path(capture.__file__).parents[2]
    return Program([sys.executable, script], env=dict(os.environ, PYTHONPATH=str(root)))


@pytest.fixture
def waiting(tmp_path: Path) -> FileSource:
    """A source that writes nothing for an hour."""
    wav = write_wav(tmp_path / "waiting.wav", noise(0.1, 16000, seed=10), 16000)
    return FileSource(wav, loop=False, start_at=time.monotonic() + 3600)


def test_child_dies_with_its_parent(tmp_path: Path, waiting: FileSource) -> None:
    """Even if it never writes, and so never notices a broken pipe."""
    script = tmp_path / "parent.py"
    script.write_text(
        "import pathlib, select, signal\n"
        "from node.adapters.capture import CaptureProcess, FileSource\n"
        f"source = FileSource(pathlib.Path({str(waiting.file)!r}), False, {waiting.start_at!r})\n"
        "process = CaptureProcess(source)\n"
        "process.start()\n"
        "select.select([process], [], [])\n"
        "print('opened', process.read(), flush=True)\n"
        "signal.pause()\n"
    )
    with run_python(script) as parent:
        parent.wait_output("opened", PATIENCE_S)
        [child] = children(parent.pid)
        parent.signal(signal.SIGKILL)
        wait_until(lambda: not alive(child), 3, "the child is gone")


def test_no_child_outlives_its_end_or_kill(
    tmp_path: Path, waiting: FileSource, recorders: Recorders
) -> None:
    others = set(children(os.getpid()))  # perhaps a broker that serves all tests
    recorders.start_failing(FileSource(tmp_path / "none.wav", loop=False, start_at=0))
    process = CaptureProcess(waiting)
    process.start()
    descriptor = process.fileno()
    process.kill()
    process.kill()
    assert set(children(os.getpid())) <= others
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_killed_child_ends_once_with_its_signal(waiting: FileSource, recorders: Recorders) -> None:
    recorder = recorders.start(waiting)
    recorders.read_until(lambda: recorder.events, "it opens")
    os.kill(recorder.process.pid, signal.SIGKILL)
    recorders.read_until(lambda: recorder.ended, "its end is seen")
    assert recorder.events[1:] == [Exited(-signal.SIGKILL)]
    assert recorder.process.read() == []


SILENT = b'{"rate": 0, "channels": 1, "name": "desk"}'


@pytest.mark.parametrize(
    "garbage",
    [
        b"Hello, this is a library that prints to standard output\n",
        HEADER.pack(b"DATA", 1 << 30, 0.0),
        HEADER.pack(b"WHAT", 0, 0.0),
        HEADER.pack(b"OPEN", 2, 0.0) + b"{}",
        HEADER.pack(b"FAIL", 1, 0.0) + b"{",
        HEADER.pack(b"OPEN", len(SILENT), 0.0) + SILENT,
        HEADER.pack(b"DATA", 2, 0.0) + b"\0\0",
    ],
    ids=["text", "too long", "unknown", "incomplete", "broken JSON", "no rate", "not opened"],
)
def test_stream_that_makes_no_sense_ends_the_child(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recorders: Recorders, garbage: bytes
) -> None:
    child = tmp_path / "child.py"
    child.write_text(f"import os, signal\nos.write(1, {garbage!r})\nsignal.pause()\n")
    monkeypatch.setattr(capture, "CHILD", child)
    recorder = recorders.start(PortAudioSource("desk"))
    recorders.read_until(lambda: recorder.ended, "the stream is given up")
    assert [type(event) for event in recorder.events] == [Failed, Exited]
    assert not alive(recorder.process.pid)


def test_record_in_pieces_is_put_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recorders: Recorders
) -> None:
    opening = b'{"rate": 16000, "channels": 1, "name": "desk"}'
    record = HEADER.pack(b"OPEN", len(opening), 12.0) + opening
    record += HEADER.pack(b"DATA", 4, 12.5) + b"\1\2\3\4"
    child = tmp_path / "child.py"
    child.write_text(
        "import os, time\n"
        f"for byte in {record!r}:\n"
        "    os.write(1, bytes([byte]))\n"
        "    time.sleep(0.002)\n"
    )
    monkeypatch.setattr(capture, "CHILD", child)
    recorder = recorders.start(PortAudioSource("desk"))
    recorders.read_until(lambda: recorder.ended, "the child ends")
    opened, *sound = recorder.events
    assert opened == Opened(16000, 1, "desk")
    assert sound == [Block(b"\1\2\3\4", 12.5), Exited(0)]


def test_child_cannot_speak_to_systemd(
    monkeypatch: pytest.MonkeyPatch, waiting: FileSource, recorders: Recorders
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/systemd/notify")
    recorder = recorders.start(waiting)
    recorders.read_until(lambda: recorder.events, "it opens")
    environment = Path(f"/proc/{recorder.process.pid}/environ").read_bytes()
    assert b"PATH=" in environment
    assert b"NOTIFY_SOCKET" not in environment


@pytest.mark.usefixtures("virtual_mics")
def test_capture_works_without_memory_that_is_writable_and_executable(tmp_path: Path) -> None:
    """The systemd unit sets MemoryDenyWriteExecute; children inherit it as they do here."""
    script = tmp_path / "hardened.py"
    script.write_text(
        "import ctypes, select\n"
        "from node.adapters.capture import Block, CaptureProcess, PortAudioSource\n"
        "assert ctypes.CDLL(None).prctl(65, 1, 0, 0, 0) == 0, 'PR_SET_MDWE is missing'\n"
        "process = CaptureProcess(PortAudioSource('desk'))\n"
        "process.start()\n"
        "events = []\n"
        "while not any(isinstance(event, Block) for event in events):\n"
        "    select.select([process], [], [])\n"
        "    events += process.read()\n"
        "    assert 'Ended' not in repr(events), events\n"
        "process.kill()\n"
        "print('delivered')\n"
    )
    with run_python(script) as program:
        status = program.wait(PATIENCE_S)
        if "PR_SET_MDWE is missing" in program.output():
            pytest.skip("this kernel is older than 6.3")
        assert status == 0, program.output()
        assert "delivered" in program.output()
