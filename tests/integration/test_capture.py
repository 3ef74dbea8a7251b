"""Capture through the real child process and the real PortAudio, on virtual microphones."""

from __future__ import annotations

import os
import select
import signal
import sys
import time
import wave
from typing import TYPE_CHECKING

import numpy as np
import pytest

from node.adapters import capture
from node.adapters.capture import (
    Block,
    CaptureProcess,
    CardSource,
    Ended,
    Failed,
    FileSource,
    Opened,
    Overflowed,
    PortAudioSource,
    list_inputs,
)
from node.errors import MicError
from tests.rig.processes import Program, alive, children, wait_until
from tests.rig.vmics import VirtualMic, VirtualMics, write_wav

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import numpy.typing as npt

    from node.adapters.capture import CaptureEvent, CaptureSource

PATIENCE_S = 10


def noise(seconds: float, rate: int, seed: int, channels: int = 1) -> npt.NDArray[np.int16]:
    """Return white noise, shape (frames,) or (frames, channels), unlike that of any other seed."""
    frames = round(seconds * rate)
    shape = (frames,) if channels == 1 else (frames, channels)
    return np.random.default_rng(seed).integers(-12000, 12000, shape, dtype=np.int16)


def correlation(recorded: npt.NDArray[np.int16], played: npt.NDArray[np.int16]) -> float:
    """Return the normalised correlation of `played` with where it fits best in `recorded`."""
    if len(recorded) < len(played):
        return 0.0
    size = len(recorded) + len(played)
    spectrum = np.fft.rfft(recorded, size) * np.fft.rfft(played, size).conj()
    lag = int(np.argmax(np.fft.irfft(spectrum, size)[: len(recorded) - len(played) + 1]))
    found = recorded[lag : lag + len(played)].astype(float)
    norm = float(np.linalg.norm(found) * np.linalg.norm(played.astype(float)))
    return float(found @ played.astype(float)) / norm if norm else 0.0


class Recorder:
    """Keeps all the events of one capture process."""

    def __init__(self, source: CaptureSource) -> None:
        self.process = CaptureProcess(source)
        self.events: list[CaptureEvent] = []

    @property
    def blocks(self) -> list[Block]:
        return [event for event in self.events if isinstance(event, Block)]

    @property
    def opened(self) -> Opened:
        return next(event for event in self.events if isinstance(event, Opened))

    @property
    def reason(self) -> str:
        return next(event.reason for event in self.events if isinstance(event, Failed))

    @property
    def ended(self) -> bool:
        return any(isinstance(event, Ended) for event in self.events)

    def samples(self) -> npt.NDArray[np.int16]:
        pcm = b"".join(block.pcm for block in self.blocks)
        return np.frombuffer(pcm, "<i2").reshape(-1, self.opened.channels)


