"""Resamples sound to 16 kHz with libsoxr."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from node.core.model import SAMPLE_RATE

if TYPE_CHECKING:
    import soxr

    from node.core.room.endpointing import Samples


class Resampler:
    """Resamples one stream to 16 kHz; a stream at that rate passes unchanged.

    Args:
        rate: of the stream, in Hz.
    """

    def __init__(self, rate: int) -> None:
        self._stream: soxr.ResampleStream | None = None
        if rate != SAMPLE_RATE:
            import soxr  # noqa: PLC0415 -- most microphones deliver 16 kHz

            self._stream = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="int16", quality="HQ")

    def __call__(self, samples: Samples) -> Samples:
        """Take int16 samples of shape (n,); return those at 16 kHz that are complete so far."""
        if self._stream is None:
            return samples
        resampled: Samples = self._stream.resample_chunk(np.ascontiguousarray(samples))
        return resampled

    def rest(self) -> Samples:
        """Return the last samples, which were held back; call it when the stream has ended."""
        nothing = np.empty(0, np.int16)
        if self._stream is None:
            return nothing
        rest: Samples = self._stream.resample_chunk(nothing, last=True)
        return rest
