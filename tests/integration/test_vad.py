"""Voice activity detection on speech: hearing several frames at once loses nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pytest

from node.adapters.vad import AT_ONCE, Silero
from node.core.model import SAMPLE_RATE, TICK
from tests.bench.engine.sounds import fan
from tests.model.say import say
from tests.model.sentences import SENTENCES
from tests.rig.node import ROOT

if TYPE_CHECKING:
    from pathlib import Path


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


@pytest.mark.parametrize("above_noise_db", [30, 10])
def test_a_sentence_after_stillness_begins_where_it_did(above_noise_db: float) -> None:
    """Skipping frames misses no beginning: the same frames are speech, except for one."""
    speech = np.concatenate([say(s.text, s.language, s.voice) for s in SENTENCES[:3]])
    gap = np.zeros(5 * SAMPLE_RATE)
    sound = np.concatenate([gap, speech, gap, speech])
    level = np.sqrt(np.mean(speech.astype(float) ** 2)) / 10 ** (above_noise_db / 20)
    noisy = sound + np.random.default_rng(1).standard_normal(len(sound)) * level
    frames = noisy[: len(sound) // TICK * TICK].clip(-32768, 32767).astype(np.int16)
    frames = frames.reshape(-1, TICK)
    spared, always = _Counting(), Silero().detector()
    always._stillness = lambda powers, _floors: [False for _ in powers]  # type: ignore[assignment]
    heard, told = spared.detector()(frames) >= 0.5, always(frames) >= 0.5
    assert spared.frames < 0.85 * len(frames)
    assert np.flatnonzero(heard)[0] <= np.flatnonzero(told)[0] + 1
    assert (told & ~heard).sum() <= 2


@pytest.mark.parametrize("speech_db", [-30, -45])
def test_speech_after_a_minute_of_a_fan_is_heard_as_after_a_second(speech_db: float) -> None:
    """Steady noise such as a fan saturates Silero's state; its loudness is like speech."""
    speech = np.concatenate([say(s.text, s.language, s.voice) for s in SENTENCES[:4]])
    level = np.sqrt(np.mean(speech.astype(float) ** 2))
    voice = speech / level * 32768 * 10 ** (speech_db / 20)
    noise = fan(61 * SAMPLE_RATE + len(voice), np.random.default_rng(5))
    noise *= 32768 * 10 ** (-55 / 20) / noise.std()
    frames = []
    for seconds in (1, 60):
        sound = noise[-len(voice) - seconds * SAMPLE_RATE :].copy()
        sound[-len(voice) :] += voice
        whole = sound[len(sound) % TICK :].clip(-32768, 32767).astype(np.int16)
        probabilities = Silero().detector()(whole.reshape(-1, TICK))
        assert (probabilities[: seconds * SAMPLE_RATE // TICK - 1] < 0.5).all()
        frames.append(probabilities[-(len(voice) // TICK) :] >= 0.5)
    soon, late = frames
    assert soon.sum() > 0.5 * len(soon)
    assert np.flatnonzero(late)[0] <= np.flatnonzero(soon)[0] + 2
    assert late.sum() >= 0.9 * soon.sum()


def test_faint_speech_is_heard_like_loud_speech() -> None:
    """The same speech over the same fan, and once from afar: the network takes that for noise."""
    speech = np.concatenate([say(s.text, s.language, s.voice) for s in SENTENCES[:8]])
    level = np.sqrt(np.mean(speech.astype(float) ** 2))
    noise = fan(len(speech), np.random.default_rng(5))
    sound = speech / level + noise / noise.std() * 10 ** (-6 / 20)
    frames = {}
    for level_db in (-28, -52):
        samples = np.rint(sound * 32768 * 10 ** (level_db / 20)).clip(-32768, 32767)
        whole = samples[: len(samples) // TICK * TICK].astype(np.int16).reshape(-1, TICK)
        frames[level_db] = int((Silero().detector()(whole) >= 0.5).sum())
    assert frames[-52] >= 0.95 * frames[-28] > 0


class _Counting(Silero):
    """Counts what reaches the network."""

    frames = 0

    def run(self, inputs: dict[str, npt.NDArray[np.float32]]) -> list[npt.NDArray[np.float32]]:
        self.frames += len(inputs["input"])
        return super().run(inputs)


TOLD_NOT_TO = ("CI", "GITHUB_ACTIONS", "ORT_DISABLE_TELEMETRY", "ORT_RUNNING_UNIT_TESTS")
"""What stops ONNX Runtime from reporting: without them a test is like a user's machine."""


def test_no_report_of_its_use_is_made_ready(tmp_path: Path) -> None:
    """ONNX Runtime keeps in the home folder what it is about to send."""
    env = {key: value for key, value in os.environ.items() if key not in TOLD_NOT_TO}
    program = "from node.adapters.vad import Silero; Silero().detector()"
    subprocess.run(
        [sys.executable, "-B", "-c", program],
        cwd=ROOT,
        env=env | {"HOME": str(tmp_path)},
        check=True,
    )
    assert not list(tmp_path.rglob("*"))
