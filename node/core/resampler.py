"""Sound of any rate at 16 kHz, by libsoxr."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from node.core.model import SAMPLE_RATE

if TYPE_CHECKING:
    import soxr

    from node.core.room.segmenter import Samples


class Resampler:
    """Brings one stream to 16 kHz; what is so already passes untouched.

    Args:
        rate: of the stream, in Hz.
    """

    def __init__(self, rate: int) -> None:
        self._stream: soxr.ResampleStream | None = None
        if rate != SAMPLE_RATE:
            import soxr  # noqa: PLC0415 -- most microphones deliver 16 kHz

            self._stream = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="int16", quality="HQ")

    def __call__(self, samples: Samples) -> Samples:
        """The next int16 samples of the stream, of shape (n,), as far as they can be told yet."""
        if self._stream is None:
            return samples
        resampled: Samples = self._stream.resample_chunk(np.ascontiguousarray(samples))
        return resampled

    def rest(self) -> Samples:
        """What was held back for samples to come: the stream has ended."""
        nothing = np.empty(0, np.int16)
        if self._stream is None:
            return nothing
        rest: Samples = self._stream.resample_chunk(nothing, last=True)
        return rest
