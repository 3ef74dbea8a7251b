"""Blind separation of the tracks of one room, as a peer: AuxIVA of pyroomacoustics.

AuxIVA (Ono, WASPAA 2011) finds as many independent voices as there are microphones, but not whose
they are. Each voice goes to the microphone in which it is loudest, as that microphone hears it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyroomacoustics
from scipy.optimize import linear_sum_assignment
from scipy.signal import istft, stft

if TYPE_CHECKING:
    import numpy.typing as npt

    Samples = npt.NDArray[np.int16]

WINDOW = 4096
"""Samples at 16 kHz: about the reverberation time, as pyroomacoustics advises."""

HOP = WINDOW // 2
ITERATIONS = 20
"""The default of pyroomacoustics; twice as many separated no better."""

WORK_BYTES = 2**29
"""What AuxIVA's largest array may take; longer recordings are separated in equal parts."""


def separated(tracks: Samples) -> Samples:
    """Return tracks of shape (microphones, samples), int16 at 16 kHz, each with only its voice."""
    mics, length = tracks.shape
    frame_bytes = (WINDOW // 2 + 1) * mics**2 * np.dtype(np.complex128).itemsize
    parts = -(-length * frame_bytes // (HOP * WORK_BYTES))
    return np.concatenate([_part(part) for part in np.array_split(tracks, parts, axis=1)], axis=1)


def _part(tracks: Samples) -> Samples:
    _, _, heard = stft(tracks / 32768, nperseg=WINDOW, noverlap=WINDOW - HOP)
    voices, demixing = pyroomacoustics.bss.auxiva(
        heard.transpose(2, 1, 0), n_iter=ITERATIONS, proj_back=False, return_filters=True
    )
    mixing = np.linalg.pinv(demixing)  # (frequencies, microphones, voices)
    power = np.square(np.abs(voices)).sum(axis=0)  # (frequencies, voices)
    images = np.einsum("fmv,fv->mv", np.square(np.abs(mixing)), power)
    # In decibels, a microphone's gain is the same for all voices and decides nothing.
    _, owned = linear_sum_assignment(np.log(images + 1e-12), maximize=True)
    own = mixing[:, np.arange(len(tracks)), owned] * voices[:, :, owned]
    _, sound = istft(own.transpose(2, 1, 0), nperseg=WINDOW, noverlap=WINDOW - HOP)
    fitted: Samples = np.round(sound[:, : tracks.shape[1]] * 32768).clip(-32768, 32767)
    return fitted.astype(np.int16)
