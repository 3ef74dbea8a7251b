"""Microphones, each in a process of its own that runs `capture_child.py`.

A `CaptureProcess` has a file descriptor to select on and no thread; what to do about silence and
restarts is its owner's decision. The kernel kills the child when the thread that started it ends
(PR_SET_PDEATHSIG), so start it in a thread that lasts as long as the capture.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import shlex
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from node.core.capture_records import HEADER, SAMPLE_BYTES
from node.errors import MicError

log = logging.getLogger(__name__)

CHILD = Path(__file__).with_name("capture_child.py")
LIST = '{"kind": "list"}'
MAX_PAYLOAD_BYTES = 1 << 20  # far above a block of any microphone: more means a broken stream
READ_BYTES = 256 * 1024
# 10 s of 48 kHz mono, in case the reader is held up. Linux allows no more by default
# (fs.pipe-max-size).
PIPE_BYTES = 1 << 20
KILL_TIMEOUT_S = 1.0
# 16 kHz is what speech models want; a microphone without it is resampled from what it has.
DEFAULT_RATES = (16000, 48000, 44100, 32000)


@dataclass(frozen=True, slots=True)
class PortAudioSource:
    """An input by its PortAudio or ALSA name; `rates` in Hz are tried in their order."""

    device: str
    rates: tuple[int, ...] = DEFAULT_RATES

    def to_json(self) -> str:
        return json.dumps({"kind": "portaudio", **asdict(self)})

    def __str__(self) -> str:
        return repr(self.device)


@dataclass(frozen=True, slots=True)
class CardSource:
    """ALSA's `hw:<card>,<device>`; `rates` in Hz are tried in their order."""

    card: int
    device: int = 0
    rates: tuple[int, ...] = DEFAULT_RATES

    def to_json(self) -> str:
        return json.dumps({"kind": "card", **asdict(self)})

    def __str__(self) -> str:
        return f"hw:{self.card},{self.device}"


@dataclass(frozen=True, slots=True)
class FileSource:
    """A 16-bit PCM WAV file played in real time, then silence for ever; with `loop`, repeated.

    `start_at` is when its first sample is due, in seconds of CLOCK_MONOTONIC: files with the same
    `start_at` stay aligned, and one that is restarted resumes where it would be by then.
    """

    file: Path
    loop: bool
    start_at: float

    def to_json(self) -> str:
        return json.dumps({"kind": "file", **asdict(self), "file": str(self.file)})

    def __str__(self) -> str:
        return str(self.file)


CaptureSource = PortAudioSource | CardSource | FileSource


@dataclass(frozen=True, slots=True)
class Opened:
    """The device is open and delivers at `rate` Hz; `name` is what PortAudio calls it."""

    rate: int
    channels: int
    name: str


@dataclass(frozen=True, slots=True)
class Block:
    """Interleaved 16-bit little-endian PCM that ended at `time`, in seconds of CLOCK_MONOTONIC."""

    pcm: bytes
    time: float


@dataclass(frozen=True, slots=True)
class Overflowed:
    """Samples were lost between the blocks before and after."""


@dataclass(frozen=True, slots=True)
class Failed:
    """Capture cannot start or go on; `reason` is for a person. `Exited` follows."""

    reason: str


@dataclass(frozen=True, slots=True)
class Exited:
    """The child is gone; a negative `status` is the signal that killed it, as in `subprocess`."""

    status: int


CaptureEvent = Opened | Block | Overflowed | Failed | Exited


@dataclass(frozen=True, slots=True)
class InputDevice:
    """An input that PortAudio lists."""

    name: str
    channels: int


