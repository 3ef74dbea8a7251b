"""While somebody speaks, the silence still missing before the end must be true."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from node.core.model import TICK
from node.core.room.endpointing import Audio, Ended, Endpointing
from node.core.room.room import Room

if TYPE_CHECKING:
    import numpy.typing as npt

    from node.core.room.endpointing import Samples
    from node.core.room.room import Mode

LOUD = 8000
LONGEST = 24
SILENCE = 40
"""Ticks: more than the pause that ends an utterance plus all look-ahead."""


class LoudnessDetector:
    """Stands in for the speech model: a frame is speech where it is loud."""

    def __call__(self, frames: Samples) -> npt.NDArray[np.float32]:
        means = np.abs(frames.astype(np.int32)).mean(axis=1)
        return np.where(means > LOUD / 2, np.float32(1), np.float32(0))

    def reset(self) -> None:
        pass


@settings(max_examples=12, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, LONGEST), st.integers(1, 8)), min_size=1, max_size=3),
    st.integers(1, 5),
    st.sampled_from(["drop", "tag", "off"]),
)
def test_no_utterance_ends_before_what_was_promised_to_follow(
    spoken: list[tuple[int, int]], ticks: int, mode: Mode
) -> None:
    """Alice speaks and pauses, in ticks; her sound and Bruno's silence arrive in such blocks."""
    levels = [level for loud, quiet in spoken for level in [LOUD] * loud + [0] * quiet]
    alice = np.repeat(np.array([*levels, *[0] * SILENCE], np.int16), TICK)
    pair = Room(Endpointing(), mode)
    for mic in ("alice", "bruno"):
        pair.add(mic, LoudnessDetector())
    promised, step = 0, ticks * TICK
    for begin in range(0, len(alice), step):
        sound = alice[begin : begin + step]
        heard = pair.feed("alice", sound) + pair.feed("bruno", np.zeros_like(sound))
        events = [event for _, event in heard]
        if any(isinstance(event, Ended) for event in events):
            assert begin + len(sound) >= promised
        more = [event.more for event in events if isinstance(event, Audio)]
        promised = begin + len(sound) + more[-1] if more else promised
