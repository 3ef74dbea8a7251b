"""Makes sound files of many formats for tests, and damages them."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import av
import numpy as np
import numpy.typing as npt
from av.audio.stream import AudioStream

if TYPE_CHECKING:
    from pathlib import Path

    from av.container import OutputContainer
    from av.video.stream import VideoStream

RATE = 16000
PICTURES_A_SECOND = 10

Samples = npt.NDArray[np.int16]


def record(
    path: Path,
    sound: Samples,
    codec: str,
    *,
    rate: int = RATE,
    layout: str = "mono",
    begin_s: float = 0.0,
    gap: tuple[float, float] = (0.0, 0.0),
    tracks: int = 1,
    video: bool = False,
    **options: str,
) -> Path:
    """Write mono sound at 16 kHz to a file in the format of its extension.

    Args:
        path: the file.
        sound: int16 samples.
        codec: FFmpeg's name for the encoder.
        rate: sample rate of the file in Hz.
        layout: its channels; all get the same sound.
        begin_s: time stamp of the first sample.
        gap: where the time stamps skip, and for how many seconds.
        tracks: how many times the file contains the sound.
        video: whether the first track of the file is video.
        options: options for the container.
    """
    with av.open(str(path), "w", options=options) as container:
        pictures = container.add_stream("mpeg4", rate=PICTURES_A_SECOND) if video else None
        streams = [container.add_stream(codec, rate=rate, layout=layout) for _ in range(tracks)]
        if pictures is not None:
            _add_pictures(container, pictures, len(sound) / RATE)
        for stream in streams:
            assert isinstance(stream, AudioStream)
            position = 0
            for frame in _frames(stream, sound, rate, layout):
                late_s = begin_s + (gap[1] if position >= gap[0] * rate else 0)
                frame.pts, frame.time_base = position + round(late_s * rate), Fraction(1, rate)
                position += frame.samples
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    return path


def _frames(stream: AudioStream, sound: Samples, rate: int, layout: str) -> list[av.AudioFrame]:
    whole = av.AudioFrame.from_ndarray(sound[None], format="s16", layout="mono")
    whole.sample_rate = RATE
    size = stream.codec_context.frame_size or 1024
    resampler = av.AudioResampler(stream.codec_context.format, layout, rate, size)
    return [*resampler.resample(whole), *resampler.resample(None)]


def _add_pictures(container: OutputContainer, stream: VideoStream, seconds: float) -> None:
    stream.width = stream.height = 64
    stream.pix_fmt = "yuv420p"
    for number in range(round(PICTURES_A_SECOND * seconds)):
        picture = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
        picture.pts = number
        container.mux(stream.encode(picture))
    container.mux(stream.encode(None))


def damage(path: Path, begin: float, end: float) -> Path:
    """Overwrite a part of a file with noise, from one share of its bytes to another."""
    content = bytearray(path.read_bytes())
    first, last = int(len(content) * begin), int(len(content) * end)
    content[first:last] = np.random.default_rng(0).bytes(last - first)
    path.write_bytes(content)
    return path


def truncate(path: Path, share: float) -> Path:
    """Leave only the first part of a file."""
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path
