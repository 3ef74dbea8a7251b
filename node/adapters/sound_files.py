"""Recorded sound of any format, read in pieces as int16 at 16 kHz, mono."""

from __future__ import annotations

from typing import TYPE_CHECKING

import av
import av.error
import numpy as np

from node.core.model import SAMPLE_RATE
from node.errors import NodeError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy.typing as npt

PIECES = {"max_size": "32768"}
"""Bytes of a WAV file read at a time: a quarter of the work of FFmpeg's 4096. Others ignore it."""


class SoundFileError(NodeError):
    """A file cannot be read as sound."""


def duration_s(path: Path) -> float:
    """Length of a recording as its container says it; 0 where it does not.

    Raises:
        SoundFileError: it is not there, or no sound.
    """
    try:
        with av.open(str(path)) as container:
            return (container.duration or 0) / av.time_base
    except (OSError, av.error.FFmpegError) as error:
        raise _complaint(path, error) from error


def read(path: Path) -> Iterator[npt.NDArray[np.int16]]:
    """Yield a recording piece by piece, folded to mono and resampled to 16 kHz.

    Raises:
        SoundFileError: it is not there, or no sound.
    """
    resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)
    try:
        with av.open(str(path), options=PIECES) as container:
            if not container.streams.audio:
                raise SoundFileError(f"{path}: holds no sound")
            for frame in container.decode(audio=0):
                frame.pts = None  # gaps between time stamps are the container's, not the sound's
                yield from _samples(resampler.resample(frame))
            yield from _samples(resampler.resample(None))
    except (OSError, av.error.FFmpegError) as error:
        raise _complaint(path, error) from error


def _samples(pieces: list[av.AudioFrame]) -> Iterator[npt.NDArray[np.int16]]:
    for piece in pieces:
        yield piece.to_ndarray().reshape(-1).astype(np.int16, copy=False)


def _complaint(path: Path, error: Exception) -> SoundFileError:
    reason = getattr(error, "strerror", None) or str(error)
    return SoundFileError(f"{path}: cannot be read as sound: {reason}")
