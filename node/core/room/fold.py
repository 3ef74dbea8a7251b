"""Several channels of one microphone folded to one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from node.core.room.hearing import Floats
    from node.core.room.segmenter import Samples

CANCELLED = 0.1
"""Share of the channels' power below which their mean is taken to have lost what was said: -10 dB.
Two microphones apart, or music in stereo, keep about half of it."""


class Fold:
    """The mean of a stream's channels; where two cancel each other, half their difference.

    A balanced microphone on a stereo input gives its signal on one channel, and the same upside
    down on the other. Which it is, is judged by all that was heard: silence has no say, for it
    has no power, and an offset neither.
    """

    def __init__(self) -> None:
        self._power = 0.0
        self._cross = 0.0

    @property
    def cancels(self) -> bool:
        """Whether the mean of the two channels would have lost the sound heard up to now."""
        return self._power + 2 * self._cross < 2 * CANCELLED * self._power

    def __call__(self, samples: Samples) -> Samples:
        """The next int16 samples of shape (n, channels), as (n,)."""
        channels = samples.shape[1]
        if channels == 1 or not len(samples):
            return samples[:, 0]
        wide = samples.T.astype(np.float32)
        if channels == 2:
            self._judge(*(wide - wide.mean(axis=1, keepdims=True)))
            if self.cancels:
                wide[1] *= -1
        folded: Samples = np.rint(wide.mean(axis=0)).clip(-32768, 32767).astype(np.int16)
        return folded

    def _judge(self, left: Floats, right: Floats) -> None:
        self._power += float(np.dot(left, left) + np.dot(right, right))
        self._cross += float(np.dot(left, right))
