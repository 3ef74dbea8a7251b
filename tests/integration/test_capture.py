"""Microphones through the real child process and PortAudio, on virtual microphones."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from node.adapters.capture import (
    CardSource,
    Exited,
    Failed,
    Opened,
    Overflowed,
    PortAudioSource,
    list_inputs,
)
from node.errors import MicError
from tests.rig.patience import stretched
from tests.rig.processes import alive
from tests.rig.recorder import Recorders, correlation, noise
from tests.rig.vmics import VirtualMic, VirtualMics

if TYPE_CHECKING:
    from pathlib import Path

    from node.adapters.capture import CaptureSource


@pytest.mark.usefixtures("virtual_mics")
def test_inputs_are_listed() -> None:
    assert {device.name for device in list_inputs()} == {"desk", "wall"}


def test_an_input_whose_name_is_no_utf_8_hides_no_other(
    virtual_mics: VirtualMics, monkeypatch: pytest.MonkeyPatch, recorders: Recorders
) -> None:
    config = virtual_mics.folder / "latin1.conf"
    plain = (virtual_mics.folder / "asound.conf").read_bytes()
    strange = plain[plain.index(b"pcm.desk") :].replace(b"pcm.desk", b'pcm."caf\xe9"', 1)
    config.write_bytes(plain + strange[: strange.index(b"\n}\n") + 3])
    monkeypatch.setenv("ALSA_CONFIG_PATH", str(config))
    assert {device.name for device in list_inputs()} == {"desk", "wall"}
    recorders.start_delivering(PortAudioSource("desk", (16000,)))


@pytest.mark.parametrize(
    "said",
    [b"", b"\xff{", b"[", b"[1, 2]", b"7", b'{"inputs": [{"name": "desk"}], "nameless": 0}'],
)
def test_a_list_of_inputs_that_is_none_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    """As if the child had been killed on its way, for lack of memory."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "sounddevice.py").write_text(
        f"import os, sys; os.write(int(os.environ.get('OUT', '3')), {said!r}); os._exit(0)"
    )
    with pytest.raises(MicError, match="gave no list and exited with status 0"):
        list_inputs()


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
    with VirtualMics([VirtualMic("mic", 44100)]) as mics:
        mics.show_to_children(monkeypatch)
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


def test_stereo_microphone_is_taken_as_one_channel(
    monkeypatch: pytest.MonkeyPatch, recorders: Recorders
) -> None:
    with VirtualMics([VirtualMic("mic", 16000, channels=2)]) as mics:
        mics.show_to_children(monkeypatch)
        recorder = recorders.start_delivering(PortAudioSource("mic", (16000,)))
        sound = noise(0.5, 16000, seed=4)
        mics.play("mic", np.stack([sound, sound], axis=1))
        recorders.read_until(
            lambda: correlation(recorder.samples()[:, 0], sound) > 0.95, "the sound comes"
        )
    assert recorder.opened.channels == 1


# PortAudio opens one channel of any ALSA device, so this case has to be faked.
REFUSES_MONO = """
import time
class PortAudioError(Exception): pass
def query_devices(index):
    if index > 0:
        raise PortAudioError("Error querying device 1")
    return dict(index=0, name="pair", max_input_channels=4, default_samplerate=48000.0)
class RawInputStream:
    def __init__(self, samplerate, channels, **_options):
        self.samplerate, self.channels = samplerate, channels
    def start(self):
        if self.samplerate != 48000 or self.channels == 1:
            raise PortAudioError("Invalid number of channels", -9998)
    def close(self): pass
    def read(self, frames):
        time.sleep(frames / self.samplerate)
        return bytes(range(2 * self.channels)) * frames, False
"""


def test_device_without_mono_delivers_its_fewest_channels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recorders: Recorders
) -> None:
    (tmp_path / "sounddevice.py").write_text(REFUSES_MONO)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    recorder = recorders.start_delivering(PortAudioSource("pair", (16000, 48000)))
    assert recorder.opened == Opened(48000, 2, "pair")
    assert recorder.blocks[0].pcm[:8] == b"\0\1\2\3" * 2


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
    assert desk.events[-1] == Exited(1)

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
    assert time.monotonic() - start < stretched(1)
    assert not alive(pid)
    assert desk.process.read() == []


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
