"""Deliver one microphone on standard output; a program of its own, run by `capture.py`.

Each microphone has a process, because only a kill cures PortAudio's faults (hangs, endless loops,
aborts on unplug). It costs 11 MiB, as it does not import numpy, and from this package only the
record format and the rule for input names.

`argv[1]` is a JSON object, one of
  {"kind": "portaudio", "device": "<PortAudio or ALSA name>", "rates": [16000, …]}
  {"kind": "card", "card": 2, "device": 0, "rates": [16000, …]}
  {"kind": "file", "file": "x.wav", "loop": false, "start_at": <CLOCK_MONOTONIC seconds>}
  {"kind": "list"}, answered with {"inputs": [{"name", "channels"}, …], "nameless": 0}, where
    `nameless` counts devices whose names are not UTF-8; or with {"reason": "…"}

Otherwise standard output carries records: a header `<4sId` (tag, payload bytes, CLOCK_MONOTONIC),
then
  OPEN  JSON {"rate", "channels", "name"}: the stream runs at `rate` Hz
  DATA  interleaved 16-bit little-endian PCM; the time is when the block ended
  OVER  empty: samples were lost before the next block
  FAIL  JSON {"reason"}, for a person; the exit status is then 1
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import json
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn

# Last in the path: if the package is not installed, it is found where this program lies.
sys.path.append(os.path.abspath(f"{__file__}/../../.."))  # noqa: PTH100 -- pathlib costs 1 MiB

from node.core.capture_records import HEADER, SAMPLE_BYTES
from node.core.input_names import fitting

if TYPE_CHECKING:
    import wave
    from collections.abc import Iterator

# Blocks of 48 ms cost 0.5 % of a core, blocks of 32 ms 0.8 %, of 20 ms 1.2 % (virtual microphones).
# Blocks of 64 ms arrive 100 ms apart. A block size that is left to PortAudio costs 1.3 to 3.3 %.
BLOCK_S = 0.048
MIN_FILE_RATE = 8000
FILE_LATE_S = 1.0  # a file player held up for longer loses sound, as a microphone would
PR_SET_PDEATHSIG = 1  # linux/prctl.h


class CaptureError(Exception):
    """The source cannot be opened or has ended; the text names it and says what to do."""


class Records:
    """Writes framed records; BrokenPipeError if the reader is gone."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def write(self, tag: bytes, payload: bytes = b"", at: float | None = None) -> None:
        stamp = time.monotonic() if at is None else at
        self._stream.write(HEADER.pack(tag, len(payload), stamp) + payload)
        self._stream.flush()

    def opened(self, rate: int, channels: int, name: str) -> None:
        text = json.dumps({"rate": rate, "channels": channels, "name": name})
        self.write(b"OPEN", text.encode())

    def failed(self, reason: str) -> None:
        self.write(b"FAIL", json.dumps({"reason": reason}).encode())


def main() -> NoReturn:
    """Run until killed, or end with status 1 when the source cannot deliver (any more)."""
    _die_with_parent()
    stream = _take_stdout()
    spec = json.loads(sys.argv[1])
    status = _list(stream) if spec["kind"] == "list" else _capture(spec, Records(stream))
    stream.flush()
    # No orderly exit: PortAudio hangs when it closes the stream of a device that is gone.
    os._exit(status)


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _take_stdout() -> BinaryIO:
    """Return a stream on standard output, and point whatever a library prints at stderr."""
    records = os.dup(1)
    os.dup2(2, 1)
    return open(records, "wb")  # noqa: PTH123 -- a descriptor, open until the end


def _list(stream: BinaryIO) -> int:
    try:
        inputs, nameless = _inputs(_portaudio())
    except CaptureError as error:
        stream.write(json.dumps({"reason": str(error)}).encode())
        return 1
    devices = [{"name": each["name"], "channels": each["max_input_channels"]} for each in inputs]
    stream.write(json.dumps({"inputs": devices, "nameless": nameless}).encode())
    return 0


