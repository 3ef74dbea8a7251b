from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.core.model import SAMPLE_RATE
from node.core.room.timeline import ANCHOR_S, SLIP_EVERY, StreamClock

ZERO = 1000.0
"""Monotonic time of sample 0 of the session."""

OPENED = 1.5
"""Second of the session at which the simulated mic begins to deliver."""


@dataclass(frozen=True)
class Loss:
    """Sound that the driver lost, in seconds of the session."""

    at: float
    seconds: float
    reported: bool


@dataclass
class Stream:
    """A simulated mic: a crystal off by `ppm`, blocks that arrive late, lost sound."""

    ppm: float = 0.0
    block: int = 1024
    late_first_s: float = 0.0
    losses: list[Loss] = field(default_factory=list)
    slipped: int = 0
    errors: list[tuple[float, float]] = field(default_factory=list)

    def run(self, seconds: float) -> None:
        """Place every block; note (second, placement error in s) of each block's first sample."""
        clock, chance = StreamClock(ZERO), random.Random(4)
        held: list[tuple[int, float]] = []
        anchored = False
        now, arrived, losses = OPENED, 0.0, list(self.losses)
        while now < seconds:
            if losses and now >= losses[0].at:
                loss = losses.pop(0)
                now += loss.seconds
                if loss.reported:
                    clock.overflow()
            began = now
            now += self.block / (SAMPLE_RATE * (1 + self.ppm * 1e-6))
            arrived = max(arrived, ZERO + now + self._delay(chance, first=not anchored))
            if anchored:
                self._place(clock, arrived, began)
                continue
            held.append((self.block, arrived))
            if sum(count for count, _ in held) >= ANCHOR_S * SAMPLE_RATE:
                anchored = True
                clock.anchor(held)
                for count, arrival in held:
                    clock.place(count, arrival)

    def _delay(self, chance: random.Random, *, first: bool) -> float:
        """Scheduling: a few ms, now and then a stall; nothing is ever early."""
        stall = 0.4 if chance.random() < 0.005 else 0.0
        return abs(chance.gauss(0, 0.003)) + stall + self.late_first_s * first

    def _place(self, clock: StreamClock, arrived: float, began: float) -> None:
        before = clock.position
        placement = clock.place(self.block, arrived)
        placed = before + placement.silence
        self.slipped += placement.slip
        self.errors.append((began, placed / SAMPLE_RATE - began))

    def worst(self, start: float, end: float = float("inf")) -> float:
        return max(abs(error) for second, error in self.errors if start <= second < end)


@pytest.mark.parametrize("ppm", [-100, 0, 100])
def test_drift_of_an_hour_is_taken_out(ppm: float) -> None:
    stream = Stream(ppm=ppm, block=6000)
    stream.run(3600)
    assert stream.worst(30) < 0.010
    assert stream.slipped == pytest.approx(-ppm * 1e-6 * 3600 * SAMPLE_RATE, abs=200)


@pytest.mark.parametrize("ppm", [-100, 100])
def test_drift_is_taken_out_once_and_not_twice(ppm: float) -> None:
    stream = Stream(ppm=ppm)
    stream.run(150)
    late = [error * ppm for second, error in stream.errors if second > 5]
    assert min(late) > -0.002 * abs(ppm)  # never much on the other side of the truth


def test_nothing_slips_without_drift() -> None:
    stream = Stream()
    stream.run(120)
    assert stream.slipped == 0
    assert stream.worst(0) < 0.003


@pytest.mark.parametrize("seconds", [0.02, 0.05, 0.2, 3.0])
def test_reported_loss_is_filled_within_a_second(seconds: float) -> None:
    stream = Stream(losses=[Loss(20, seconds, reported=True)])
    stream.run(60)
    assert stream.worst(0, 20) < 0.003
    assert stream.worst(20 + seconds + 1.0) < 0.030
    assert stream.worst(45) < 0.010


@pytest.mark.parametrize("seconds", [0.2, 1.0, 30.0])
def test_unreported_loss_is_noticed(seconds: float) -> None:
    stream = Stream(losses=[Loss(20, seconds, reported=False)])
    stream.run(80)
    assert stream.worst(20 + seconds + 3.0) < 0.030


def test_a_short_unreported_loss_is_made_up_sample_by_sample() -> None:
    stream = Stream(losses=[Loss(20, 0.1, reported=False)])
    stream.run(80)
    assert stream.worst(60) < 0.010


def test_a_loss_during_a_correction_is_filled_once() -> None:
    stream = Stream(losses=[Loss(20, 0.14, reported=False), Loss(35, 0.3, reported=True)])
    stream.run(60)
    assert stream.worst(36.5) < 0.010


def test_a_stall_is_no_loss() -> None:
    clock = StreamClock(0.0)
    clock.anchor([(512, 0.032)])
    for block in range(1, 400):
        stalled = 100 <= block < 150  # 1.6 s of blocks arrive at once
        arrival = 0.032 * (150 if stalled else block)
        assert clock.place(512, arrival).silence == 0


def test_a_stall_at_a_reported_overflow_that_lost_nothing_is_no_loss() -> None:
    clock = StreamClock(0.0)
    clock.anchor([(512, 0.032)])
    for block in range(1, 100):
        if block == 50:
            clock.overflow()
        assert clock.place(512, 0.032 * max(block, 60 if block > 50 else 0)).silence == 0


def test_late_first_blocks_are_put_right_without_overshooting() -> None:
    stream = Stream(late_first_s=0.05)
    stream.run(90)
    assert stream.worst(0, 5) > 0.04
    assert stream.worst(30) < 0.010


def test_one_late_first_block_does_not_matter() -> None:
    blocks = [(512, ZERO + OPENED + 0.032 * n) for n in range(1, 9)]
    late = [(512, blocks[0][1] + 0.2), *blocks[1:]]
    assert StreamClock(ZERO).anchor(late) == round(OPENED * SAMPLE_RATE)


def test_one_early_first_block_does_not_matter() -> None:
    blocks = [(768, ZERO + OPENED + 0.048 * n) for n in range(1, 1000)]
    early = [(768, blocks[0][1] - 0.019), *blocks[1:]]
    clock = StreamClock(ZERO)
    assert clock.anchor(early[:6]) == round(OPENED * SAMPLE_RATE)
    assert {clock.place(*block).slip for block in early} == {0}


def test_a_stream_never_begins_before_the_session() -> None:
    clock = StreamClock(ZERO)
    assert clock.anchor([(512, ZERO + 0.01)]) == 0
    assert [clock.place(512, ZERO + 0.01 + 0.032 * n).silence for n in range(200)] == [0] * 200


blocks = st.lists(
    st.tuples(st.integers(1, 5000), st.floats(-0.1, 1.0), st.booleans()), min_size=1, max_size=60
)


@settings(max_examples=40, deadline=None)
@given(blocks)
def test_positions_only_grow_and_add_up(blocks: list[tuple[int, float, bool]]) -> None:
    clock = StreamClock(ZERO)
    assert clock.anchor([(blocks[0][0], ZERO + 1)]) >= 0
    arrival = ZERO + 1
    for count, wait, overflowed in blocks:
        if overflowed:
            clock.overflow()
        arrival += wait
        before = clock.position
        placement = clock.place(count, arrival)
        assert placement.silence >= 0
        assert abs(placement.slip) <= max(1, count // SLIP_EVERY)
        assert clock.position == before + placement.silence + placement.slip + count >= before
