"""Gains and couplings that are learned from levels alone, with three microphones."""

from __future__ import annotations

import numpy as np
import pytest

from node.core.room.coupling import PRIOR_DB, Coupling, Levels
from node.core.room.hearing import BANDS

MICS = 3
LEAKS = {(0, 1): -20.0, (1, 0): -20.0, (0, 2): -30.0, (2, 0): -30.0, (1, 2): -8.0, (2, 1): -8.0}
"""Level in dB of each speaker at the other microphones; the same both ways."""
HOPS = 150
FLOOR = 1e-8


def spoken(speaker: int) -> Levels:
    """2.4 s of one speaker, 50 dB over the noise floor in every band."""
    power = np.full((MICS, HOPS, BANDS), 1e-3, np.float32)
    for other in set(range(MICS)) - {speaker}:
        power[other] *= 10 ** (LEAKS[speaker, other] / 10)
    voice = np.zeros((MICS, HOPS), np.float32)
    voice[speaker] = 1
    return Levels(power, np.full_like(power, FLOOR), voice, np.ones((MICS, HOPS), np.bool_))


def estimate(coupling: Coupling, mics: int = MICS, *apart: int) -> None:
    coupling.estimate(np.full(mics, -80.0), ~np.isin(np.arange(mics), apart))


@pytest.fixture
def learned() -> Coupling:
    coupling = Coupling()
    for _ in range(MICS):
        coupling.add()
    for speaker in range(MICS):
        for hop in range(0, HOPS, 2):
            coupling.learn(spoken(speaker).part(hop, hop + 2))
    estimate(coupling)
    return coupling


def leaks_db(coupling: Coupling) -> dict[tuple[int, int], float]:
    levels = 10 * np.log10(coupling.matrix.mean(axis=2))
    return {(a, b): float(levels[a, b]) for a, b in np.argwhere(~np.eye(len(levels), dtype=bool))}


def test_leaks_are_learned_near_to_what_they_are(learned: Coupling) -> None:
    """The assumption without evidence, -12 dB, still weighs an eighth."""
    weighed = {pair: db + (PRIOR_DB - db) / 8 for pair, db in LEAKS.items()}
    assert leaks_db(learned) == pytest.approx(weighed, abs=1)


def test_microphones_that_hear_nothing_in_common_leak_nothing(learned: Coupling) -> None:
    estimate(learned, MICS, 1)
    assert (learned.matrix[1] == np.eye(MICS)[1][:, None]).all()
    assert (learned.matrix[:, 1] == np.eye(MICS)[:, 1][:, None]).all()
    assert (learned.matrix[0, 2] > 0).all()


def test_what_is_forgotten_is_what_it_was_before_anything_was_learned(learned: Coupling) -> None:
    learned.forget()
    estimate(learned)
    assert leaks_db(learned) == pytest.approx(dict.fromkeys(LEAKS, PRIOR_DB), abs=0.01)