class Recorders:
    """Starts recorders, and reads them all while it waits for something."""

    def __init__(self) -> None:
        self._all: list[Recorder] = []

    def start(self, source: CaptureSource) -> Recorder:
        recorder = Recorder(source)
        recorder.process.start()
        self._all.append(recorder)
        return recorder

    def read_until(
        self, condition: Callable[[], object], message: str, timeout: float = PATIENCE_S
    ) -> None:
        deadline = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > deadline:
                events = [recorder.events[-3:] for recorder in self._all]
                pytest.fail(f"not within {timeout} s: {message}; last events: {events}")
            running = [recorder for recorder in self._all if not recorder.ended]
            ready, _, _ = select.select([one.process for one in running], [], [], 0.05)
            for recorder in running:
                if recorder.process in ready:
                    recorder.events += recorder.process.read()

    def read_for(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        self.read_until(lambda: time.monotonic() > end, "time passes", seconds + 1)

    def start_delivering(self, source: CaptureSource) -> Recorder:
        recorder = self.start(source)
        self.read_until(lambda: recorder.blocks or recorder.ended, f"{source} delivers")
        assert recorder.blocks, recorder.events
        return recorder

    def start_failing(self, source: CaptureSource) -> str:
        """Return the reason of a source that cannot be opened."""
        recorder = self.start(source)
        self.read_until(lambda: recorder.ended, f"{source} fails")
        assert recorder.events[1:] == [Ended(1)], recorder.events
        return recorder.reason

    def kill(self) -> None:
        for recorder in self._all:
            recorder.process.kill()


@pytest.fixture
def recorders() -> Iterator[Recorders]:
    group = Recorders()
    yield group
    group.kill()


# --- Microphones


@pytest.mark.usefixtures("virtual_mics")
def test_inputs_are_listed() -> None:
    assert {device.name for device in list_inputs()} == {"desk", "wall"}


def test_two_microphones_deliver_each_its_own_sound(
    virtual_mics: VirtualMics, recorders: Recorders
) -> None:
    desk = recorders.start_delivering(PortAudioSource("desk", (16000,)))
    wall = recorders.start_delivering(PortAudioSource("wall", (48000,)))
    desk_sound, wall_sound = noise(1, 16000, seed=1), noise(1, 48000, seed=2)
    virtual_mics.play("desk", desk_sound)
    virtual_mics.play("wall", wall_sound)

    recorders.read_until(
        lambda: (
            correlation(desk.samples()[:, 0], desk_sound) > 0.95
            and correlation(wall.samples()[:, 0], wall_sound) > 0.95
        ),
        "both deliver what is played",
    )
    assert desk.opened == Opened(16000, 1, "desk")
    assert wall.opened == Opened(48000, 1, "wall")
    assert correlation(wall.samples()[:, 0], desk_sound) < 0.3
    assert Overflowed() not in desk.events + wall.events


@pytest.mark.parametrize("rates", [(44100,), (1_000_000, 44100)], ids=["taken", "first refused"])
def test_first_rate_that_the_device_takes_is_used(
    monkeypatch: pytest.MonkeyPatch, recorders: Recorders, rates: tuple[int, ...]
) -> None:
    with VirtualMics([VirtualMic("mic", 44100)]) as mics, monkeypatch.context() as patch:
        for name, value in mics.env.items():
            patch.setenv(name, value)
        recorder = recorders.start_delivering(PortAudioSource("mic", rates))
        sound = noise(0.5, 44100, seed=3)
        mics.play("mic", sound)
        recorders.read_until(
            lambda: correlation(recorder.samples()[:, 0], sound) > 0.95, "the sound comes"
        )
    assert recorder.opened.rate == 44100


@pytest.mark.usefixtures("virtual_mics")
def test_device_that_takes_no_rate_fails_with_the_reasons(recorders: Recorders) -> None:
    reason = recorders.start_failing(PortAudioSource("desk", (1_000_000, 2_000_000)))
    assert "'desk'" in reason
    assert "1000000 Hz" in reason
    assert "2000000 Hz" in reason
    assert "Invalid sample rate" in reason


# A device of exactly two channels, as many USB interfaces are; `multi` wants a slave with mmap.
STEREO_ONLY = """\
pcm.mapped { type mmap_emul slave.pcm "mic" }
pcm.pair {
  type multi
  slaves.a { pcm "mapped" channels 2 }
  bindings.0 { slave a channel 0 }
  bindings.1 { slave a channel 1 }
  hint { show on description "two channels" }
}
"""


def test_stereo_device_delivers_interleaved_channels(
    monkeypatch: pytest.MonkeyPatch, recorders: Recorders
) -> None:
    stereo = VirtualMic("mic", 16000, channels=2)
    with VirtualMics([stereo], STEREO_ONLY) as mics, monkeypatch.context() as patch:
        for name, value in mics.env.items():
            patch.setenv(name, value)
        recorder = recorders.start_delivering(PortAudioSource("pair", (16000,)))
        sound = noise(0.5, 16000, seed=4, channels=2)
        mics.play("mic", sound)
        recorders.read_until(
            lambda: correlation(recorder.samples()[:, 1], sound[:, 1]) > 0.95, "the sound comes"
        )
        recorders.read_until(
            lambda: correlation(recorder.samples()[:, 0], sound[:, 0]) > 0.95, "so does the left"
        )
    assert recorder.opened.channels == 2


@pytest.mark.usefixtures("virtual_mics")
def test_part_of_a_name_is_enough_where_it_fits_one_device(recorders: Recorders) -> None:
    assert recorders.start_delivering(PortAudioSource("DES")).opened.name == "desk"


@pytest.mark.usefixtures("virtual_mics")
@pytest.mark.parametrize(
    ("source", "words"),
    [
        (PortAudioSource("attic"), ["'attic'", "plugged in", "'desk'"]),
        (PortAudioSource(""), ["several", "'desk'", "'wall'"]),
        (CardSource(7, 0), ["hw:7,0", "plugged in"]),
    ],
)
def test_device_that_is_not_there_fails_naming_it(
    recorders: Recorders,
    capfd: pytest.CaptureFixture[str],
    source: CaptureSource,
    words: list[str],
) -> None:
    reason = recorders.start_failing(source)
    assert [word for word in words if word not in reason] == [], reason
    assert capfd.readouterr().err == ""


def test_unplugged_microphone_fails_and_the_other_goes_on(
    virtual_mics: VirtualMics, recorders: Recorders
) -> None:
    desk = recorders.start_delivering(PortAudioSource("desk"))
    wall = recorders.start_delivering(PortAudioSource("wall"))
    virtual_mics.unplug("desk")
    recorders.read_until(lambda: desk.ended, "the end of desk is seen", timeout=3)
    assert isinstance(desk.events[-2], Failed)
    assert "'desk'" in desk.reason
    assert desk.events[-1] == Ended(1)

    before = len(wall.blocks)
    recorders.read_until(lambda: len(wall.blocks) >= before + 10, "wall goes on", timeout=3)

    virtual_mics.plug("desk")
    recorders.start_delivering(PortAudioSource("desk"))


def test_frozen_microphone_is_silent_and_can_be_killed(
    virtual_mics: VirtualMics, recorders: Recorders
) -> None:
    desk = recorders.start_delivering(PortAudioSource("desk"))
    wall = recorders.start_delivering(PortAudioSource("wall"))
    virtual_mics.freeze("desk")
    recorders.read_for(0.3)  # what was on its way
    desk_before, wall_before = len(desk.blocks), len(wall.blocks)
    recorders.read_until(lambda: len(wall.blocks) >= wall_before + 20, "wall goes on")
    assert len(desk.blocks) == desk_before
    assert not desk.ended

    pid, start = desk.process.pid, time.monotonic()
    desk.process.kill()
    assert time.monotonic() - start < 1
    assert not alive(pid)
    assert desk.process.read() == []


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
        "    assert process.read() is not None and 'Ended' not in repr(events), events\n"
        "process.kill()\n"
        "print('delivered')\n"
    )
    with Program([sys.executable, script], env=dict(os.environ, PYTHONPATH=os.getcwd())) as program:  # noqa: PTH109
        status = program.wait(PATIENCE_S)
        if "PR_SET_MDWE is missing" in program.output():
            pytest.skip("this kernel is older than 6.3")
        assert status == 0, program.output()
        assert "delivered" in program.output()


