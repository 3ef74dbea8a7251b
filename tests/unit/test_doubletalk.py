"""Two people speak at once: what a room hands on of each."""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import pytest

from node.core.model import SAMPLE_RATE
from node.core.room import doubletalk
from node.core.room.endpointing import Audio, Ended, Endpointing, Started
from node.core.room.hearing import HOP
from node.core.room.room import Room
from tests.rig import talk

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from node.core.room.endpointing import Samples
    from node.core.room.room import MicEvents, Mode
    from tests.rig.talk import Tracks, Turns

TURNS: Turns = {
    0: [(0.2, 1.4), (3.0, 5.0), (8.0, 10.0)],
    1: [(1.4, 2.6), (5.6, 7.4), (8.6, 11.0)],
}
"""Each speaks alone, twice; then one begins while the other still speaks."""
SECONDS = 12.0
AT_A_TIME = SAMPLE_RATE // 2
"""Samples fed at once."""
INTRODUCED = 2.6 * SAMPLE_RATE
"""Sample from which both are known to the room."""


AT_ONCE = 8 * SAMPLE_RATE
"""Sample before which nobody speaks while another does."""


@pytest.fixture(autouse=True)
def _meeting_is_all_there_is_to_learn_from(monkeypatch: pytest.MonkeyPatch) -> None:
    """Instead of half a minute, most of it empty."""
    monkeypatch.setattr(doubletalk, "LEARNED_HOPS", int(SECONDS * SAMPLE_RATE) // HOP + 50)


class Loudness:
    """Stands in for the speech model: a frame is speech where it is loud."""

    def __call__(self, frames: Samples) -> npt.NDArray[np.float32]:
        return np.where(np.abs(frames).max(axis=1) > talk.HEARD, np.float32(1), np.float32(0))

    def reset(self) -> None:
        pass


def feed(made: Room, tracks: Tracks, slips: Mapping[int, int] = MappingProxyType({})) -> MicEvents:
    """Feed all; `slips` are corrections of b's clock in what begins at some samples."""
    heard: MicEvents = []
    samples = dict(zip("ab", talk.samples_of(tracks), strict=True))
    for begin in range(0, len(samples["a"]), AT_A_TIME):
        for mic, sound in samples.items():
            slipped = slips.get(begin, 0) if mic == "b" else 0
            heard += made.feed(mic, sound[begin : begin + AT_A_TIME], slipped)
    return heard


def heard_by(
    tracks: Tracks, mode: Mode = "drop", slips: Mapping[int, int] = MappingProxyType({})
) -> MicEvents:
    made = Room(Endpointing(hangover_ms=600), mode)
    for mic in "ab":
        made.add(mic, Loudness())
    return finished(made, feed(made, tracks, slips))


def finished(made: Room, heard: MicEvents) -> MicEvents:
    return heard + made.flush("a") + made.flush("b")


@cache
def meeting(lag: int = 0) -> Tracks:
    return talk.meeting(TURNS, SECONDS, lag=lag, pitches=3)


@cache
def undisturbed(lag: int = 0) -> Tracks:
    """Return the meeting without leaks."""
    return talk.meeting(TURNS, SECONDS, bleed_db=-200, lag=lag, pitches=3)


@cache
def in_turns() -> tuple[Room, MicEvents]:
    """Return a room that has heard each speak alone, and what it made of that: take copies."""
    made = Room(Endpointing(hangover_ms=600), "drop")
    for mic in "ab":
        made.add(mic, Loudness())
    return made, feed(made, meeting()[:, :AT_ONCE])


def both_at_once() -> MicEvents:
    """Return all that a room makes of the meeting, with the constants as they are now."""
    made, heard = deepcopy(in_turns())
    return finished(made, heard + feed(made, meeting()[:, AT_ONCE:]))


@cache
def as_it_is() -> MicEvents:
    """Return the same with the constants unchanged: nobody may write to it."""
    return both_at_once()


def ends(heard: MicEvents) -> list[tuple[str, int, Ended]]:
    """Microphone, first sample and end of each utterance."""
    begun: dict[str, int] = {}
    made = []
    for mic, event in heard:
        if isinstance(event, Started):
            begun[mic] = event.start
        elif isinstance(event, Ended):
            made.append((mic, begun[mic], event))
    return made


def last(heard: MicEvents, mic: str) -> tuple[int, Ended]:
    return [(start, ended) for one, start, ended in ends(heard) if one == mic][-1]


def level_db(sound: npt.NDArray[np.floating]) -> float:
    return float(10 * np.log10(np.square(sound).mean()))


@pytest.mark.parametrize("lag", [0, 1700])
def test_each_keeps_their_own_voice_alone(lag: int) -> None:
    both = meeting(lag)
    assert_each_is_alone(heard_by(both) if lag else as_it_is(), both, undisturbed(lag))


def assert_each_is_alone(heard: MicEvents, both: Tracks, alone: Tracks) -> None:
    """Where both speak, what is left of the other is 5 dB below what there was."""
    for row, mic in enumerate("ab"):
        start, ended = last(heard, mic)
        assert ended.crosstalk_of is None
        assert ended.sound is not None
        assert len(ended.sound) == ended.end - start
        part = slice(9 * SAMPLE_RATE, round(9.8 * SAMPLE_RATE))
        left = ended.sound[part.start - start : part.stop - start] / 32768
        leak = level_db(both[row, part] - alone[row, part])
        assert level_db(left - alone[row, part]) < leak - 5


def test_a_correction_of_a_clock_spoils_no_cleaning() -> None:
    """What was learned of the leaks before it holds after it."""
    at, step = int(5.5 * SAMPLE_RATE), -80
    both, alone = meeting().copy(), undisturbed().copy()
    for tracks in (both, alone):
        tracks[1, at:] = np.roll(tracks[1, at:], step)
    assert_each_is_alone(heard_by(both, slips={at - AT_A_TIME: step}), both, alone)


def test_what_nobody_else_spoke_in_stays_as_it_is() -> None:
    made = ends(finished(*deepcopy(in_turns())))
    later = [(mic, ended) for mic, start, ended in made if start > INTRODUCED]
    assert [(mic, ended.sound) for mic, ended in later] == [("a", None), ("b", None)]


@pytest.mark.parametrize("mode", ["tag", "off"])
def test_sound_is_cleaned_only_where_it_is_dropped(mode: Mode) -> None:
    heard = heard_by(meeting(), mode)
    assert all(ended.sound is None for _, _, ended in ends(heard))


def test_what_is_longer_than_what_is_kept_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doubletalk, "LEARNED_HOPS", 100)
    heard = both_at_once()
    assert [last(heard, mic)[1].sound for mic in "ab"] == [None, None]


