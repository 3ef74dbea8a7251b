"""Whether two microphones heard one voice: then their level difference hardly varies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from node.core.room.hearing import Floats

SAME_DB = 10.0
"""Spread, from the 10th to the 90th percentile of loud bands and hops, below which the level
difference of two microphones is that of one voice. Measured in simulated rooms: 6.5 to 12 dB (now
and then 14) for somebody without a microphone, 12 to 26 dB for two who speak at once at -6 dB.
"""

LOUD = 10.0
"""Power over the noise floor, as a factor, from which a band tells of a level difference."""


def one_voice(power: Floats, loud: npt.NDArray[np.bool_]) -> bool:
    """Whether two microphones (2, hops, bands) differ alike in all bands and hops that are loud.

    Each band counts from its own median: gains and walls differ from band to band.
    """
    difference = 10 * np.log10(power[0] / power[1])
    bands = [band[told] for band, told in zip(difference.T, loud.T, strict=True) if told.any()]
    if not bands:
        return False
    varied = np.concatenate([band - np.median(band) for band in bands])
    low, high = np.percentile(varied, (10, 90))
    return bool(high - low < SAME_DB)
