from __future__ import annotations

import numpy as np
import pytest

from node.core.room.coupling import one_voice

HOPS, BANDS = 60, 8
ALL = np.ones((HOPS, BANDS), bool)


def voice(seed: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Powers that vary by 40 dB from hop to hop and band to band."""
    return 10 ** np.random.default_rng(seed).uniform(-4, 0, (HOPS, BANDS)).astype(np.float32)


def test_one_voice_with_different_levels_in_every_band() -> None:
    path = np.linspace(0.1, 3, BANDS, dtype=np.float32)
    assert one_voice(np.stack([voice(1), voice(1) * path]), ALL)


@pytest.mark.parametrize("leak", [0.1, 0.25])
def test_two_voices_that_leak_into_each_other(leak: float) -> None:
    heard = np.stack([voice(1) + leak * voice(2), voice(2) + leak * voice(1)])
    assert not one_voice(heard, ALL)


def test_nothing_loud_is_no_voice() -> None:
    assert not one_voice(np.stack([voice(1), voice(1)]), np.zeros((HOPS, BANDS), bool))


def test_only_what_is_loud_tells() -> None:
    heard = np.stack([voice(1), voice(1)])
    heard[1, HOPS // 2 :] = voice(2)[HOPS // 2 :]
    loud = ALL.copy()
    loud[HOPS // 2 :] = False
    assert one_voice(heard, loud)
    assert not one_voice(heard, ALL)
