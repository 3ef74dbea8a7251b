"""Sound as FLAC and back, in memory, through PyAV: 16 kHz, one channel, int16, nothing lost."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from node.core.model import SAMPLE_RATE
from node.errors import NodeError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    Samples = npt.NDArray[np.int16]

LEAN = {"metadata_header_padding": "0"}
"""FFmpeg would leave 8 KB of room for titles and the like."""


class FlacError(NodeError):
    """Bytes are not the sound they should be; the text says why."""


def encode(samples: Samples) -> bytes:
    """Return int16 samples at 16 kHz, of shape (n,), as a FLAC file."""
    import av  # noqa: PLC0415  # 20 MB, which a node that transcribes here need not pay

    file = io.BytesIO()
    with av.open(file, "w", format="flac", options=LEAN) as container:
        stream = container.add_stream("flac", rate=SAMPLE_RATE, layout="mono")
        stream.format = "s16"
        frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate = SAMPLE_RATE
        for given in (frame, None):
            container.mux(stream.encode(given))
    return file.getvalue()


def decode(sound: bytes, samples: int) -> Samples:
    """Return exactly this many samples of a FLAC file, int16 of shape (samples,).

    Never decodes more than a block beyond them, however much the file says it has.

    Raises:
        FlacError: it is no FLAC, not mono at 16 kHz and 16 bits, or not of this length.
    """
    import av  # noqa: PLC0415  # as above
    import av.error  # noqa: PLC0415  # it takes a moment

    try:
        with av.open(io.BytesIO(sound), "r", format="flac") as container:
            return _joined(_pieces(container), samples)
    except (OSError, ValueError, IndexError, av.error.FFmpegError) as error:
        raise FlacError(f"the sound cannot be decoded: {type(error).__name__}") from error


def _joined(pieces: Iterator[Samples], samples: int) -> Samples:
    found: list[Samples] = []
    length = 0
    for piece in pieces:
        found.append(piece)
        length += len(piece)
        if length > samples:
            raise FlacError(f"the sound is longer than the {samples} samples announced")
    if length < samples:
        raise FlacError(f"the sound has {length} samples, not the {samples} announced")
    return np.concatenate(found)


def _pieces(container: object) -> Iterator[Samples]:
    for frame in container.decode(audio=0):  # type: ignore[attr-defined]  # PyAV's InputContainer
        form = frame.format.name, frame.layout.name, frame.sample_rate
        if form not in {("s16", "mono", SAMPLE_RATE), ("s16p", "mono", SAMPLE_RATE)}:
            raise FlacError(f"the sound is {form[2]} Hz, {form[1]}, {form[0]}, not 16 kHz mono s16")
        yield frame.to_ndarray()[0]
