"""What is wholly another's becomes as faint as the room."""

from __future__ import annotations

import numpy as np
import pytest

from node.core.room.masking import turned_down


def test_what_is_wholly_anothers_is_40_db_fainter() -> None:
    sound = np.random.default_rng(1).integers(-30000, 30000, 10000).astype(np.int16)
    faint = turned_down(sound)
    assert faint.dtype == np.int16
    assert np.abs(faint - sound / 100).max() <= 0.5
    change_db = 20 * np.log10(faint.std() / sound.std())
    assert change_db == pytest.approx(-40, abs=0.1)
