"""Silero voice activity detection, streamed through onnxruntime, several frames at a time.

The network file is the one faster-whisper ships; no torch is needed to run it.
"""

from __future__ import annotations

import itertools
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from node.core.model import TICK
from node.core.room.front_end import NoiseFloor, Stillness
from node.errors import ModelError

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]

CONTEXT = 64
"""Samples of the previous frame that Silero needs before each frame at 16 kHz."""

STATE = (1, 1, 128)
"""Shape of the two recurrent states."""

AT_ONCE = 32
"""Most frames in one run of the network, to bound its memory. A run costs about 75 µs plus 70 µs a
frame (measured on x86-64); the probabilities are bit for bit those of frames run one by one."""

QUIET = 0.2
"""Probability below which a frame counts as quiet."""

DEAF_AFTER = 96
LEAD = 32
"""Quiet frames (3 s) after which the network forgets everything but the last of them (1 s).

Steady noise saturates its state. Over a fan at -55 dBFS, speech at -30 dBFS was detected 0.3 s late
after 20 s and 0.4 s late after two minutes (28 clips), and half of the speech at -45 dBFS was
missed. So every few seconds it starts afresh, with enough of the noise to recognise it: after 4 s
nothing was late, after 8 s it was 0.05 s. With 10 frames of lead, a third more coughs passed for
speech than with 32 and 62.
"""

LOUDEST_FLOOR = 10 ** (-37 / 20)
MOST_GAIN = 8.0
"""Sound is amplified for the network until the room's noise is at -37 dBFS, by at most 18 dB.

It takes faint speech for noise: of 49 utterances at -45 dBFS, 10 dB above a fan, it missed 6
without gain, 3 with a gain of 4, and 1 with a gain of 8, which it missed at -30 dBFS too. Clipping
does not disturb it, and amplified noise does not pass for speech (no frame of 2 min each of fan,
keyboard and music).
"""


class Silero:
    """The network, shared by all tracks and loaded for the first. It keeps no state."""

    def __init__(self) -> None:
        self._session: Any = None

    def locate(self) -> None:
        """Make sure that the network is installed, without the cost of loading it.

        Raises:
            ModelError: the installed faster-whisper does not ship it.
        """
        _network_file()

    def run(self, inputs: dict[str, npt.NDArray[np.float32]]) -> list[npt.NDArray[np.float32]]:
        outputs: list[npt.NDArray[np.float32]] = self._session.run(None, inputs)
        return outputs

    def detector(self) -> SileroDetector:
        """Return a detector for one track.

        Raises:
            ModelError: the installed faster-whisper does not ship the network.
        """
        if self._session is None:
            self._session = _load(_network_file())
        return SileroDetector(self)


class SileroDetector:
    """Speech probability of one track's consecutive frames, for one thread."""

    def __init__(self, network: Silero) -> None:
        self._network = network
        self.reset()

    def reset(self) -> None:
        """Forget what was heard: the next frame does not follow the last one."""
        self._floor = NoiseFloor()
        self._stillness = Stillness()
        self._recent: Floats = np.zeros((0, TICK), np.float32)
        self._run_frames = 0
        self._quiet = 0
        self._left_out = False
        self._forget()

    def _forget(self) -> None:
        self._context = np.zeros(CONTEXT, np.float32)
        self._h = np.zeros(STATE, np.float32)
        self._c = np.zeros(STATE, np.float32)

    def __call__(self, frames: npt.NDArray[np.int16]) -> npt.NDArray[np.float32]:
        """Return the probability (0-1) of speech in each of the next frames.

        Takes int16 samples at 16 kHz, shape (n, 512); returns shape (n,), the same values whether
        frames come one by one or together.
        """
        wide = frames.astype(np.float32) * np.float32(1 / 32768)
        powers = (np.einsum("ij,ij->i", wide, wide) / TICK).tolist()
        floors = self._floor(powers)
        loud = _amplified(wide, floors)
        probabilities = np.zeros(len(frames), np.float32)
        begin = 0
        for still, run in itertools.groupby(self._stillness(powers, floors)):
            end = begin + sum(1 for _ in run)
            if still:
                self._left_out = True
                self._remember(loud[begin:end])
            else:
                probabilities[begin:end] = self._hear(loud[begin:end])
            begin = end
        return probabilities

    def _hear(self, frames: Floats) -> Floats:
        """Return the probabilities of frames, in runs that end where a restart may be due."""
        parts: list[Floats] = []
        while len(frames):
            if self._left_out or (self._run_frames == 0 and self._quiet >= DEAF_AFTER):
                self._restart()
            count = min(len(frames), AT_ONCE - self._run_frames)
            part, frames = frames[:count], frames[count:]
            parts.append(self._run(part))
            self._run_frames = (self._run_frames + count) % AT_ONCE
            self._remember(part)
            spoken = np.flatnonzero(parts[-1] >= QUIET)
            self._quiet = count - 1 - int(spoken[-1]) if len(spoken) else self._quiet + count
        return np.concatenate(parts)

    def _restart(self) -> None:
        """Reset the network, then feed it only what came right before."""
        self._forget()
        if len(self._recent):
            self._run(self._recent)
        self._left_out, self._quiet = False, 0

    def _remember(self, frames: Floats) -> None:
        self._recent = np.concatenate([self._recent, frames[-LEAD:]])[-LEAD:]

    def _run(self, frames: Floats) -> Floats:
        windows = np.empty((len(frames), CONTEXT + TICK), np.float32)
        windows[:, CONTEXT:] = frames
        windows[0, :CONTEXT] = self._context
        windows[1:, :CONTEXT] = windows[:-1, -CONTEXT:]
        self._context = windows[-1, -CONTEXT:].copy()
        probabilities, self._h, self._c = self._network.run(
            {"input": windows, "h": self._h, "c": self._c}
        )
        return probabilities.reshape(-1)


def _amplified(frames: Floats, floors: list[float]) -> Floats:
    """Return frames (n, 512) as loud as the network needs them, given the noise floor at each."""
    gains = LOUDEST_FLOOR / np.sqrt(np.array(floors, np.float32))
    return np.clip(frames * np.clip(gains, 1, MOST_GAIN)[:, None], -1, 1)


def _load(network: Path) -> Any:
    import onnxruntime  # noqa: PLC0415 -- an idle node saves its 10 MB

    options = onnxruntime.SessionOptions()
    # A frame is far too small to be worth a second thread, which would spin in between.
    options.inter_op_num_threads = 1
    options.intra_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        str(network), providers=["CPUExecutionProvider"], sess_options=options
    )


def _network_file() -> Path:
    """Return the path of Silero's network, without importing the package that ships it.

    Raises:
        ModelError: the installed faster-whisper does not ship it.
    """
    spec = find_spec("faster_whisper")
    folder = Path(spec.origin).parent / "assets" if spec and spec.origin else Path()
    files = sorted(folder.glob("silero_vad*.onnx"))
    if not files:
        raise ModelError(f"no silero_vad*.onnx in {folder}; reinstall faster-whisper")
    return files[-1]
