"""Speech from the espeak-ng command line, for the demo's recorded meeting and for tests."""

import subprocess
import tempfile
import wave
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soxr

PEAK = 10 ** (-6 / 20)  # -6 dBFS: loud, with room for the resampler of a sound card
AUDIBLE = 0.01  # of the peak; espeak-ng surrounds speech with silence well below this
EDGE_S = 0.005  # kept around the audible part, so that no consonant starts with a click


def synthesise(
    text: str, voice: str, *, speed: int, pitch: int, rate: int
) -> npt.NDArray[np.float32]:
    """Return one spoken sentence, with a peak of -6 dBFS and no silence before or after it.

    Args:
        text: what to say.
        voice: an espeak-ng voice, with an optional variant after "+": "en-gb+f3".
        speed: words per minute.
        pitch: 0 to 99; 50 is the voice's own.
        rate: of the result, in Hz.

    Returns:
        Mono samples in [-1, 1], shape (n,).

    Raises:
        FileNotFoundError: espeak-ng is not installed.
        subprocess.CalledProcessError: espeak-ng refused the voice or a setting.
    """
    spoken, native_rate = _espeak(text, voice, speed, pitch)
    speech = _trimmed(spoken, native_rate)
    samples = np.asarray(soxr.resample(speech, native_rate, rate), dtype=np.float32)
    return samples * np.float32(PEAK / np.abs(samples).max())


def to_int16(samples: npt.NDArray[np.float32]) -> npt.NDArray[np.int16]:
    return np.round(samples * 32767).astype(np.int16)


def write_wav(path: Path, samples: npt.NDArray[np.int16], rate: int) -> None:
    """Write 16-bit mono; `samples` has shape (n,), `rate` is in Hz."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.astype("<i2").tobytes())


def read_wav(path: Path) -> tuple[npt.NDArray[np.int16], int]:
    """Return the samples, shape (n,), and the rate in Hz of a 16-bit mono file.

    Raises:
        ValueError: the file has another format.
    """
    with wave.open(str(path), "rb") as file:
        if (file.getnchannels(), file.getsampwidth()) != (1, 2):
            raise ValueError(f"{path}: expected 16-bit mono")
        frames = file.readframes(file.getnframes())
        return np.frombuffer(frames, "<i2").astype(np.int16), file.getframerate()


def _espeak(text: str, voice: str, speed: int, pitch: int) -> tuple[npt.NDArray[np.float32], int]:
    # Not standard output: the length in a streamed WAV header is only a placeholder.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        settings = ["-v", voice, "-s", str(speed), "-p", str(pitch), "-w", str(path)]
        subprocess.run(["espeak-ng", *settings, "--", text], check=True)
        samples, rate = read_wav(path)
    return (samples / 32768).astype(np.float32), rate


def _trimmed(samples: npt.NDArray[np.float32], rate: int) -> npt.NDArray[np.float32]:
    level = np.abs(samples)
    audible = np.flatnonzero(level > AUDIBLE * level.max())
    edge = round(EDGE_S * rate)
    return samples[max(0, audible[0] - edge) : audible[-1] + edge]