def test_an_utterance_of_which_nothing_is_left_was_anothers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As if too much was taken for its own while it was spoken."""
    monkeypatch.setattr(doubletalk, "OWN_SHARE", 1.0)
    heard = both_at_once()
    others = {mic: ended.crosstalk_of for mic, _, ended in ends(heard) if ended.sound is not None}
    assert others == {"a": "b", "b": "a"}


def test_what_is_not_its_own_is_turned_down() -> None:
    sound = np.full(16 * HOP, 0.5, np.float32)
    mine = np.arange(16) < 8
    left = doubletalk._cut_to(sound, mine, slice(0, len(sound)), "b")
    assert left.own_samples == 8 * HOP
    loud, faint = left.sound[: 7 * HOP], left.sound[9 * HOP :]
    assert np.unique(loud).tolist() == [16384]
    assert np.unique(faint).tolist() == [164], "40 dB less"


def test_the_sound_sent_on_the_way_is_as_long() -> None:
    heard = as_it_is()
    start, ended = last(heard, "b")
    begun = max(n for n, (mic, e) in enumerate(heard) if mic == "b" and isinstance(e, Started))
    sent = [e.samples for mic, e in heard[begun:] if mic == "b" and isinstance(e, Audio)]
    assert ended.sound is not None
    assert len(np.concatenate(sent)[: ended.end - start]) == len(ended.sound)
