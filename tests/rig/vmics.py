"""Virtual microphones: a private PulseAudio daemon for each, and a private ALSA configuration.

PortAudio opens the ALSA PCM `<name>`, which is the monitor of that daemon's only sink: what is
played into the sink comes out of the microphone in real time. Each has its own daemon, because a
daemon that loses one of several sinks moves its listeners to another. No sound card, D-Bus, systemd
or root is needed. Debian: libportaudio2 libasound2-plugins pulseaudio pulseaudio-utils.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests.rig.processes import need, wait_until

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt
    import pytest

START_TIMEOUT_S = 10
AT_ONCE = ("nice", "-n", "-15")
"""A microphone is a device: it has sound however busy the processor is. Without the right to do
so, `nice` runs the program at normal priority."""

# User settings that would make PulseAudio's clients use other daemons than the test's.
FOREIGN_SETTINGS = ("PULSE_SERVER", "PULSE_SINK", "PULSE_SOURCE", "XDG_CONFIG_HOME")

ALSA_HEAD = """\
defaults.pcm.card 0
defaults.ctl.card 0
# PortAudio 19.6 aborts when neither `default` nor `dmix` is defined. This one can never be opened
# and so is not listed.
pcm.default { type hw card 99 }
"""
ALSA_MIC = """\
pcm.{name} {{
  type pulse
  server "unix:{socket}"
  device "mic.monitor"
  hint {{ show on description "virtual microphone {name}" }}
}}
"""


@dataclass(frozen=True, slots=True)
class VirtualMic:
    """A microphone: its PCM name, sample rate in Hz and channels.

    PortAudio treats names such as front, rear, side, center_lfe and surround40 as outputs.
    """

    name: str
    rate: int = 16000
    channels: int = 1


def write_wav(path: Path, samples: npt.NDArray[np.int16], rate: int) -> Path:
    """Write int16 samples, shape (frames,) or (frames, channels), as a WAV file at `rate` Hz."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.astype("<i2").tobytes())
    return path


class VirtualMics:
    """A set of microphones that are plugged in on entry and removed, with their files, on exit.

    A process with the environment `env` sees these microphones and no others.
    """

    def __init__(self, mics: Sequence[VirtualMic]) -> None:
        need("pulseaudio", "paplay")
        # Short names throughout: the path of a UNIX socket has at most 107 bytes.
        self.folder = Path(tempfile.mkdtemp(prefix="vmic-"))
        self._mics = {mic.name: mic for mic in mics}
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        self._players: list[subprocess.Popen[bytes]] = []
        self._clips = 0
        self._write_config()
        self.env = self._environment()

    def _write_config(self) -> None:
        (self.folder / "home").mkdir(mode=0o700)
        (self.folder / "client.conf").write_text("autospawn = no\nenable-shm = no\n")
        (self.folder / "cookie").write_bytes(os.urandom(256))
        pcms = [ALSA_MIC.format(name=name, socket=self._socket(name)) for name in self._mics]
        (self.folder / "asound.conf").write_text(ALSA_HEAD + "".join(pcms))
        for name in self._mics:
            (self.folder / name).mkdir(mode=0o700)

    def _environment(self) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if key not in FOREIGN_SETTINGS}
        return kept | {
            "ALSA_CONFIG_PATH": str(self.folder / "asound.conf"),
            "HOME": str(self.folder / "home"),
            "LC_ALL": "C.UTF-8",
            "PULSE_CLIENTCONFIG": str(self.folder / "client.conf"),
            "PULSE_COOKIE": str(self.folder / "cookie"),
            "DBUS_SESSION_BUS_ADDRESS": "disabled:",
        }

    def show_to_children(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let child processes see these microphones, until the test ends."""
        for name in FOREIGN_SETTINGS:
            monkeypatch.delenv(name, raising=False)
        for name, value in self.env.items():
            monkeypatch.setenv(name, value)

    def _socket(self, name: str) -> Path:
        return self.folder / name / "s"

    def _daemon_environment(self, name: str) -> dict[str, str]:
        folder = str(self.folder / name)
        return self.env | {
            "XDG_RUNTIME_DIR": folder,
            "PULSE_RUNTIME_PATH": folder,
            "PULSE_STATE_PATH": folder,
            "PULSE_SERVER": f"unix:{self._socket(name)}",
        }

    def _daemon_command(self, mic: VirtualMic) -> list[str]:
        # Without norewinds the sink works in chunks of 2 s, which leaves holes.
        sink = f"rate={mic.rate} channels={mic.channels} format=s16le norewinds=1"
        socket = f"auth-anonymous=1 socket={self._socket(mic.name)}"
        return [
            *(*AT_ONCE, "pulseaudio", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no"),
            *("--realtime=no", "--high-priority=no", "--disable-shm=yes"),
            *("--log-target=stderr", "--log-level=error", "-n"),
            *("-L", f"module-null-sink sink_name=mic {sink}"),
            *("-L", f"module-native-protocol-unix {socket}"),
        ]

    def plug(self, name: str) -> None:
        """Start the microphone's daemon, and wait until it can be opened."""
        assert name not in self._daemons, f"{name} is plugged in already"
        log_file = self.folder / name / "log"
        with log_file.open("ab") as log:
            daemon = subprocess.Popen(
                self._daemon_command(self._mics[name]),
                env=self._daemon_environment(name),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._daemons[name] = daemon
        wait_until(  # the module that makes the socket is loaded last
            lambda: self._socket(name).exists() or daemon.poll() is not None,
            START_TIMEOUT_S,
            f"the PulseAudio daemon of {name} is ready",
        )
        assert daemon.poll() is None, log_file.read_text()

    def unplug(self, name: str) -> None:
        """Kill the daemon, as if the cable were pulled."""
        daemon = self._daemons.pop(name)
        daemon.kill()
        daemon.wait()
        self._socket(name).unlink(missing_ok=True)

    def freeze(self, name: str) -> None:
        """Freeze the daemon: the microphone stays open but delivers nothing."""
        self._daemons[name].send_signal(signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        self._daemons[name].send_signal(signal.SIGCONT)

    def play(
        self, name: str, sound: Path | npt.NDArray[np.int16], rate: int | None = None
    ) -> subprocess.Popen[bytes]:
        """Play a WAV file, or int16 samples at `rate` Hz, into the microphone.

        Returns at once with the player, which ends when everything is played. A process that
        listens misses the start unless it has received its first block before.
        """
        if not isinstance(sound, Path):
            self._clips += 1
            clip = self.folder / f"clip{self._clips}.wav"
            sound = write_wav(clip, sound, rate or self._mics[name].rate)
        player = subprocess.Popen(
            [*AT_ONCE, "paplay", "--device=mic", "--latency-msec=100", str(sound)],
            env=self._daemon_environment(name),
        )
        self._players.append(player)
        return player

    def __enter__(self) -> Self:
        for name in self._mics:
            self.plug(name)
        return self

    def __exit__(self, *_exception: object) -> None:
        for player in self._players:
            player.kill()
            player.wait()
        for name in list(self._daemons):
            self.unplug(name)
        shutil.rmtree(self.folder, ignore_errors=True)