def _capture(spec: dict[str, Any], records: Records) -> int:
    run = _run_file if spec["kind"] == "file" else _run_portaudio
    try:
        run(spec, records)
    except CaptureError as error:
        reason = str(error)
    except BrokenPipeError:  # nobody reads any more
        return 1
    except Exception as error:  # noqa: BLE001 -- stderr is discarded: only this reports it
        reason = f"bug in the capture program: {type(error).__name__}: {error}"
    with contextlib.suppress(BrokenPipeError):
        records.failed(reason)
    return 1


def _portaudio() -> Any:
    """Import sounddevice, which initialises PortAudio, and return it.

    Raises:
        CaptureError: the library is not installed, or does not start.
    """
    os.environ.setdefault("JACK_NO_START_SERVER", "1")  # looking for devices must not start jackd
    try:
        import sounddevice  # noqa: PLC0415 -- files are played without it
    except OSError as error:  # what sounddevice raises where the shared library is missing
        raise CaptureError(f"{error}: install it (Debian: libportaudio2)") from error
    except Exception as error:  # its PortAudioError cannot be named before the import
        raise CaptureError(f"PortAudio does not start: {error}") from error
    return sounddevice


def _inputs(portaudio: Any) -> tuple[list[dict[str, Any]], int]:
    """Return the inputs, and how many devices cannot be used because their names are not UTF-8.

    Asks for each by its index: `query_devices()` fails for all if one has such a name.
    """
    inputs, nameless = [], 0
    for index in itertools.count():
        try:
            device = portaudio.query_devices(index)
        except UnicodeDecodeError:
            nameless += 1
            continue
        except portaudio.PortAudioError:  # past the last one
            break
        if device["max_input_channels"] > 0:
            inputs.append(device)
    return inputs, nameless


def _find_input(inputs: list[dict[str, Any]], spec: dict[str, Any]) -> dict[str, Any]:
    """Return the input that the spec names.

    Raises:
        CaptureError: there is none, or part of a name fits several.
    """
    names = ", ".join(repr(device["name"]) for device in inputs) or "none"
    if spec["kind"] == "card":
        tail = f"(hw:{spec['card']},{spec['device']})"
        found = [device for device in inputs if device["name"].endswith(tail)][:1]
    else:
        listed = [device["name"] for device in inputs]
        found = [inputs[position] for position in fitting(spec["device"], listed)]
    if not found:
        raise CaptureError(
            f"PortAudio lists no input {_label(spec)}: check that it is plugged in, that no other"
            f" program holds it, and that this user is in the group audio (inputs: {names})"
        )
    if len(found) > 1:
        raise CaptureError(f"{_label(spec)} fits several inputs: give one in full ({names})")
    return found[0]


def _label(spec: dict[str, Any]) -> str:
    if spec["kind"] == "card":
        return f"(hw:{spec['card']},{spec['device']})"
    return repr(spec["device"])


def _open_stream(portaudio: Any, device: dict[str, Any], rates: list[int]) -> Any:
    """Start a stream at the first rate the device takes, with as few channels as it takes.

    Raises:
        CaptureError: it takes none; the text holds PortAudio's reason for each rate.
    """
    widest = device["max_input_channels"]
    refusals: dict[str, list[str]] = {}
    for rate in rates:
        for channels in sorted({1, min(2, widest), widest}):
            try:
                return _start_stream(portaudio, device["index"], rate, channels)
            except portaudio.PortAudioError as error:
                refusals.setdefault(_reason(error), []).append(f"{rate} Hz with {channels} ch")
    reasons = "; ".join(f"{why} ({', '.join(tried)})" for why, tried in refusals.items())
    raise CaptureError(
        f"{device['name']!r} cannot be opened: check that it is plugged in, that no other program"
        f" holds it, and that it supports one of the rates tried. PortAudio says: {reasons}"
    )


