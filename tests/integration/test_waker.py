"""How the listener waits: for descriptors, and for a waker used by other threads."""

from __future__ import annotations

import os
import threading
import time

from node.service.listening.waker import Waker

LONG_S = 20.0
SOON_S = 5.0
RINGS = 100_000
"""More than a pipe holds."""


def waker() -> Waker:
    made = Waker()
    made.start()
    return made


def test_a_ring_ends_the_wait_of_another_thread() -> None:
    rung = waker()
    began = time.monotonic()
    ringer = threading.Timer(0.05, rung.wake)
    ringer.start()
    assert rung.wait((), LONG_S) == []
    assert time.monotonic() - began < SOON_S
    ringer.join()


def test_a_bell_that_was_never_hung_can_be_rung() -> None:
    """A node whose start fails also stops what has not started."""
    silent = Waker()
    silent.wake()
    silent.start()
    assert silent.wait((), 0.0) == []


def test_a_ring_before_the_wait_is_not_lost() -> None:
    rung = waker()
    rung.wake()
    began = time.monotonic()
    rung.wait((), LONG_S)
    assert time.monotonic() - began < SOON_S


def test_no_number_of_rings_holds_up_who_rings() -> None:
    rung = waker()
    for _ in range(RINGS):
        rung.wake()
    rung.wait((), LONG_S)


def test_what_can_be_read_or_has_ended_is_given() -> None:
    rung = waker()
    full, into_full = os.pipe()
    ended, into_ended = os.pipe()
    silent, into_silent = os.pipe()
    os.write(into_full, b"x")
    os.close(into_ended)
    assert set(rung.wait([full, ended, silent], LONG_S)) == {full, ended}
    os.write(into_silent, b"x")
    assert rung.wait([silent], LONG_S) == [silent]
    for descriptor in (full, into_full, ended, silent, into_silent):
        os.close(descriptor)
