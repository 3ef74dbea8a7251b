"""Files that the real child process plays as if they were microphones."""

from __future__ import annotations

import os
import signal
import time
import wave
from typing import TYPE_CHECKING

import numpy as np
import pytest

from node.adapters.capture import (
    Block,
    FileSource,
    Opened,
    Overflowed,
)
from tests.rig.recorder import Recorder, Recorders, noise
from tests.rig.vmics import write_wav

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy.typing as npt


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
    start_at = time.monotonic() + 2  # both players are ready by then
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