def test_missing_portaudio_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recorders: Recorders
) -> None:
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(MicError, match="libportaudio2"):
        list_inputs()
    assert "libportaudio2" in recorders.start_failing(PortAudioSource("desk"))


def test_hanging_and_crashing_portaudio_are_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    module = tmp_path / "sounddevice.py"
    module.write_text("import time; time.sleep(60)")
    with pytest.raises(MicError, match=r"within 0\.5 s"):
        list_inputs(timeout_s=0.5)
    module.write_text("import os; os.abort()")
    with pytest.raises(MicError, match="signal 6"):
        list_inputs()


# --- Files


def first_frame(block: Block, source: FileSource, opened: Opened) -> int:
    """Return the position in the file that a block starts at, by its time."""
    frames = len(block.pcm) // (2 * opened.channels)
    return round((block.time - source.start_at) * opened.rate) - frames


def expected(sound: npt.NDArray[np.int16], start: int, size: int) -> bytes:
    """Return the block of a file from frame `start` on: its sound, then silence."""
    pcm = sound[start:].astype("<i2").tobytes()[:size]
    return pcm.ljust(size, b"\0")


def test_files_are_played_in_real_time_and_aligned(tmp_path: Path, recorders: Recorders) -> None:
    sounds = [noise(0.6, 16000, seed=5), noise(0.5, 44100, seed=6, channels=2)]
    start_at = time.monotonic() + 0.2
    pairs = []
    for number, (sound, rate) in enumerate(zip(sounds, (16000, 44100), strict=True)):
        wav = write_wav(tmp_path / f"{number}.wav", sound, rate)
        source = FileSource(wav, loop=False, start_at=start_at)
        pairs.append((recorders.start(source), source, sound))

    def seconds(recorder: Recorder) -> float:
        return recorder.blocks[-1].time - start_at if recorder.blocks else 0

    while min(seconds(recorder) for recorder, _, _ in pairs) < 0.8:
        recorders.read_until(
            lambda: all(recorder.blocks for recorder, _, _ in pairs), "both files play"
        )
        recorders.read_for(0.05)
        for recorder, _, _ in pairs:
            assert recorder.blocks[-1].time <= time.monotonic()
            assert seconds(recorder) > time.monotonic() - start_at - 0.5

    for recorder, source, sound in pairs:
        starts = [first_frame(block, source, recorder.opened) for block in recorder.blocks]
        assert starts[0] == 0
        for start, block in zip(starts, recorder.blocks, strict=True):
            assert block.pcm == expected(sound, start, len(block.pcm))


