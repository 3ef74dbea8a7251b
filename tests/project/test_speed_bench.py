"""What the speed benchmark counts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bench.speed import report
from tests.bench.speed.pace import LEAST, TOKENS_PER_S, length, tokens
from tests.bench.speed.setup import Job, Outcome, lags


def mel(frames: int, spoken: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Quiet at 1e-6 of power, speech at 1e-1, scaled as Whisper's features are."""
    features = np.full((80, frames), (-6 + 4) / 4, np.float32)
    features[10, :spoken] = (-1 + 4) / 4
    return features


def test_a_window_says_as_much_as_is_spoken_in_it() -> None:
    assert tokens(mel(3000, 1000)) == round(10 * TOKENS_PER_S)
    assert tokens(mel(1000, 1000)) == tokens(mel(3000, 1000))
    assert tokens(mel(3000, 0)) == LEAST


@pytest.mark.parametrize(("prompt", "wanted"), [(3, 30), (50, 30), (4, 100)])
def test_the_length_asked_of_ctranslate2_gives_the_tokens_wanted(prompt: int, wanted: int) -> None:
    asked = length([[0] * prompt], wanted)
    assert min(asked // 2, asked - prompt + 1) == wanted


def test_a_job_waits_for_the_one_before_it() -> None:
    jobs = [Job(ready_s=5, takes_s=2, spoken_s=(4,)), Job(ready_s=6, takes_s=1, spoken_s=(6,))]
    assert lags(jobs) == (3, 2)


def test_jobs_that_are_ready_at_once_are_taken_one_by_one() -> None:
    jobs = [Job(30, 4, (10.0, 20.0)), Job(30, 4, (29.0,))]
    assert lags(jobs) == (24, 14, 9)


@given(st.lists(st.tuples(st.floats(0, 1000), st.floats(0.01, 10)), max_size=20))
def test_no_text_comes_before_its_speech_is_transcribed(pairs: list[tuple[float, float]]) -> None:
    jobs = [Job(ready, takes, (ready,)) for ready, takes in pairs]
    assert all(lag >= min(takes for _, takes in pairs) * 0.999 for lag in lags(jobs))


def outcome(cpu_s: float) -> Outcome:
    return Outcome(60.0, cpu_s, (1.0, 2.0, 3.0), parts_s={"engine": cpu_s / 2})


def test_the_table_says_which_aims_are_missed() -> None:
    results = {"ours": outcome(6), "floor": outcome(5), "openai-blocks": outcome(70)}
    table = report.main_table("base", (4, 50), results)
    assert "| this node, from the tracks | 360 | 1.20 |" in table
    assert "at most 1.15 times the floor: 1.20 times, MISSED" in table
    assert "openai-whisper: 11.7 times, met" in table
    assert "engine 180 s, hearing (VAD, ownership, cutting) 180 s" in table