def _start_stream(portaudio: Any, index: int, rate: int, channels: int) -> Any:
    # Blocking reads: a callback would need memory that is both writable and executable, which
    # systemd's MemoryDenyWriteExecute forbids.
    stream = portaudio.RawInputStream(
        device=index,
        samplerate=rate,
        channels=channels,
        dtype="int16",
        blocksize=round(rate * BLOCK_S),
        latency="high",
    )
    try:
        stream.start()
    except portaudio.PortAudioError:
        stream.close()  # or the next attempt finds the device busy
        raise
    return stream


def _reason(error: Exception) -> str:
    return str(error.args[0]) if error.args else repr(error)


def _run_portaudio(spec: dict[str, Any], records: Records) -> None:
    portaudio = _portaudio()
    device = _find_input(_inputs(portaudio)[0], spec)
    stream = _open_stream(portaudio, device, spec["rates"])
    rate = round(stream.samplerate)
    records.opened(rate, stream.channels, device["name"])
    frames = round(rate * BLOCK_S)
    try:
        while True:
            pcm, overflowed = stream.read(frames)
            end = time.monotonic()
            if overflowed:
                records.write(b"OVER")
            records.write(b"DATA", bytes(pcm), end)
    except portaudio.PortAudioError as error:
        raise CaptureError(
            f"{device['name']!r} has stopped delivering sound, as if unplugged: check its cable"
            f" and power ({_reason(error)})"
        ) from error


def _run_file(spec: dict[str, Any], records: Records) -> None:
    with _open_wav(spec["file"]) as wav:
        rate = wav.getframerate()
        records.opened(rate, wav.getnchannels(), os.path.basename(spec["file"]))  # noqa: PTH119 -- pathlib costs 1 MiB
        frames = round(rate * BLOCK_S)
        for position, end in _pace(records, spec["start_at"], rate, frames):
            records.write(b"DATA", _block(wav, position, frames, loop=spec["loop"]), end)


def _open_wav(path: str) -> wave.Wave_read:
    """Open a WAV file; CaptureError if it is not one with 16-bit samples."""
    import wave  # noqa: PLC0415 -- microphones do not need it

    try:
        wav = wave.open(path, "rb")  # noqa: SIM115 -- the caller closes it
    except OSError as error:
        raise CaptureError(f"{path} cannot be read: {error.strerror}") from error
    except (wave.Error, EOFError) as error:
        raise CaptureError(f"{path} is not a PCM WAV file ({error}): convert it") from error
    bits, rate, frames = 8 * wav.getsampwidth(), wav.getframerate(), wav.getnframes()
    if bits != 8 * SAMPLE_BYTES or rate < MIN_FILE_RATE or frames == 0:
        wav.close()
        raise CaptureError(
            f"{path} holds {frames} samples of {bits} bits at {rate} Hz: convert it to 16 bits"
            f" at {MIN_FILE_RATE} Hz or more"
        )
    return wav


def _pace(records: Records, start_at: float, rate: int, frames: int) -> Iterator[tuple[int, float]]:
    """Yield the first frame and the end time of each block of `frames`, once it has ended.

    The frame due at time t is (t - start_at) * rate, even if the player starts late.
    """
    position = max(0, round((time.monotonic() - start_at) * rate))
    while True:
        end = start_at + (position + frames) / rate
        delay = end - time.monotonic()
        if delay > 0:
            time.sleep(delay)
        elif delay < -FILE_LATE_S:
            records.write(b"OVER")
            position = round((time.monotonic() - start_at) * rate)
            continue
        yield position, end
        position += frames


def _block(wav: wave.Wave_read, position: int, frames: int, *, loop: bool) -> bytes:
    """Return `frames` frames from `position` on; past the end, loop or pad with silence."""
    total = wav.getnframes()
    size = frames * wav.getnchannels() * SAMPLE_BYTES
    if not loop:
        wav.setpos(min(position, total))
        return wav.readframes(frames).ljust(size, b"\0")
    pcm = bytearray()
    while len(pcm) < size:
        wav.setpos(position % total)
        part = wav.readframes(frames)
        if not part:  # the file is shorter than its header says
            return bytes(pcm).ljust(size, b"\0")
        pcm += part
        position += len(part) * frames // size
    return bytes(pcm[:size])


if __name__ == "__main__":
    main()