def test_file_started_late_goes_on_where_it_would_be(tmp_path: Path, recorders: Recorders) -> None:
    sound = noise(2, 16000, seed=7)
    wav = write_wav(tmp_path / "late.wav", sound, 16000)
    source = FileSource(wav, loop=False, start_at=time.monotonic() - 0.5)
    recorder = recorders.start_delivering(source)
    block = recorder.blocks[0]
    start = first_frame(block, source, recorder.opened)
    assert 8000 <= start < 24000
    assert block.pcm == expected(sound, start, len(block.pcm))


def test_looped_file_starts_again_without_a_gap(tmp_path: Path, recorders: Recorders) -> None:
    sound = noise(0.1, 16000, seed=8)
    wav = write_wav(tmp_path / "loop.wav", sound, 16000)
    recorder = recorders.start(FileSource(wav, loop=True, start_at=time.monotonic() + 0.2))
    recorders.read_until(lambda: len(recorder.blocks) >= 12, "the file plays")
    played = recorder.samples()[:, 0]
    assert (played == np.resize(sound, len(played))).all()


def test_file_player_held_up_loses_sound_and_says_so(tmp_path: Path, recorders: Recorders) -> None:
    sound = noise(4, 16000, seed=9)
    wav = write_wav(tmp_path / "held.wav", sound, 16000)
    source = FileSource(wav, loop=False, start_at=time.monotonic())
    recorder = recorders.start_delivering(source)
    os.kill(recorder.process.pid, signal.SIGSTOP)
    recorders.read_for(1.3)
    os.kill(recorder.process.pid, signal.SIGCONT)
    recorders.read_until(lambda: isinstance(recorder.events[-2], Overflowed), "the loss is said")
    after = recorder.blocks[-1]
    start = first_frame(after, source, recorder.opened)
    assert after.pcm == expected(sound, start, len(after.pcm))


