"""What the word benchmark counts, with systems that write what they are told to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from config.demo.speech import write_wav
from node.core.model import SAMPLE_RATE, TICK
from tests.bench.speech import Recording
from tests.bench.texts import errors
from tests.bench.words import fan
from tests.bench.words.clips import PAUSE, Heard, hear
from tests.bench.words.report import markdown, whole_markdown, worst, worst_wholes
from tests.bench.words.through import PAUSE_S, Whole, recording_of

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

TEXTS = {"u0": "turn on the light", "u1": "good night"}


class Parrot:
    """Writes the same for everything, in one language; notes when it is asked."""

    def __init__(self, text: str, language: str) -> None:
        self._said = text, language
        self.starts: list[int] = []

    def begin(self) -> None:
        self.starts.clear()

    def hear(self, start: int, samples: npt.NDArray[np.int16]) -> tuple[str, str]:
        assert len(samples) == SAMPLE_RATE
        self.starts.append(start)
        return self._said

    def also(self, _samples: npt.NDArray[np.int16]) -> list[str]:
        return []


class Gambler(Parrot):
    """Always writes the same for the first clip, and differs between runs for the others."""

    def also(self, _samples: npt.NDArray[np.int16]) -> list[str]:
        return ["", "Good night."] if self.starts[-1] else []


@pytest.fixture
def said(tmp_path: Path) -> list[Recording]:
    file = tmp_path / "second.wav"
    write_wav(file, np.ones(SAMPLE_RATE, np.int16), SAMPLE_RATE)
    return [Recording(name, "en", "ann", text, "home", file) for name, text in TEXTS.items()]


@pytest.fixture
def heard(said: list[Recording]) -> list[Heard]:
    return list(hear(said, {"bad": Parrot("", "fr"), "good": Parrot("Turn on a light.", "en")}))


def test_utterances_are_heard_one_after_the_other(said: list[Recording]) -> None:
    parrot = Parrot("", "en")
    for _ in range(2):
        assert len(list(hear(said, {"it": parrot}))) == 2
        assert parrot.starts == [0, SAMPLE_RATE + PAUSE]


def test_the_table_has_errors_and_languages_by_kind(heard: list[Heard]) -> None:
    head, _, home, total = markdown(heard).splitlines()
    assert head.startswith("| Speech | utterances | words | word errors: bad | word errors: good |")
    assert home.startswith("| home, en | 2 | 6 | 100 % | 83.3 % | 0 | 2 |")
    assert total.startswith("| all | 2 | 6 | 100 % | 83.3 % | 0 | 2 |")


def test_of_runs_that_differ_the_median_is_given_with_the_least_and_the_most(
    said: list[Recording],
) -> None:
    heard = list(hear(said, {"it": Gambler("Good morning.", "en")}))
    assert [each.written["it"].errors.wrong for each in heard] == [4, 1]
    *_, total = markdown(heard).splitlines()
    # Of 6 words, 4 of the first clip are always wrong; 1, 2 or 0 of the second.
    assert total.startswith("| all | 2 | 6 | 83.3 % (66.7 % to 100 %) | 2 |")


def test_the_worst_are_those_of_the_last_system(heard: list[Heard]) -> None:
    assert worst(heard, 1) == [
        "u1 (en): good night",
        "    bad, 2 wrong, another language: ",
        "    good, 4 wrong: Turn on a light.",
    ]
    assert worst(heard, 0) == []


def test_a_speaker_as_one_recording_is_scored_as_a_whole(said: list[Recording]) -> None:
    assert len(recording_of(said)) == (2 + 3 * PAUSE_S) * SAMPLE_RATE
    text = " ".join(TEXTS.values())
    whole = Whole("ann", "home", "en", 2, text, "Good night.", errors(text, "Good night."))
    assert whole_markdown([whole]).splitlines()[-1] == "| all | 1 | 2 | 6 | 66.7 % |"
    assert worst_wholes([whole], 1)[1] == "    transcribe: Good night."


def test_after_a_short_and_a_long_fan_the_same_is_heard_at_the_same_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fan, "BEFORE", (32, 320))
    voice = np.random.default_rng(1).integers(-9000, 9000, SAMPLE_RATE).astype(np.int16)
    short, long = (fan.track(voice, -30.0, frames, 7) for frames in fan.BEFORE)
    assert (short == long[-len(short) :]).all()
    assert (len(long) - len(short)) % TICK == 0
    assert len(short) == fan.BEFORE[0] * TICK + len(voice) + fan.BEHIND_S * SAMPLE_RATE


def test_a_voice_has_its_level_where_it_is_heard() -> None:
    """Silence around it does not count, nor what is 34 dB below it."""
    loud = np.full(SAMPLE_RATE, 8000, np.int16)
    parts = np.concatenate([np.zeros(SAMPLE_RATE, np.int16), loud, loud // 100])
    made = fan.voice(parts, -30.0)[SAMPLE_RATE : 2 * SAMPLE_RATE]
    assert 20 * np.log10(np.abs(made)).mean() == pytest.approx(-30.0, abs=0.01)


def test_the_rows_of_the_fan_say_what_was_not_heard(said: list[Recording]) -> None:
    """Three words of six are wrong; faster-whisper, which is told where they are, has all."""
    light, night = said
    heard = [
        fan.Behind(light, "Turn on a light.", "Turn on the light.", unheard=False),
        fan.Behind(night, "", "Good night.", unheard=True),
    ]
    row = fan.Row(-45.0, fan.BEFORE[1], heard)
    assert fan.markdown([row]).splitlines()[-1] == (
        "| -45 dBFS | 120 s | 2 | 6 | 50.0 % | 1 | 1 | 0.0 % |"
    )
    assert fan.missed([row]) == [
        "-45 dBFS, 120 s of fan: u1 (good night) was not heard; faster-whisper: Good night."
    ]


def test_what_was_heard_without_words_is_told_from_what_was_not_heard(
    said: list[Recording],
) -> None:
    empty = fan.Behind(said[1], "", "night", unheard=False)
    row = fan.Row(-45.0, fan.BEFORE[0], [empty])
    assert fan.markdown([row]).splitlines()[-1] == (
        "| -45 dBFS | 1 s | 1 | 2 | 100 % | 0 | 1 | 50.0 % |"
    )
    assert "heard without words" in fan.missed([row])[0]
