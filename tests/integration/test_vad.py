"""Voice activity detection on speech: what it costs to hear several frames at once is nothing."""

from __future__ import annotations

import numpy as np

from node.adapters.vad import AT_ONCE, Silero
from node.core.model import TICK
from tests.model.say import say
from tests.model.sentences import SENTENCES


def test_frames_heard_together_get_the_probabilities_of_single_ones() -> None:
    silero = Silero()
    sound = np.concatenate([say(s.text, s.language, s.voice) for s in SENTENCES[:2]])
    frames = sound[: len(sound) // TICK * TICK].reshape(-1, TICK)
    assert len(frames) > AT_ONCE
    single, together, split = (silero.detector() for _ in range(3))
    expected = np.concatenate([single(frame[None]) for frame in frames])
    assert expected.max() > 0.9
    assert expected.min() < 0.1
    assert (together(frames) == expected).all()
    assert (np.concatenate([split(frames[:5]), split(frames[5:])]) == expected).all()


def test_a_reset_detector_hears_as_a_new_one() -> None:
    silero = Silero()
    frames = np.random.default_rng(0).integers(-3000, 3000, (8, TICK), dtype=np.int16)
    detector = silero.detector()
    first = detector(frames)
    assert (detector(frames) != first).any()
    detector.reset()
    assert (detector(frames) == first).all()
