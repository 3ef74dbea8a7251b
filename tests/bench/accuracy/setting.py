"""The room and microphones of a meeting: the parameters, and what is drawn from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

BLEED_SPREAD_DB = 2.0


@dataclass(frozen=True, slots=True)
class Acoustics:
    """A room and its microphones; spreads are half-widths of uniform distributions."""

    bleed_db: float | None = -10.0
    """Level of a voice in the other microphones relative to its own; None: they hear nothing."""
    rt60_s: tuple[float, float] = (0.25, 0.5)
    """Bounds of the time in which reverberation falls by 60 dB: furnished rooms."""
    gain_db: float = 6.0
    loudness_db: float = 3.0
    delay_s: float = 0.05
    drift_ppm: float = 100.0
    fan_db: float = -62.0
    """Level of the fan in dB below full scale, before the gains."""
    keyboard: bool = True


@dataclass(frozen=True, slots=True)
class Setting:
    """The acoustics of one meeting; arrays are by speaker or by microphone.

    `angles` are the places around the table in radians; `loudness` and `gains` are factors;
    `bleeds_db` has shape (speakers, microphones), or is None if microphones hear no others.
    """

    rt60_s: float
    angles: Floats
    bleeds_db: Floats | None
    loudness: Floats
    gains: Floats
    delays_s: Floats
    drifts_ppm: Floats


def draw(speakers: int, acoustics: Acoustics, seed: int) -> Setting:
    """Return the setting of a seed.

    The same values are drawn for any bleed; the other spreads only scale them.
    """
    rng = np.random.default_rng(seed)
    rt60_s = rng.uniform(*acoustics.rt60_s)
    angles = 2 * np.pi * (np.arange(speakers) + rng.uniform(-0.2, 0.2, speakers)) / speakers
    bleeds_db = rng.uniform(-BLEED_SPREAD_DB, BLEED_SPREAD_DB, (speakers, speakers))
    loudness_db = rng.uniform(-1, 1, speakers) * acoustics.loudness_db
    gains_db = rng.uniform(-1, 1, speakers) * acoustics.gain_db
    return Setting(
        rt60_s=rt60_s,
        angles=angles,
        bleeds_db=None if acoustics.bleed_db is None else acoustics.bleed_db + bleeds_db,
        loudness=10 ** (loudness_db / 20),
        gains=10 ** (gains_db / 20),
        delays_s=rng.uniform(0, 1, speakers) * acoustics.delay_s,
        drifts_ppm=rng.uniform(-1, 1, speakers) * acoustics.drift_ppm,
    )
