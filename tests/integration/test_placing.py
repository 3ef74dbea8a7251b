"""A track's sound on another track's clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from node.adapters.sound_files import Reader
from node.commands import placing
from node.commands.recorded import read
from node.commands.tracks import Track
from node.core.model import SAMPLE_RATE
from node.core.room.alignment import Placed
from node.errors import ConfigError
from tests.model.say import write_wav

if TYPE_CHECKING:
    from pathlib import Path

LENGTH_S, KNOCK = 120, np.hanning(64) * 20000


def knocks(folder: Path) -> Path:
    """A track with a knock every 20 s."""
    sound = np.zeros(LENGTH_S * SAMPLE_RATE)
    for second in range(10, LENGTH_S, 20):
        sound[second * SAMPLE_RATE :][:64] = KNOCK
    file = folder / "knocks.wav"
    write_wav(file, sound.astype(np.int16), SAMPLE_RATE)
    return file


@pytest.mark.parametrize("ppm", [-200, 0, 80])
def test_sound_is_brought_to_the_common_clock(ppm: float, tmp_path: Path) -> None:
    rate = 1 + ppm * 1e-6
    sound = np.concatenate(list(read(Reader(knocks(tmp_path)), Placed(7.0, rate, 0))))
    assert len(sound) == pytest.approx(LENGTH_S * SAMPLE_RATE * rate, abs=2)
    for second in range(10, LENGTH_S, 20):
        expected = (second * SAMPLE_RATE + 32) * rate
        around = sound[round(expected) - 500 : round(expected) + 500]
        assert int(around.argmax()) == pytest.approx(500, abs=2)


def tracks(folder: Path, *numbers: int) -> list[Track]:
    """Tracks whose files do not exist."""
    return [Track(number, folder / f"{number}.wav", f"{number}", 1.0) for number in numbers]


def test_offsets_count_from_the_earliest(tmp_path: Path) -> None:
    places = placing.place(tracks(tmp_path, 1, 2, 3), [3.0, -2.5])
    assert places == [Placed(start_s, 1.0, 0) for start_s in (5.5, 0.0, 2.5)]


def test_offsets_are_those_of_the_files_as_given(tmp_path: Path) -> None:
    """Here the second file, which began first, could not be read."""
    places = placing.place(tracks(tmp_path, 1, 3), [3.0, -2.5, 7.0])
    assert [placed.start_s for placed in places] == [0.0, 4.0]


@pytest.mark.parametrize("offsets", [[0.0, 1.0], [float("inf")], [float("nan")], [-86_401.0]])
def test_offsets_that_cannot_be_are_refused(offsets: list[float], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--offset"):
        placing.check(offsets, [tmp_path])


@pytest.mark.parametrize("count", [1, 3])
def test_what_cannot_be_read_begins_at_0_without_a_word(
    count: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = placing.place(tracks(tmp_path, *range(count)), [])
    assert places == [Placed(0.0, 1.0, 0)] * count
    assert capsys.readouterr().err == ""