class CaptureProcess:
    """One child that delivers one source; it can be started only once."""

    def __init__(self, source: CaptureSource) -> None:
        self._source = source
        self._process: subprocess.Popen[bytes] | None = None
        self._pending = bytearray()
        self._frame_bytes = 0
        self._ended = False

    @property
    def pid(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    def start(self) -> None:
        """Start the child; `read()` returns what it delivers.

        Raises:
            OSError: no process can be started.
        """
        assert self._process is None, "a CaptureProcess is started once"
        self._process = subprocess.Popen(
            _command(self._source.to_json()),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            bufsize=0,
            stderr=_stderr(),
            env=_environment(),
            process_group=0,  # Ctrl-C is for the service, which drains before it ends its children
        )
        os.set_blocking(self.fileno(), False)
        with suppress(PermissionError):  # over the user's limit of pipe memory: it works without
            fcntl.fcntl(self.fileno(), fcntl.F_SETPIPE_SZ, PIPE_BYTES)

    def fileno(self) -> int:
        """Return the descriptor to select on, open until `kill()`."""
        assert self._process is not None, "not started"
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    def read(self) -> list[CaptureEvent]:
        """Return what has come since the last call, without waiting; at most 256 KiB of it.

        `Exited` is the last event: the child is reaped then, and `kill()` closes the descriptor.
        """
        if self._ended:
            return []
        try:
            data = os.read(self.fileno(), READ_BYTES)
        except BlockingIOError:
            return []
        if not data:
            return [self._end()]
        self._pending += data
        try:
            return self._parse()
        except (ValueError, TypeError, KeyError) as error:
            reason = f"bug: the capture program of {self._source} wrote a broken record: {error!r}"
            return [Failed(reason), self._end()]

    def kill(self) -> None:
        """Kill the child and close the descriptor; nothing is read afterwards. Can be repeated.

        Waits at most 1 s: a child stuck in a driver is left, and reaped when another is started.
        """
        self._ended = True
        if self._process is None:
            return
        self._kill_and_reap()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _parse(self) -> list[CaptureEvent]:
        """Return the complete records received; ValueError, TypeError or KeyError if broken."""
        events: list[CaptureEvent] = []
        start = 0
        while len(self._pending) - start >= HEADER.size:
            tag, size, at = HEADER.unpack_from(self._pending, start)
            if size > MAX_PAYLOAD_BYTES:
                raise ValueError(f"{size} bytes in {tag!r}")
            end = start + HEADER.size + size
            if end > len(self._pending):
                break
            events.append(self._event(tag, bytes(self._pending[start + HEADER.size : end]), at))
            start = end
        del self._pending[:start]
        return events

    def _event(self, tag: bytes, payload: bytes, at: float) -> CaptureEvent:
        match tag:
            case b"DATA":
                if not self._frame_bytes or len(payload) % self._frame_bytes or not isfinite(at):
                    raise ValueError(f"{len(payload)} bytes of sound at {at}")
                return Block(payload, at)
            case b"OVER":
                return Overflowed()
            case b"OPEN":
                opened = _opened(payload)
                self._frame_bytes = opened.channels * SAMPLE_BYTES
                return opened
            case b"FAIL":
                return Failed(str(json.loads(payload)["reason"]))
        raise ValueError(f"unknown tag {tag!r}")

    def _end(self) -> Exited:
        self._ended = True
        status = self._kill_and_reap()  # the signal changes nothing for a child that is exiting
        return Exited(-signal.SIGKILL if status is None else status)

    def _kill_and_reap(self) -> int | None:
        assert self._process is not None
        self._process.kill()
        try:
            return self._process.wait(KILL_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            log.warning("A process of %s hangs in a driver: replug the device", self._source)
            return None


def _opened(payload: bytes) -> Opened:
    """Return the content of an OPEN record; ValueError, TypeError or KeyError if broken."""
    body = json.loads(payload)
    rate, channels = int(body["rate"]), int(body["channels"])
    if rate <= 0 or channels <= 0:
        raise ValueError(f"{rate} Hz with {channels} channels")
    return Opened(rate, channels, str(body["name"]))


def list_inputs(timeout_s: float = 10) -> list[InputDevice]:
    """Return what PortAudio can record from; devices that another program holds are left out.

    Raises:
        MicError: PortAudio is missing, crashes or hangs; the text says what to do.
    """
    try:
        child = subprocess.run(
            _command(LIST),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=_stderr(),
            env=_environment(),
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise MicError(
            f"PortAudio did not list its devices within {timeout_s:g} s: one of them hangs; unplug"
            " the microphones one by one to find it"
        ) from error
    if child.returncode < 0:
        raise MicError(
            f"PortAudio crashed with signal {-child.returncode} while listing its devices: look"
            " for a mistake in /etc/asound.conf and ~/.asoundrc (PortAudio 19.6 needs a `default`)"
        )
    try:
        answer = json.loads(child.stdout)
        if child.returncode != 0:
            raise MicError(str(answer["reason"]))
        inputs, nameless = [_input(device) for device in answer["inputs"]], int(answer["nameless"])
    except (ValueError, TypeError, KeyError) as error:
        raise MicError(
            "the program that lists PortAudio's inputs gave no list and exited with status"
            f" {child.returncode}; run it to see why: {shlex.join(_command(LIST))}"
        ) from error
    if nameless:
        log.warning("%d devices are left out: their names are not UTF-8", nameless)
    return inputs


def _input(device: dict[str, Any]) -> InputDevice:
    """Return a listed input; KeyError, TypeError or ValueError if it is broken."""
    return InputDevice(str(device["name"]), int(device["channels"]))


def _command(spec: str) -> list[str]:
    # -P: the adapters beside the program must not be taken for libraries of the same name.
    return [sys.executable, "-P", str(CHILD), spec]


def _environment() -> dict[str, str]:
    """Return the environment without systemd's socket: only the service reports there."""
    return {key: value for key, value in os.environ.items() if key != "NOTIFY_SOCKET"}


def _stderr() -> int | None:
    """Show what ALSA and PortAudio print only at log level DEBUG: most of it is noise."""
    return None if log.isEnabledFor(logging.DEBUG) else subprocess.DEVNULL