def write_8_bit(path: Path) -> None:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 1, 16000, 0, "NONE", "not compressed"))
        file.writeframes(b"\x80" * 100)


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda _path: None, "No such file"),
        (lambda path: path.write_bytes(b"ID3 no wave"), "not a PCM WAV"),
        (lambda path: path.write_bytes(b""), "not a PCM WAV"),
        (write_8_bit, "8 bits"),
        (lambda path: write_wav(path, np.zeros(0, np.int16), 16000), "0 samples"),
    ],
    ids=["missing", "other format", "empty", "8 bits", "no samples"],
)
def test_unfit_file_fails_naming_it(
    tmp_path: Path, recorders: Recorders, write: Callable[[Path], object], words: str
) -> None:
    path = tmp_path / "unfit.wav"
    write(path)
    reason = recorders.start_failing(FileSource(path, loop=False, start_at=time.monotonic()))
    assert str(path) in reason
    assert words in reason


# --- Processes


@pytest.fixture
def waiting(tmp_path: Path) -> FileSource:
    """A source that writes nothing for an hour."""
    wav = write_wav(tmp_path / "waiting.wav", noise(0.1, 16000, seed=10), 16000)
    return FileSource(wav, loop=False, start_at=time.monotonic() + 3600)


def test_child_dies_with_its_parent(tmp_path: Path, waiting: FileSource) -> None:
    """Also where it never writes, and so never learns from its pipe."""
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
    with Program([sys.executable, script], env=dict(os.environ, PYTHONPATH=os.getcwd())) as parent:  # noqa: PTH109
        parent.wait_output("opened", PATIENCE_S)
        [child] = children(parent.pid)
        parent.signal(signal.SIGKILL)
        wait_until(lambda: not alive(child), 3, "the child is gone")


def test_no_child_outlives_its_end_or_kill(
    tmp_path: Path, waiting: FileSource, recorders: Recorders
) -> None:
    recorders.start_failing(FileSource(tmp_path / "none.wav", loop=False, start_at=0))
    process = CaptureProcess(waiting)
    process.start()
    descriptor = process.fileno()
    process.kill()
    process.kill()
    assert children(os.getpid()) == []
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_killed_child_ends_once_with_its_signal(waiting: FileSource, recorders: Recorders) -> None:
    recorder = recorders.start(waiting)
    recorders.read_until(lambda: recorder.events, "it opens")
    os.kill(recorder.process.pid, signal.SIGKILL)
    recorders.read_until(lambda: recorder.ended, "its end is seen")
    assert recorder.events[1:] == [Ended(-signal.SIGKILL)]
    assert recorder.process.read() == []


@pytest.mark.parametrize(
    "garbage",
    [
        b"Hello, this is a library that prints to standard output\n",
        capture.HEADER.pack(b"DATA", 1 << 30, 0.0),
        capture.HEADER.pack(b"WHAT", 0, 0.0),
        capture.HEADER.pack(b"OPEN", 2, 0.0) + b"{}",
        capture.HEADER.pack(b"FAIL", 1, 0.0) + b"{",
    ],
    ids=["text", "too long", "unknown", "incomplete", "broken JSON"],
)
def test_stream_that_makes_no_sense_ends_the_child(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recorders: Recorders, garbage: bytes
) -> None:
    child = tmp_path / "child.py"
    child.write_text(f"import os, signal\nos.write(1, {garbage!r})\nsignal.pause()\n")
    monkeypatch.setattr(capture, "CHILD", child)
    recorder = recorders.start(PortAudioSource("desk"))
    recorders.read_until(lambda: recorder.ended, "the stream is given up")
    assert [type(event) for event in recorder.events] == [Failed, Ended]
    assert not alive(recorder.process.pid)


def test_record_in_pieces_is_put_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recorders: Recorders
) -> None:
    record = capture.HEADER.pack(b"DATA", 4, 12.5) + b"\1\2\3\4"
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
    assert recorder.events == [Block(b"\1\2\3\4", 12.5), Ended(0)]


def test_child_cannot_speak_to_systemd(
    monkeypatch: pytest.MonkeyPatch, waiting: FileSource, recorders: Recorders
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/systemd/notify")
    recorder = recorders.start(waiting)
    recorders.read_until(lambda: recorder.events, "it opens")
    with open(f"/proc/{recorder.process.pid}/environ", "rb") as environ:  # noqa: PTH123
        assert b"NOTIFY_SOCKET" not in environ.read()
