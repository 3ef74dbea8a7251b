"""Turns down, band by band, what the other speakers leak into a microphone's sound.

Without it the first and last words of the neighbours would stand at both ends of every utterance:
they are spoken within the sound that is kept before and after speech.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from node.core.model import TICK
from node.core.room.hearing import BANDS, HOP, band_of_bin, periodic_hann

if TYPE_CHECKING:
    from node.core.room.endpointing import Samples
    from node.core.room.hearing import Floats

WINDOWS_PER_FRAME = 3
"""Windows of 512 samples, 256 apart, that a frame takes part in."""

LEAST_GAIN = 0.1
"""Lowest gain (-20 dB) of a band or frequency within own speech: below it words lose their shape,
and what is left begins to ring."""

LEAK_MARGIN = 2.0
"""Factor by which power must exceed what others are expected to leak (3 dB) to count as own."""

FOREIGN_GAIN = 0.01
"""Gain of a whole tick that is not the microphone's own (-40 dB, about the room's noise). Measured
on the tuning meetings (-10 dB, 10 % overlap): 20 % of words wrong without it, 7 % with it."""

UNTOUCHED = 0.5
"""Own share from which a band is left as it is."""


def gains(own: Floats) -> Floats:
    """Gain of every hop and band from the share (0-1) that is the microphone's own."""
    result: Floats = np.sqrt(np.clip(own / UNTOUCHED, LEAST_GAIN**2, 1))
    return result


def masked(before: Samples, frame: Samples, after: Samples, band_gains: Floats) -> Samples:
    """A frame with its bands scaled.

    Args:
        before: the 256 samples before the frame.
        frame: 512 samples.
        after: the 256 samples after it.
        band_gains: shape (3, BANDS), for the windows that begin 256 samples before the frame, with
            it, and 256 samples after that.
    """
    if band_gains.min() >= 1:
        return frame
    if band_gains.max() <= FOREIGN_GAIN:
        faint: Samples = np.rint(frame * np.float32(FOREIGN_GAIN)).astype(np.int16)
        return faint
    sound = np.concatenate([before, frame, after]).astype(np.float32)
    windows = np.stack(
        [sound[begin : begin + TICK] for begin in range(0, WINDOWS_PER_FRAME * HOP, HOP)]
    )
    spectra = np.fft.rfft(windows * _MASK_WINDOW) * band_gains[:, _BAND_OF_BIN]
    pieces = np.fft.irfft(spectra, TICK)
    whole = np.zeros(2 * TICK, np.float32)
    for begin, piece in zip(range(0, WINDOWS_PER_FRAME * HOP, HOP), pieces, strict=True):
        whole[begin : begin + TICK] += piece
    heard: Samples = np.clip(np.rint(whole[HOP : HOP + TICK]), -32768, 32767).astype(np.int16)
    return heard


FOREIGN: Floats = np.full((WINDOWS_PER_FRAME, BANDS), FOREIGN_GAIN, np.float32)
"""Gains of a tick that is wholly another's."""

_MASK_WINDOW = periodic_hann(TICK).astype(np.float32)
_BAND_OF_BIN = band_of_bin(TICK)
